"""What the linters do not check: sizes of modules and functions, words that must not be here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("racos", "etcdshim", "cluster", "bench", "proto")
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
MARKDOWN_COLUMNS_MAX = 120

# Written in parts, so that this file does not hold them itself.
FORBIDDEN = {
    "unfinished work": re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b"),
    "a path of one machine": re.compile(
        r"(?<![\w.~-])/(wo" + r"rk|tm" + r"p|ro" + r"ot)/|\.\./sha" + r"red"
    ),
    "the host of a package registry": re.compile(
        r"py" + r"pi\.org|python" + r"hosted|crates" + r"\.io"
    ),
}
BROAD = {"Exception", "BaseException"}


def _generated(path: Path) -> bool:
    return re.search(r"_pb2(_grpc)?\.pyi?$", path.name) is not None


def _own(paths: Iterator[Path]) -> list[Path]:
    return sorted(path for path in paths if path.is_file() and not _generated(path))


PRODUCT = [path for name in PACKAGES for path in _own((ROOT / name).rglob("*.py"))]
TESTS = _own((ROOT / "tests").rglob("*.py"))
CODE = PRODUCT + TESTS
DOCUMENTS = _own(ROOT.glob("*.md")) + _own((ROOT / "docs").rglob("*.md"))
TEXTS = [
    *CODE,
    *DOCUMENTS,
    *_own((ROOT / "proto").rglob("*.proto")),
    *(ROOT / name for name in ("Makefile", "setup.cfg", "pyproject.toml", ".ci/run")),
]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def long_functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(name, lines) of each function whose body is too long, without its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield node.name, lines


def swallowing_handlers(source: str) -> Iterator[int]:
    """Lines of handlers that catch everything, do not raise again and give no reason."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            caught = {name.id for name in ast.walk(node.type or node) if isinstance(name, ast.Name)}
            broad = node.type is None or caught & BROAD
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if broad and not raises and "#" not in lines[node.lineno - 1]:
                yield node.lineno


def forbidden_words(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in FORBIDDEN.items():
            if pattern.search(line):
                yield f"line {number} holds {what}: {line.strip()}"


@pytest.mark.parametrize("path", CODE, ids=_name)
def test_code_is_tidy(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert len(source.splitlines()) <= MODULE_LINES_MAX
    assert list(long_functions(tree)) == []
    assert list(swallowing_handlers(source)) == []
    if path in PRODUCT and source:
        assert ast.get_docstring(tree), "a module says its purpose first"


@pytest.mark.parametrize("path", TEXTS, ids=_name)
def test_no_forbidden_words(path: Path) -> None:
    assert list(forbidden_words(path.read_text())) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_documents_have_one_title_and_short_lines(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    assert len(re.findall(r"^# ", prose, flags=re.MULTILINE)) == 1
    # A row of a table cannot be broken.
    wide = [
        line
        for line in prose.splitlines()
        if len(line) > MARKDOWN_COLUMNS_MAX and not line.startswith("|")
    ]
    assert wide == []


def test_every_test_folder_is_a_package() -> None:
    folders = {path.parent for path in TESTS}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


class TestTheChecksThemselves:
    """A check that never fails checks nothing."""

    def test_a_long_function_is_found(self) -> None:
        source = "def f():\n" + "    a = 1\n" * (FUNCTION_LINES_MAX + 1)
        assert list(long_functions(ast.parse(source))) == [("f", FUNCTION_LINES_MAX + 1)]

    @pytest.mark.parametrize(
        ("handler", "lines"),
        [
            ("except:", [3]),
            ("except Exception:", [3]),
            ("except (ValueError, BaseException) as error:", [3]),
            ("except Exception:  # the outermost loop: logs and goes on", []),
            ("except ValueError:", []),
        ],
    )
    def test_a_swallowed_exception_is_found(self, handler: str, lines: list[int]) -> None:
        assert list(swallowing_handlers(f"try:\n    f()\n{handler}\n    g()\n")) == lines

    def test_raising_again_is_not_swallowing(self) -> None:
        source = "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n"
        assert list(swallowing_handlers(source)) == []

    @pytest.mark.parametrize(
        "line",
        [
            "# TO" + "DO later",
            "open('/tm" + "p/x')",
            "see ../sha" + "red/x",
            "https://py" + "pi.org",
        ],
    )
    def test_a_forbidden_word_is_found(self, line: str) -> None:
        assert len(list(forbidden_words(line))) == 1
