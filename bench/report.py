"""A comparison as tables for people: one per value size, the systems side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.result import Comparison, Summary
from bench.systems import ETCD, QUEUE, RACOS

_MEMORY_FILESYSTEMS: Final = ("tmpfs", "ramfs")


class _Row(NamedTuple):
    label: str
    figure: Callable[[Summary], float | None]
    show: Callable[[float], str]


def print_report(comparison: Comparison, console: Console) -> None:
    """Print every table, then what they were measured on."""
    for size, systems in comparison.summaries().items():
        console.print(_table(comparison, size, systems))
        for summary in systems.values():
            _print_errors(summary, console)
    console.print(_footer(comparison), style="dim", highlight=False)


def size_text(size: int) -> str:
    """A size in bytes as people say it."""
    for unit, name in ((2**20, "MiB"), (2**10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def workload_text(comparison: Comparison) -> str:
    """The workload in a few words."""
    work = comparison.workload
    kind = {"put": "put", "get": "linearizable get"}[work["operation"]]
    if work["serializable"]:
        kind = "serializable get"
    return f"{kind}, {work['clients']} clients, {work['nodes']} nodes"


def ratio(systems: dict[str, Summary], figure: Callable[[Summary], float | None]) -> float | None:
    """Racos's figure over etcd's, or over the queue engine's; None when one is missing or 0."""
    other = ETCD if ETCD in systems else QUEUE
    if RACOS not in systems or other not in systems:
        return None
    ours, theirs = figure(systems[RACOS]), figure(systems[other])
    return ours / theirs if ours is not None and theirs else None


def _table(comparison: Comparison, size: int, systems: dict[str, Summary]) -> Table:
    table = Table(title=f"{workload_text(comparison)}, values of {size_text(size)}")
    table.add_column("")
    for summary in systems.values():
        table.add_column(f"{summary.system} {summary.version}", justify="right")
    both = len(systems) == 2
    if both:
        table.add_column("ratio", justify="right", style="bold")
    for row in _rows(comparison, size):
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


def _rows(comparison: Comparison, size: int) -> Sequence[_Row]:
    rows = [_Row("throughput, ops/s (median)", lambda each: each.throughput, "{:,.0f}".format)]
    if size >= 1024:
        rows.append(
            _Row("value bytes, MB/s", lambda each: each.throughput * size / 1e6, "{:,.1f}".format)
        )
    for label, at in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        rows.append(_Row(f"latency {label}, ms", _quantile(at), "{:.2f}".format))
    rows += [
        _Row("latency max, ms", lambda each: each.latency.maximum * 1e3, "{:.1f}".format),
        _Row("CPU of all servers, us/op", lambda each: each.server_us, "{:.1f}".format),
        _Row("CPU of the client, us/op", lambda each: each.client_us, "{:.1f}".format),
        _Row("client's share of CPU", lambda each: each.client_share, "{:.0%}".format),
    ]
    if comparison.workload["operation"] == "put":
        rows.append(
            _Row("disk bytes per value byte", lambda each: each.disk_ratio, "{:.2f}".format)
        )
    if comparison.workload["kill_after"] is not None:
        rows.append(_Row("longest gap, ms", lambda each: each.longest_gap * 1e3, "{:,.0f}".format))
        rows.append(_Row("errors", lambda each: float(sum(each.errors.values())), "{:,.0f}".format))
    return rows


def _quantile(at: float) -> Callable[[Summary], float]:
    return lambda summary: summary.latency.quantile(at) * 1e3


def _spread(summary: Summary) -> str:
    return " ".join(f"{each:,.0f}" for each in summary.throughputs)


def _print_errors(summary: Summary, console: Console) -> None:
    killed = sorted({each.killed for each in summary.measurements if each.killed})
    if killed:
        console.print(f"{summary.system}: killed {', '.join(killed)}", highlight=False)
    for text, count in summary.errors.items():
        console.print(f"{summary.system}: {count} x {text}", style="yellow", highlight=False)


def _footer(comparison: Comparison) -> str:
    machine, work = comparison.machine, comparison.workload
    where = f"{machine.cores} cores, {machine.cpu}, {machine.filesystem}, Python {machine.python}"
    how = f"{work['repetitions']} x {work['seconds']:g} s after {work['warm_up']:g} s of warm-up"
    commit = f", commit {machine.commit}" if machine.commit else ""
    synced = "every write synced to disk before its answer"
    if machine.filesystem in _MEMORY_FILESYSTEMS:
        synced = "data in memory, where a sync costs nothing: name a directory on disk (--data-dir)"
    return f"{where}{commit}; {how}; {synced}"
