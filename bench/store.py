"""What a full store costs: memory, disk, restart, counting, and puts while old versions go.

For each system in turn: put all keys; put them again in rounds, first without and then with
compactions beside the puts; wait for the space to come back; count and page; kill all nodes, start
them, and wait for the first right answer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.cases import size_text
from bench.compare import Progress, data_dir
from bench.drive import BenchError
from bench.load import Load, LoadError, LoadResult, Window
from bench.pages import LIMIT
from bench.probe import ask, member_status
from bench.procfs import disk_bytes, resident_bytes
from bench.systems import ETCD, RACOS, cluster_of
from bench.workload import RANGE_PATH, Puts, Values, key_of
from cluster.supervisor import ClusterError, Supervisor
from etcdshim.pb import rpc_pb2

_COMPACT_PATH: Final = "/etcdserverpb.KV/Compact"
_COMPACT_EVERY_S: Final = 2.0
_CALL_TIMEOUT_S: Final = 300.0  # a store that cleans up may stop for long; that is what is measured
_RESTART_TIMEOUT_S: Final = 300.0
_RETRY_S: Final = 0.02
_SPACE_EVERY_S: Final = 1.0
_FILL_MAX_S: Final = 3600.0
_QUESTIONS: Final = 15  # of each kind; the median counts
_PAGE_BYTES_MAX: Final = 64 << 20  # of values in a page that is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlan:
    """What to keep. `rounds` of overwriting without compactions, then as many with them."""

    keys: int
    size: int  # bytes of a value
    rounds: int = 1
    clients: int = 64
    nodes: int = 3
    systems: tuple[str, ...] = (RACOS, ETCD)
    wait: float = 30.0  # seconds at most for the space to come back
    phase_seconds: float = 1800.0  # a phase of overwriting goes no longer: the next one begins
    etcd: str | None = None
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        if self.keys % self.clients:
            # So each key has one writer, and its last value is known.
            raise BenchError(f"--keys must be a multiple of the {self.clients} clients")

    @property
    def page_keys(self) -> int:
        """How many keys a page has: LIMIT, fewer of large values."""
        return max(1, min(LIMIT, _PAGE_BYTES_MAX // self.size))


@dataclass(frozen=True, slots=True)
class Puttings:
    """A phase of puts."""

    per_second: float
    p99_ms: float
    gap_ms: float  # the longest time without a success
    refused: int  # answers `unavailable` and the like, after which the put was tried again
    missing: int  # puts of the phase that were not made before its time was up


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What one system needed. Disk bytes are of all nodes, memory of the node that has most."""

    system: str
    version: str
    filled: Puttings
    overwritten: Puttings | None
    compacting: Puttings | None
    filled_disk: int
    full_disk: int  # before the space comes back
    compacted_disk: int
    loaded_memory: int
    count_ms: float
    page_keys: int
    page_ms: float
    restart_s: float  # of all nodes at once, killed before, to the first right answer
    restarted_memory: int

    @property
    def refused(self) -> int:
        return sum(phase.refused for phase in self._phases())

    @property
    def missing(self) -> int:
        return sum(phase.missing for phase in self._phases())

    def _phases(self) -> list[Puttings]:
        phases = (self.filled, self.overwritten, self.compacting)
        return [phase for phase in phases if phase is not None]


def measure(plan: StorePlan, progress: Progress, say: Callable[[str], None]) -> list[StoreResult]:
    """Carry a plan out. Raises BenchError with one clear line.

    `say` takes a line as each phase ends: a run takes long, and what was measured before it is cut
    short should not be lost.
    """
    results = []
    with data_dir(plan.data_dir) as directory:
        for system in plan.systems:
            home = directory / system
            progress.begin(f"{system}, {plan.keys:,} keys", plan.keys * (1 + 2 * plan.rounds))
            try:
                with cluster_of(system, plan.nodes, home, plan.etcd) as cluster:
                    results.append(asyncio.run(_Visit(plan, system, cluster, progress, say).run()))
            except (ClusterError, LoadError, OSError, TimeoutError) as error:
                raise BenchError(f"{system}: {error}") from error
            finally:
                shutil.rmtree(home, ignore_errors=True)
                os.sync()  # lest the next one's syncs wait for this one's data
            progress.end(results[-1].filled.per_second)
    return results


class _Visit:
    """One system's turn."""

    def __init__(
        self,
        plan: StorePlan,
        system: str,
        cluster: Supervisor,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._system = system
        self._cluster = cluster
        self._progress = progress
        self._say = say
        self._values = Values(plan.size, seed=1)
        self._put = 0  # by all phases so far
        self._filled = False
        self._last_rounds: Sequence[int] = (0,)  # those a key may hold its value of

    async def run(self) -> StoreResult:
        plan, cluster = self._plan, self._cluster
        version = (await member_status(cluster.endpoints()[0])).version
        filled = await self._puts("filling", 1)
        filled_disk = self._disk()
        memory = self._memory()
        overwritten = await self._puts("overwriting", plan.rounds) if plan.rounds else None
        compacting = None
        if plan.rounds:
            async with self._compacting():
                compacting = await self._puts("with compactions", plan.rounds)
        full_disk = self._disk()
        await self._compact_all()
        compacted_disk = await self._space_back()
        count = await self._ask_often(limit=0)
        page = await self._ask_often(plan.page_keys)
        self._tell(f"count {count:.2f} ms, page of {plan.page_keys} {page:.2f} ms")
        restart = await self._restart()
        self._tell(f"first answer {restart:.2f} s after a restart")
        return StoreResult(
            self._system, version, filled, overwritten, compacting,
            filled_disk, full_disk, compacted_disk,
            memory, count, plan.page_keys, page, restart, self._memory(),
        )  # fmt: skip

    def _tell(self, text: str) -> None:
        self._say(f"{self._system}: {text}")

    async def _puts(self, phase: str, rounds: int) -> Puttings:
        """All keys, so many times over; each key ends with a value that `_answers` knows."""
        plan, count = self._plan, self._plan.keys * rounds
        load = Load(
            Puts(self._values, plan.keys),
            self._cluster.endpoints(),
            clients=plan.clients,
            timeout=_CALL_TIMEOUT_S,
            tolerant=True,
        )
        await load.open()
        shown = asyncio.create_task(self._show(load))
        begin = monotonic()
        seconds = plan.phase_seconds if self._filled else _FILL_MAX_S
        try:
            # Whole rounds, so that key i holds a value of a number that is i modulo the keys.
            result = await load.run(Window(begin, begin + seconds), count)
        finally:
            shown.cancel()
            load.close()
        self._put += load.done
        puttings = _summary(result, monotonic() - begin, count - load.done)
        self._tell_phase(phase, puttings)
        if puttings.missing and not self._filled:
            raise LoadError(f"only {load.done} of {count} keys in {seconds:,.0f} s")
        self._filled = True
        # Of a phase that was cut short, a key's last value may be of any round, the filling's too.
        self._last_rounds = range(rounds) if puttings.missing else (rounds - 1,)
        return puttings

    def _tell_phase(self, phase: str, puttings: Puttings) -> None:
        self._tell(
            f"{phase}: {puttings.per_second:,.0f} puts/s, p99 {puttings.p99_ms:,.1f} ms, "
            f"disk {self._disk() / 1e6:,.0f} MB, memory {self._memory() / 1e6:,.0f} MB"
            + (f", {puttings.refused} refused" if puttings.refused else "")
            + (f", {puttings.missing} not made in time" if puttings.missing else "")
        )

    async def _show(self, load: Load) -> None:
        before = 0
        while True:
            await asyncio.sleep(0.5)
            self._progress.advance(self._put + load.done, 2 * (load.done - before))
            before = load.done

    @asynccontextmanager
    async def _compacting(self) -> AsyncIterator[None]:
        """Compact at the newest revision again and again."""
        task = asyncio.create_task(self._compact_again())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _compact_again(self) -> None:
        while True:
            await asyncio.sleep(_COMPACT_EVERY_S)
            with suppress(ConnectionError, TimeoutError):  # overloaded: the next one does it all
                await self._compact()

    async def _compact_all(self) -> None:
        deadline = monotonic() + _CALL_TIMEOUT_S
        while True:
            try:
                await self._compact()
            except (ConnectionError, TimeoutError):
                if monotonic() > deadline:
                    raise
                await asyncio.sleep(_SPACE_EVERY_S)
            else:
                return

    async def _compact(self) -> None:
        endpoint = self._cluster.endpoints()[0]
        revision = (await member_status(endpoint)).revision
        request = rpc_pb2.CompactionRequest(revision=revision)
        await ask(endpoint, _COMPACT_PATH, request.SerializeToString(), _CALL_TIMEOUT_S)

    async def _space_back(self) -> int:
        """Disk bytes once there was time to remove files in the background."""
        self._progress.note("waiting for space")
        least = self._disk()
        deadline = monotonic() + self._plan.wait
        while monotonic() < deadline:
            await asyncio.sleep(_SPACE_EVERY_S)
            least = min(least, self._disk())
        self._tell(f"space back: disk {least / 1e6:,.0f} MB")
        return least

    async def _ask_often(self, limit: int) -> float:
        """Median milliseconds for the count of all keys (`limit` 0), or for a page of them."""
        self._progress.note("asking")
        times = []
        for _ in range(_QUESTIONS):
            begin = monotonic()
            response = rpc_pb2.RangeResponse.FromString(
                await ask(self._cluster.endpoints()[-1], RANGE_PATH, self._range(limit))
            )
            times.append(monotonic() - begin)
            if response.count != self._plan.keys:
                raise LoadError(f"{response.count} keys are counted, {self._plan.keys} were put")
        return median(times) * 1e3

    def _range(self, limit: int) -> bytes:
        wanted = rpc_pb2.RangeRequest(
            key=key_of(0), range_end=key_of(self._plan.keys), limit=limit, count_only=not limit
        )
        return wanted.SerializeToString()

    async def _restart(self) -> float:
        """Kill all nodes, start them; seconds to the first right answer from the last one."""
        self._progress.note("restarting")
        cluster = self._cluster
        for name in cluster.names:
            cluster.kill(name)
        begin = monotonic()
        await asyncio.to_thread(cluster.start_all)
        while not await self._answers():
            if monotonic() - begin > _RESTART_TIMEOUT_S:
                raise LoadError(f"no answer in {_RESTART_TIMEOUT_S:g} s after a restart")
            await asyncio.sleep(_RETRY_S)
        seconds = monotonic() - begin
        await asyncio.to_thread(cluster.wait_ready, _RESTART_TIMEOUT_S)
        for limit in (0, self._plan.page_keys):
            await self._ask_often(limit)
        return seconds

    async def _answers(self) -> bool:
        """Whether the last node answers a linearizable get yet. LoadError if it does so wrongly."""
        index = self._plan.keys // 2
        request = rpc_pb2.RangeRequest(key=key_of(index)).SerializeToString()
        try:
            answer = await ask(self._cluster.endpoints()[-1], RANGE_PATH, request, _CALL_TIMEOUT_S)
        except (ConnectionError, TimeoutError, OSError):
            return False
        response = rpc_pb2.RangeResponse.FromString(answer)
        numbers = [self._plan.keys * each + index for each in self._last_rounds]
        found = [kv.value for kv in response.kvs]
        if not any(self._values.matches(each, value) for each in numbers for value in found):
            raise LoadError(f"{key_of(index)!r} does not hold what was put last")
        return True

    def _memory(self) -> int:
        return max(int(resident_bytes([pid]) or 0) for pid in self._cluster.pids())

    def _disk(self) -> int:
        return disk_bytes(self._cluster.directory)


def _summary(result: LoadResult, seconds: float, missing: int) -> Puttings:
    gap, _ = result.timeline.until(seconds).longest_gap()
    p99 = result.latency.quantile(0.99)
    refused = sum(result.errors.values())
    return Puttings(result.operations / seconds, p99 * 1e3, gap * 1e3, refused, missing)


def to_json(plan: StorePlan, results: Sequence[StoreResult]) -> dict[str, Any]:
    """Everything measured; units in the names, bytes where there are none."""
    options = asdict(plan)
    del options["data_dir"], options["etcd"]  # paths of this machine
    return {"plan": options, "results": [asdict(each) for each in results]}


class _Row(NamedTuple):
    label: str
    figure: Callable[[StoreResult], float | None]
    show: str = "{:,.1f}"


_ROWS: Final = (
    _Row("filling, puts/s", lambda each: each.filled.per_second, "{:,.0f}"),
    _Row("filling, p99, ms", lambda each: each.filled.p99_ms),
    _Row("overwriting, puts/s", lambda each: _of(each.overwritten, "per_second"), "{:,.0f}"),
    _Row("overwriting, p99, ms", lambda each: _of(each.overwritten, "p99_ms")),
    _Row("with compactions, puts/s", lambda each: _of(each.compacting, "per_second"), "{:,.0f}"),
    _Row("with compactions, p99, ms", lambda each: _of(each.compacting, "p99_ms")),
    _Row("with compactions, longest gap, ms", lambda each: _of(each.compacting, "gap_ms")),
    _Row("puts refused", lambda each: each.refused, "{:,.0f}"),
    _Row("puts not made in time", lambda each: each.missing, "{:,.0f}"),
    _Row("disk when filled, MB", lambda each: each.filled_disk / 1e6),
    _Row("disk after overwriting, MB", lambda each: each.full_disk / 1e6),
    _Row("disk when space is back, MB", lambda each: each.compacted_disk / 1e6),
    _Row("memory when filled, MB", lambda each: each.loaded_memory / 1e6),
    _Row("count of all, ms", lambda each: each.count_ms, "{:.2f}"),
    _Row("keys of a page", lambda each: each.page_keys, "{:,.0f}"),
    _Row("such a page, ms", lambda each: each.page_ms, "{:.2f}"),
    _Row("restart to first answer, s", lambda each: each.restart_s, "{:.2f}"),
    _Row("memory after restart, MB", lambda each: each.restarted_memory / 1e6),
)


def print_store(plan: StorePlan, results: Sequence[StoreResult], console: Console) -> None:
    """One table, the systems side by side."""
    title = f"{plan.keys:,} keys of {size_text(plan.size)}, {plan.nodes} nodes"
    table = Table(title=f"{title}, {plan.clients} clients, {2 * plan.rounds} rounds of overwriting")
    table.add_column("")
    for each in results:
        table.add_column(f"{each.system} {each.version}", justify="right")
    if len(results) == 2:
        table.add_column("ratio", justify="right", style="bold")
    for row in _ROWS:
        figures = [row.figure(each) for each in results]
        cells = ["-" if figure is None else row.show.format(figure) for figure in figures]
        if len(figures) == 2:
            ours, theirs = figures
            cells.append(f"{ours / theirs:.2f}" if ours is not None and theirs else "")
        table.add_row(row.label, *cells)
    console.print(table)


def _of(puttings: Puttings | None, field: str) -> float | None:
    return None if puttings is None else getattr(puttings, field)
