"""Samples where CPU time goes, by stage: no call is slowed down, as it would be by a profiler that
notes each."""

from __future__ import annotations

import signal
import time
from collections import Counter
from types import FrameType, TracebackType
from typing import Self

from tests.micro.stages import stage_at

_INTERVAL_SECONDS = 0.001  # of CPU time of the process; the kernel may make it 4 ms


class Sampling:
    """While it is entered, notes the running stage at intervals of CPU time. Main thread only; may
    be entered again and again."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()
        self.functions: Counter[tuple[str, str]] = Counter()  # (stage, function)
        self.cpu_seconds = 0.0  # of this thread
        self._process_seconds = 0.0  # of all threads

    @property
    def other_seconds(self) -> float:
        """CPU time of the process's other threads."""
        return self._process_seconds - self.cpu_seconds

    def microseconds(self, requests: int) -> dict[str, float]:
        """CPU time per request by stage; what is not the product's is left out."""
        total = max(1, self.samples.total())
        each = self.cpu_seconds * 1e6 / requests / total
        return {stage: count * each for stage, count in self.samples.items() if stage}

    def __enter__(self) -> Self:
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL_SECONDS, _INTERVAL_SECONDS)
        self.cpu_seconds -= time.thread_time()
        self._process_seconds -= time.process_time()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.cpu_seconds += time.thread_time()
        self._process_seconds += time.process_time()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def _note(self, _signal: int, frame: FrameType | None) -> None:
        stage = stage_at(frame)
        self.samples[stage] += 1
        if frame is not None:
            name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
            self.functions[stage, name] += 1
