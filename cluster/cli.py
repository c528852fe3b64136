"""The `racos` command. Only what it runs is imported: a node starts without the other commands."""

from __future__ import annotations

import os
import sys

from racos import __version__


def main() -> int:
    """Runs the command of sys.argv; the exit code. Errors are one line on stderr, never a trace."""
    argv = sys.argv[1:]
    if argv[:1] == ["serve"]:
        from cluster.serve import serve

        return serve(argv[1:], os.environ, program="racos serve", version=f"racos {__version__}")
    from cluster.commands import run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
