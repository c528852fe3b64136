"""The results of a suite as a Markdown table, beside what the project wants to reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from bench.cases import Case
from bench.report import footer, rival
from bench.result import Comparison, Measurement, Summary
from bench.systems import RACOS

TABLE_NAME: Final = "table.md"
# Below these, the memory that a cluster needs anyhow would be taken for theirs.
_KEYS_MIN: Final = 100_000
_WATCHERS_MIN: Final = 300
_FLAT: Final = "<= 1.2"  # the cost of an operation on a large store over that on a small one


class Figure(NamedTuple):
    """What is compared in a row: a repetition's figure, medians of which make the ratio."""

    text: str
    of: Callable[[Measurement], float]
    show: Callable[[float], str]


THROUGHPUT: Final = Figure("", lambda each: each.operations / each.seconds, "{:,.0f}/s".format)
MEDIAN: Final = Figure(
    "median latency", lambda each: each.latency.quantile(0.5) * 1e3, "{:,.2f} ms".format
)
P99: Final = Figure(
    "99th percentile", lambda each: each.latency.quantile(0.99) * 1e3, "{:,.2f} ms".format
)
GAP: Final = Figure(
    "longest gap", lambda each: each.timeline.longest_gap()[0] * 1e3, "{:,.0f} ms".format
)
DISK: Final = Figure(
    "disk bytes per value byte",
    lambda each: (
        (each.disk_bytes or 0) / (each.operations * each.case.written_bytes)
        if each.operations
        else 0.0
    ),
    "{:.2f}".format,
)


class Row(NamedTuple):
    figure: Figure
    wanted: Mapping[int, str]  # of the ratio Racos / etcd, by the number of nodes


def _least(three: float, five: float) -> dict[int, str]:
    return {3: f">= {three:g}", 5: f">= {five:g}"}


def _most(three: float, five: float) -> dict[int, str]:
    return {3: f"<= {three:g}", 5: f"<= {five:g}"}


_UNSENT_MIN: Final = 0.01  # of what was offered; less is what the window's end cuts off

# By case; for the others see `_rows_of`.
_ROWS: Final[dict[str, tuple[Row, ...]]] = {
    "put:256:1": (Row(MEDIAN, _most(1.1, 0.7)),),
    "put:256:100": (Row(THROUGHPUT, _least(1.2, 2)),),
    "put:256:400": (Row(THROUGHPUT, _least(1.2, 2.5)),),
    "put:4k:100": (Row(THROUGHPUT, _least(2, 2.5)),),
    "put:64k:32": (Row(THROUGHPUT, _least(3, 4)), Row(DISK, _most(0.27, 0.18))),
    "put:256k:16": (Row(THROUGHPUT, _least(4, 5)),),
    "put:1m:16": (Row(THROUGHPUT, _least(6, 8)),),
    "get:256:100": (Row(THROUGHPUT, _least(1, 1)),),
    "get-serializable:256:100": (Row(THROUGHPUT, _least(1, 1)),),
    "get-cold:1m:16": (Row(THROUGHPUT, _least(0.7, 0.7)),),
    "ycsb-a:1k:100": (Row(THROUGHPUT, _least(1.2, 2)),),
    "ycsb-b:1k:100": (Row(THROUGHPUT, _least(1.2, 2)),),
    "ycsb-a:64k:32": (Row(THROUGHPUT, _least(3, 4)),),
    "ycsb-b:64k:32": (Row(THROUGHPUT, _least(3, 4)),),
    "page:256:1,keys=1m": (Row(MEDIAN, _most(0.05, 0.05)),),
    "count:256:1,keys=1m": (Row(MEDIAN, _most(0.01, 0.01)),),
    "put:256:50,kill=1": (Row(GAP, _most(0.1, 0.1)),),
}


def table_of(parts: Mapping[str, Comparison]) -> str:
    """All parts in one table, in Markdown; empty without parts."""
    lines: list[str] = []
    for name, comparison in parts.items():
        rows = (*_lines(comparison), *_growth(comparison))
        lines.extend(_line((name, *row)) for row in rows)
    if not lines:
        return ""
    last = list(parts.values())[-1]
    head = ("part", "workload", "Racos", "other", "ratio", "range", "wanted", "client")
    nodes = last.workload["nodes"]
    rule = "|---|---|---|---|---|---|---|---|"
    text = f"{nodes} nodes. Ratio: of the medians; range: of the ratios of single repetitions; "
    text += "client: its share of all CPU, with Racos."
    return "\n".join([text, "", _line(head), rule, *lines, "", footer(last), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _lines(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    rows = {Case.parse(text): rows for text, rows in _ROWS.items()}
    nodes = comparison.workload["nodes"]
    told: set[tuple[bool, int]] = set()  # amounts of memory
    for case, systems in comparison.summaries().items():
        for row in rows.get(case) or _rows_of(case):
            yield _compared(case, systems, row, nodes)
        held = (case.counts_events, case.items)
        if case.items >= (_WATCHERS_MIN if case.counts_events else _KEYS_MIN) and held not in told:
            told.add(held)
            yield _memory(case, systems)
        yield from _counted(case, systems)


def _rows_of(case: Case) -> tuple[Row, ...]:
    """Of a case of which nothing is wanted: latencies where more than the throughput counts."""
    figures = [] if case.rate else [THROUGHPUT]
    if case.rate or case.counts_events:
        figures += [MEDIAN, P99]
    return tuple(Row(figure, {}) for figure in figures)


def _compared(case: Case, systems: Mapping[str, Summary], row: Row, nodes: int) -> tuple[str, ...]:
    figure = row.figure
    text = f"{case.full_text}: {figure.text}" if figure.text else case.full_text
    ours = [figure.of(each) for each in _measurements(systems, RACOS)]
    theirs = [figure.of(each) for each in _measurements(systems, rival(dict(systems)))]
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=False) if other]
    share = _median(ours) / _median(theirs) if ratios else None
    wanted = row.wanted.get(nodes, "")
    share_of_client = systems[RACOS].client_share if RACOS in systems else None
    return (
        text,
        figure.show(_median(ours)) if ours else "-",
        figure.show(_median(theirs)) if theirs else "-",
        "-" if share is None else f"{share:.3g}",
        f"{min(ratios):.3g}-{max(ratios):.3g}" if ratios else "-",
        _judged(wanted, share),
        "-" if share_of_client is None else f"{share_of_client:.0%}",
    )


def _memory(case: Case, systems: Mapping[str, Summary]) -> tuple[str, ...]:
    what = "watcher" if case.counts_events else "key"
    figures = {name: each.memory_per_item for name, each in systems.items()}
    return _plain(case, f"memory of a node per {what}", figures, "{:,.0f} B")


def _counted(case: Case, systems: Mapping[str, Summary]) -> Iterator[tuple[str, ...]]:
    """What the workload counts besides its operations."""
    for name in dict.fromkeys(name for each in systems.values() for name in each.figures):
        most = max(each.figures.get(name, 0.0) for each in systems.values())
        if name != "unsent" or most >= _UNSENT_MIN * case.rate:
            counted = {system: each.figures.get(name) for system, each in systems.items()}
            yield _plain(case, name, counted, "{:,.1f}/s")


def _plain(
    case: Case, text: str, figures: Mapping[str, float | None], show: str, wanted: str = ""
) -> tuple[str, ...]:
    """A row of one figure for each system, without a range."""
    other = next((name for name in figures if name != RACOS), None)
    mine, theirs = figures.get(RACOS), figures.get(other or "")
    share = _ratio(mine, theirs)
    return (
        f"{case.full_text}: {text}",
        "-" if mine is None else show.format(mine),
        "-" if theirs is None else show.format(theirs),
        "-" if share is None else f"{share:.3g}",
        "-",
        _judged(wanted, mine),
        "-",
    )


def _growth(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """How the cost of an operation changes from the smallest store to the largest."""
    levels: dict[tuple[str, int, int], list[Case]] = {}
    for case in comparison.summaries():
        if case.keys and case.items:
            levels.setdefault((case.workload, case.size, case.clients), []).append(case)
    for cases in levels.values():
        if len(cases) < 2:
            continue
        small, large = (
            comparison.summaries()[each]
            for each in (min(cases, key=_keys_of), max(cases, key=_keys_of))
        )
        grown: dict[str, float | None] = {
            system: _ratio(summary.server_us, small[system].server_us)
            for system, summary in large.items()
            if system in small
        }
        text = f"CPU of the nodes per operation, beside {min(map(_keys_of, cases)):,} keys"
        yield _plain(max(cases, key=_keys_of), text, grown, "{:.2f} times", _FLAT)


def _ratio(mine: float | None, theirs: float | None) -> float | None:
    return mine / theirs if mine is not None and theirs else None


def _keys_of(case: Case) -> int:
    return case.keys


def _measurements(systems: Mapping[str, Summary], name: str | None) -> Sequence[Measurement]:
    return systems[name].measurements if name is not None and name in systems else ()


def _median(figures: Sequence[float]) -> float:
    return statistics.median(figures)


def _judged(wanted: str, share: float | None) -> str:
    """What is wanted, and whether it is reached."""
    if not wanted or share is None:
        return wanted or "-"
    sign, _, limit = wanted.partition(" ")
    met = share >= float(limit) if sign == ">=" else share <= float(limit)
    return f"{wanted}: {'yes' if met else 'no'}"
