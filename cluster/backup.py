"""`racos restore` and `racos snapshot`: a member from a backup, and backups themselves.

The flags of `restore` are those of `etcdutl snapshot restore`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from crc32c import crc32c

from cluster.spec import ClusterError

snapshot_app = typer.Typer(
    help="Backups: take one, look at one.", no_args_is_help=True, rich_markup_mode=None
)

_File = Annotated[Path, typer.Argument(metavar="FILE", help="Backup.")]
_DIGEST_BYTES = 32


def restore_command(
    file: _File,
    data_dir: Annotated[
        str, typer.Option(help="Directory to make; NAME.etcd when not given.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of this member.")] = "default",
    initial_cluster: Annotated[str, typer.Option(help="NAME=URL,.. of all members.")] = "",
    initial_cluster_token: Annotated[str, typer.Option(help="As for serve.")] = "etcd-cluster",
    initial_advertise_peer_urls: Annotated[
        str, typer.Option(help="This member's URLs for its peers.")
    ] = "http://localhost:2380",
    skip_hash_check: Annotated[
        bool, typer.Option("--skip-hash-check", help="For a database copied from a data directory.")
    ] = False,
    bump_revision: Annotated[
        int, typer.Option(min=0, help="How much to increase the newest revision.")
    ] = 0,
    mark_compacted: Annotated[
        bool,
        typer.Option("--mark-compacted", help="Nothing older than that is readable."),
    ] = False,
    data_fragments: Annotated[int, typer.Option(help="As for serve.")] = 0,
) -> None:
    """Make the data directory of a new cluster's member from a backup (of Racos or etcd).

    To be done for each member, with the same backup and the same description of the cluster.
    """
    from racos.backup.reader import BadDatabase
    from racos.backup.restore import restore
    from racos.backup.source import BackupError, Source
    from racos.node.config import ConfigError, parse
    from racos.storage.identity import IdentityError
    from racos.storage.log import LogError

    flags = {
        "name": name,
        "data-dir": data_dir,
        "initial-cluster": initial_cluster,
        "initial-cluster-token": initial_cluster_token,
        "initial-advertise-peer-urls": initial_advertise_peer_urls,
        "data-fragments": str(data_fragments),
    }
    argv = [f"--{flag}={text}" for flag, text in flags.items() if text]
    try:
        config = parse(argv, {})
        with Source(file, skip_hash_check=skip_hash_check) as source:
            made = restore(
                source, config, bump_revision=bump_revision, mark_compacted=mark_compacted
            )
    except (BackupError, BadDatabase, ConfigError, IdentityError, LogError) as error:
        raise ClusterError(str(error)) from None
    print(
        f"restored {made.versions} versions and {made.leases} leases at revision {made.revision} "
        f"into {made.directory}"
    )


@snapshot_app.command("save")
def save_command(
    file: _File,
    endpoint: Annotated[str, typer.Option(help="Node to ask.")] = "127.0.0.1:2379",
) -> None:
    """Save a node's state at its current revision, as `etcdctl snapshot save` does."""
    import grpc

    from etcdshim.pb import rpc_pb2, rpc_pb2_grpc

    draft = file.with_name(file.name + ".part")
    with grpc.insecure_channel(endpoint.removeprefix("http://")) as channel:
        stub = rpc_pb2_grpc.MaintenanceStub(channel)  # type: ignore[no-untyped-call]
        try:
            with draft.open("wb") as target:
                blobs = (answer.blob for answer in stub.Snapshot(rpc_pb2.SnapshotRequest()))
                for blob in _verified(blobs):
                    target.write(blob)
                target.flush()
                os.fsync(target.fileno())
        except (grpc.RpcError, ValueError) as error:
            draft.unlink(missing_ok=True)
            reason = error.details() if isinstance(error, grpc.Call) else str(error)
            raise ClusterError(f"{endpoint}: {reason}") from None
    draft.rename(file)
    print(f"saved {file.stat().st_size} bytes to {file}")


@snapshot_app.command("status")
def status_command(
    file: _File,
    skip_hash_check: Annotated[
        bool, typer.Option("--skip-hash-check", help="Do not check the SHA-256 at the end.")
    ] = False,
) -> None:
    """Read a whole backup; hash, revision, number of entries and size, as etcdctl counts them."""
    from racos.backup.reader import BadDatabase
    from racos.backup.source import BackupError, Source

    digest = entries = 0
    try:
        with Source(file, skip_hash_check=skip_hash_check) as source:
            revision = source.state().revision
            for bucket, key, value in source.entries():
                entries += key is not None
                digest = crc32c(bucket if key is None else key + value, digest)
            size = source.size
    except (BackupError, BadDatabase) as error:
        raise ClusterError(str(error)) from None
    print(f"hash {digest:x}, revision {revision}, {entries} entries, {size} bytes")


def _verified(blobs: Iterator[bytes]) -> Iterator[bytes]:
    """The blobs, of which the last must be the SHA-256 of those before. Raises ValueError."""
    digest = sha256()
    last = b""
    for blob in blobs:
        if last:
            digest.update(last)
            yield last
        last = blob
    if len(last) != _DIGEST_BYTES or last != digest.digest():
        raise ValueError("the backup did not come whole: its SHA-256 does not fit")
    yield last
