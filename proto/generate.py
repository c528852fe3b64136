"""Regenerate every stub that is checked in: `python -m proto.generate`.

proto/etcd goes to etcdshim/pb, proto/racos to racos/pb. Each folder is given to protoc under the
name of its target package, so that the generated imports are right as they come out.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"etcd": "etcdshim/pb", "racos": "racos/pb"}

_DEFAULT_POOL = "from google.protobuf import descriptor_pool as _descriptor_pool"
_OWN_POOL = "from etcdshim.pb import pool as _descriptor_pool"

# protoc writes the type of a message given as a mapping without its arguments.
_MYPY_NOTE = '# mypy: disable-error-code="type-arg"\n'


def generate(output: Path, root: Path = ROOT) -> list[Path]:
    """Write the stubs of all .proto files below `output`; returns their paths, relative to it.

    Raises RuntimeError when protoc refuses a file (protoc has said why on stderr).
    """
    written: list[Path] = []
    for source, target in TARGETS.items():
        names = sorted(path.stem for path in (root / "proto" / source).glob("*.proto"))
        if names:
            _run_protoc(root, output, target, names, with_services=source == "etcd")
            written += [
                path.relative_to(output)
                for name in names
                for path in sorted((output / target).glob(f"{name}_pb2*.py*"))
            ]
    for path in written:
        if path.suffix == ".pyi":
            _prepend(output / path, _MYPY_NOTE)
        elif path.stem.endswith("_grpc"):
            _prepend(output / path, "# mypy: ignore-errors\n")
    _use_own_pool(output / TARGETS["etcd"])
    return written


def _run_protoc(
    root: Path, output: Path, target: str, names: list[str], *, with_services: bool
) -> None:
    # Imported late: grpcio-tools is a development tool, and slow to load.
    from grpc_tools import protoc  # type: ignore[import-untyped]

    source = next(name for name, folder in TARGETS.items() if folder == target)
    (output / target).mkdir(parents=True, exist_ok=True)
    arguments = [
        "protoc",
        f"-I{target}={root / 'proto' / source}",
        f"--python_out={output}",
        f"--pyi_out={output}",
    ]
    if with_services:
        arguments.append(f"--grpc_python_out={output}")
    code = protoc.main(arguments + [f"{target}/{name}.proto" for name in names])
    if code != 0:
        raise RuntimeError(f"protoc failed with code {code} on proto/{source}")
    for name in names:
        stub = output / target / f"{name}_pb2_grpc.py"
        if stub.exists() and "class " not in stub.read_text():
            stub.unlink()  # a file without services yields an empty module


def _prepend(path: Path, line: str) -> None:
    path.write_text(line + path.read_text())


def _use_own_pool(folder: Path) -> None:
    """Point the etcd stubs at the private pool (see etcdshim/pb/pool.py)."""
    for path in folder.glob("*_pb2.py"):
        path.write_text(path.read_text().replace(_DEFAULT_POOL, _OWN_POOL))


def main() -> int:
    for path in generate(ROOT):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
