"""Many workloads in one table: a row for each, with a line for each system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from bench.report import print_errors, print_footer, ratio, rival
from bench.result import Comparison, Summary
from bench.systems import RACOS

_WIDTH_MIN: Final = 140  # characters; a narrower table would break its figures apart
_LEGEND: Final = (
    "ratio: of the median throughputs; range: of the ratios of single repetitions; CPU: of all "
    "nodes and the client; client: its share of that; disk: bytes written by all nodes per byte of "
    "value written; wire: bytes sent by nodes and clients per byte of value written or read"
)


class _Column(NamedTuple):
    title: str
    figure: Callable[[Summary], float | None]
    show: Callable[[float], str]


_COLUMNS: Final = (
    _Column("ops/s", lambda each: each.throughput, "{:,.0f}".format),
    _Column("p50, ms", lambda each: each.latency.quantile(0.5) * 1e3, "{:.1f}".format),
    _Column("p99, ms", lambda each: each.latency.quantile(0.99) * 1e3, "{:.1f}".format),
    _Column("CPU us/op", lambda each: each.cpu_us, "{:,.0f}".format),
    _Column("client", lambda each: each.client_share, "{:.0%}".format),
    _Column("disk", lambda each: each.disk_ratio, "{:.1f}".format),
    _Column("wire", lambda each: each.wire_ratio, "{:.1f}".format),
)


def print_overview(comparison: Comparison, console: Console) -> None:
    """Print one table for the whole run, what went wrong in it, and what it was measured on."""
    console.width = max(console.width, _WIDTH_MIN)
    console.print(_table(comparison))
    for systems in comparison.summaries().values():
        for summary in systems.values():
            print_errors(summary, console)
    console.print(_LEGEND, style="dim", highlight=False)
    print_footer(comparison, console)


def spread(systems: dict[str, Summary]) -> tuple[float, float] | None:
    """The lowest and highest ratio of throughputs of repetitions that were run side by side."""
    other = rival(systems)
    if other is None:
        return None
    pairs = zip(systems[RACOS].throughputs, systems[other].throughputs, strict=False)
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    return (min(ratios), max(ratios)) if ratios else None


def _table(comparison: Comparison) -> Table:
    versions = {each.system: each.version for each in comparison.measurements}
    title = " against ".join(f"{name} {version}" for name, version in versions.items())
    table = Table(
        title=f"{title}, {comparison.workload['nodes']} nodes", box=box.SIMPLE_HEAD, show_lines=True
    )
    table.add_column("workload", no_wrap=True)
    table.add_column("")
    for column in _COLUMNS:
        table.add_column(column.title, justify="right")
    table.add_column("ratio", justify="right", style="bold")
    table.add_column("range", justify="right")
    for case, systems in comparison.summaries().items():
        columns = [_lines(column, systems) for column in _COLUMNS]
        table.add_row(
            f"{case.text}\n{case.load_text}", "\n".join(systems), *columns, *_ratios(systems)
        )
    return table


def _lines(column: _Column, systems: dict[str, Summary]) -> str:
    figures = [column.figure(summary) for summary in systems.values()]
    return "\n".join("-" if each is None else column.show(each) for each in figures)


def _ratios(systems: dict[str, Summary]) -> tuple[str, str]:
    share, ends = ratio(systems, lambda each: each.throughput), spread(systems)
    return (
        "" if share is None else f"{share:.2f}",
        "" if ends is None else f"{ends[0]:.2f}-{ends[1]:.2f}",
    )
