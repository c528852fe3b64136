"""`racos recover`: a stopped node puts its log and index aside and begins without memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def recover_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a node.")],
) -> None:
    """Have a stopped node rebuild itself from the other members when it is started again.

    Its log and index are moved to DIR/damaged-1 (2, ..), where they stay until you remove them.
    """
    from racos.node.datadir import set_aside
    from racos.storage.identity import DirectoryLock, IdentityError, read_identity
    from racos.storage.log import LogError

    try:
        identity = read_identity(directory)
        with DirectoryLock(directory):
            place = set_aside(directory, "nothing was changed")
    except (IdentityError, LogError) as error:
        print(f"racos: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except OSError as error:
        print(f"racos: {error.filename or directory}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"log and index are in {place} now, and nothing was deleted")
    print(
        f"start {identity.name} as before: it takes everything from the other members, and has no "
        "vote until it has; its log and /metrics (racos_silent_*) tell how far it is"
    )
