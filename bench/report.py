"""A comparison as tables for people: one per value size, the systems side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.cases import Case
from bench.result import Comparison, Summary
from bench.systems import ETCD, QUEUE, RACOS

_MEMORY_FILESYSTEMS: Final = ("tmpfs", "ramfs")


class _Row(NamedTuple):
    label: str
    figure: Callable[[Summary], float | None]
    show: Callable[[float], str]


def print_report(comparison: Comparison, console: Console) -> None:
    """Print every table, then what they were measured on."""
    for case, systems in comparison.summaries().items():
        console.print(_table(comparison, case, systems))
        for summary in systems.values():
            print_errors(summary, console)
    print_footer(comparison, console)


def ratio(systems: dict[str, Summary], figure: Callable[[Summary], float | None]) -> float | None:
    """Racos's figure over etcd's, or over the queue engine's; None when one is missing or 0."""
    other = rival(systems)
    if other is None:
        return None
    ours, theirs = figure(systems[RACOS]), figure(systems[other])
    return ours / theirs if ours is not None and theirs else None


def rival(systems: dict[str, Summary]) -> str | None:
    """Whom Racos is compared with; None when one of the two is missing."""
    other = ETCD if ETCD in systems else QUEUE
    return other if RACOS in systems and other in systems else None


def print_errors(summary: Summary, console: Console) -> None:
    """Who was killed in a fault run, and which errors the clients had to live with."""
    killed = sorted({each.killed for each in summary.measurements if each.killed})
    if killed:
        console.print(f"{summary.system}: killed {', '.join(killed)}", highlight=False)
    for text, count in summary.errors.items():
        console.print(f"{summary.system}: {count} x {text}", style="yellow", highlight=False)


def print_footer(comparison: Comparison, console: Console) -> None:
    """What it was measured on, and how."""
    console.print(footer(comparison), style="dim", highlight=False)


def _table(comparison: Comparison, case: Case, systems: dict[str, Summary]) -> Table:
    table = Table(title=f"{case.full_text}, {comparison.workload['nodes']} nodes")
    table.add_column("")
    for summary in systems.values():
        table.add_column(f"{summary.system} {summary.version}", justify="right")
    both = len(systems) == 2
    if both:
        table.add_column("ratio", justify="right", style="bold")
    for row in _rows(case):
        figures = [row.figure(summary) for summary in systems.values()]
        if all(figure is None for figure in figures):
            continue
        cells = ["-" if figure is None else row.show(figure) for figure in figures]
        if both:
            share = ratio(systems, row.figure)
            cells.append("" if share is None else f"{share:.2f}")
        table.add_row(row.label, *cells)
    spread = [_spread(summary) for summary in systems.values()]
    table.add_row("repetitions, ops/s", *spread, *([""] if both else []), style="dim")
    return table


def _rows(case: Case) -> Sequence[_Row]:
    rows = [_Row("throughput, ops/s (median)", lambda each: each.throughput, "{:,.0f}".format)]
    moved = case.moved_bytes
    if moved >= 1024:
        rows.append(
            _Row("value bytes, MB/s", lambda each: each.throughput * moved / 1e6, "{:,.1f}".format)
        )
    for label, at in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        rows.append(_Row(f"latency {label}, ms", _quantile(at), "{:.2f}".format))
    rows += [
        _Row("latency max, ms", lambda each: each.latency.maximum * 1e3, "{:.1f}".format),
        _Row("CPU of all servers, us/op", lambda each: each.server_us, "{:.1f}".format),
        _Row("CPU of the client, us/op", lambda each: each.client_us, "{:.1f}".format),
        _Row("client's share of CPU", lambda each: each.client_share, "{:.0%}".format),
    ]
    if case.written_bytes:
        rows.append(
            _Row("disk bytes per value byte", lambda each: each.disk_ratio, "{:.2f}".format)
        )
    rows.append(_Row("wire bytes per value byte", lambda each: each.wire_ratio, "{:.2f}".format))
    if case.kill:
        rows.append(_Row("longest gap, ms", lambda each: each.longest_gap * 1e3, "{:,.0f}".format))
        rows.append(_Row("errors", lambda each: float(sum(each.errors.values())), "{:,.0f}".format))
    return rows


def _quantile(at: float) -> Callable[[Summary], float]:
    return lambda summary: summary.latency.quantile(at) * 1e3


def _spread(summary: Summary) -> str:
    return " ".join(f"{each:,.0f}" for each in summary.throughputs)


def footer(comparison: Comparison) -> str:
    """One line: machine, repetitions, and whether a sync costs anything."""
    machine, work = comparison.machine, comparison.workload
    where = f"{machine.cores} cores, {machine.cpu}, {machine.filesystem}, Python {machine.python}"
    how = f"{work['repetitions']} x {work['seconds']:g} s after {work['warm_up']:g} s of warm-up"
    commit = f", commit {machine.commit}" if machine.commit else ""
    synced = "every write synced to disk before its answer"
    if machine.filesystem in _MEMORY_FILESYSTEMS:
        synced = "data in memory, where a sync costs nothing: name a directory on disk (--data-dir)"
    return f"{where}{commit}; {how}; {synced}"
