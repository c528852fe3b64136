"""`racos fsck`: what a check of a data directory found, one line each, and how far it is."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

_PATIENCE = 1.0  # seconds before, and between, lines about the progress
_UNIT = 1024 * 1024


def fsck_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a node.")],
) -> None:
    """Check the data directory of a node that is stopped; nothing in it is changed.

    Ends with 0 if all is sound, 1 if something is damaged, 2 if nothing could be checked.
    """
    from racos.node.fsck import NotChecked, fsck

    progress = _Progress()
    try:
        checked = fsck(directory, print, progress)
    except NotChecked as error:
        print(f"racos: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except OSError as error:
        print(f"racos: {error.filename or directory}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(2) from None
    verdict = f"damaged: {checked.damage} findings" if checked.damage else "sound"
    print(
        f"{directory}: {verdict}; {checked.notes} notes; {checked.segments} segments, "
        f"{checked.records} records, {checked.fragments} fragments, {checked.entries} entries of "
        f"the index, {checked.bytes / _UNIT:.1f} MiB in {progress.seconds:.1f} s"
    )
    raise typer.Exit(1 if checked.damage else 0)


class _Progress:
    """A line on stderr now and then, once it takes longer than a moment."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told < _PATIENCE:
            return
        self._told = now
        if total:
            text = f"log: {done / _UNIT:.0f} of {total / _UNIT:.0f} MiB"
        else:
            text = f"{what}: {done} entries of the index"
        print(f"racos fsck: {text} after {now - self._began:.0f} s", file=sys.stderr, flush=True)
