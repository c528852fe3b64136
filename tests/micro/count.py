"""Counts calls: what a piece of code costs, as far as that can be said without a clock."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from types import FrameType, TracebackType
from typing import Any, Self

from tests.micro.stages import stage_at


class CallCount:
    """While it is entered, counts the calls of Python functions, and those that Python code makes
    of C functions, by stage. The same run gives the same counts.

    Nothing is collected meanwhile: callbacks of collections (a test library has one) would count
    for whatever happens to run.
    """

    def __init__(self) -> None:
        self.python: Counter[str] = Counter()
        self.c: Counter[str] = Counter()
        self.functions: Counter[tuple[str, str]] = Counter()  # (stage, name), of both kinds
        self._collects = True  # whether collections were on before

    def __enter__(self) -> Self:
        self._collects = gc.isenabled()
        gc.disable()
        sys.setprofile(self._note)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        sys.setprofile(None)
        if self._collects:
            gc.enable()

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            stage, kind = stage_at(frame), self.python
            name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        elif event == "c_call":
            stage, kind = stage_at(frame), self.c
            name = f"{frame.f_code.co_qualname} -> {argument.__qualname__}"
        else:
            return
        if stage:
            kind[stage] += 1
            self.functions[stage, name] += 1
