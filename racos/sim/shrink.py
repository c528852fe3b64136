"""Make a failing run smaller while it still fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from racos.sim.campaign import Failure, run_one
from racos.sim.options import Options, with_option

_MARGIN_SECONDS = 0.05


def shrink(
    failure: Failure, attempts: int = 60, tell: Callable[[Failure], None] = lambda _smaller: None
) -> Failure:
    """The smallest failure of the same invariant found within so many runs."""
    tried: set[Options] = set()
    progress = True
    while progress and attempts > 0:
        progress = False
        for candidate in _smaller(failure):
            if attempts <= 0 or candidate in tried:
                continue
            attempts -= 1
            tried.add(candidate)
            result = run_one(candidate)
            if isinstance(result, Failure) and result.invariant == failure.invariant:
                failure, progress = result, True
                tell(failure)
                break
    return failure


def _smaller(failure: Failure) -> Iterator[Options]:
    """What might be left out, the most first."""
    options = failure.options
    if failure.at + _MARGIN_SECONDS < options.seconds:
        yield replace(options, seconds=round(failure.at + _MARGIN_SECONDS, 3))
    for fault in options.faults:
        yield replace(options, faults=tuple(each for each in options.faults if each != fault))
    for clients in sorted({1, options.clients // 2, options.clients - 1}):
        if 0 < clients < options.clients:
            yield replace(options, clients=clients)
    for name, plain in (("watchers", 1), ("large", 0.0), ("compactions", 0.0), ("reads", 0.0)):
        if getattr(options, name) != plain:
            yield with_option(options, name, plain)
    if options.calls > 20:
        yield replace(options, calls=options.calls // 2)
    if options.seconds > 0.2:
        yield replace(options, seconds=round(options.seconds * 0.7, 3))
    if options.keys > 1:
        yield replace(options, keys=1)
