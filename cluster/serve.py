"""One node in this process: flags to configuration, configuration to a running server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from racos.node.config import Ask, Asked, ConfigError, help_text, parse


def serve(argv: Sequence[str], environ: Mapping[str, str], *, program: str, version: str) -> int:
    """Runs a node until it is told to stop; the exit code. Wrong flags: one line on stderr, 1."""
    if not __debug__:
        return _refuse(program, "python -O removes the checks that keep data safe: run without it")
    try:
        config = parse(argv, environ)
    except Asked as asked:
        print(version if asked.ask is Ask.VERSION else help_text(program))
        return 0
    except ConfigError as error:
        return _refuse(program, str(error))
    for warning in config.warnings:
        print(f"{program}: warning: {warning}", file=sys.stderr)
    # Imported here: a wrong flag is told, and --help answered, without loading the server.
    from etcdshim.server import run

    return run(config)


def _refuse(program: str, reason: str) -> int:
    print(f"{program}: {reason}", file=sys.stderr)
    return 1
