"""Many workloads in one picture: who is faster by how much, and the latencies of each."""

from __future__ import annotations

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.cases import Case
from bench.overview import spread
from bench.plot_style import colour_of, plot_latencies, set_latency_axes
from bench.report import ratio, rival
from bench.result import Comparison, Summary
from bench.systems import RACOS

_COLUMNS: Final = 4  # of the small pictures of latencies
_ROW_IN: Final = 0.42  # height of a workload's line, inches
_CELL_IN: Final = 2.0  # height of a row of small pictures


def draw_overview(comparison: Comparison, title: str) -> Figure:
    """Ratios above (or throughputs, when there is nothing to compare with), latencies below."""
    groups = list(comparison.summaries().values())
    rows = -(-len(groups) // _COLUMNS)
    heights = (1.4 + _ROW_IN * len(groups), 0.6 + _CELL_IN * rows)
    figure = Figure(figsize=(13, sum(heights) + 0.4), layout="constrained")
    figure.suptitle(title)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights).flat
    if any(spread(systems) for systems in groups):
        _draw_ratios(upper.subplots(), groups)
    else:
        _draw_throughputs(upper.subplots(), groups)
    lower.suptitle("Latency, ms: % of operations at most this late (further left is better)")
    cells = list(lower.subplots(rows, _COLUMNS, squeeze=False, sharey=True).flat)
    for axes, systems in zip(cells, groups, strict=False):
        for system, summary in systems.items():
            plot_latencies(axes, summary, system)
        set_latency_axes(axes)
        case = _case(systems)
        axes.set_title(f"{case.text}\n{case.load_text}", fontsize=9)
    for axes in cells[len(groups) :]:
        axes.set_visible(False)
    for axes in cells[: len(groups) : _COLUMNS]:
        axes.set_ylabel("%")
    cells[0].legend(frameon=False, loc="lower right")
    return figure


def _draw_ratios(axes: Axes, groups: list[dict[str, Summary]]) -> None:
    for at, systems in enumerate(groups):
        share, ends = ratio(systems, lambda each: each.throughput), spread(systems)
        if share is None or ends is None:
            continue
        colour = colour_of(RACOS if share >= 1 else rival(systems) or RACOS)
        axes.barh(at, share - 1, left=1, height=0.6, color=colour)
        low, high = max(0.0, share - ends[0]), max(0.0, ends[1] - share)
        axes.errorbar(share, at, xerr=[[low], [high]], color="black", capsize=3)
        right = share >= 1
        axes.annotate(
            f"{share:.2f}",
            (max(share, ends[1]) if right else min(share, ends[0]), at),
            xytext=(6 if right else -6, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            weight="bold",
        )
    axes.set_xscale("log", base=2)  # twice as fast is as far from 1 as half as fast
    axes.axvline(1, color="black", linewidth=1)
    axes.set_title("Throughput, Racos / the other (median and range): right of 1 is faster")
    _set_rows(axes, groups)


def _draw_throughputs(axes: Axes, groups: list[dict[str, Summary]]) -> None:
    for at, systems in enumerate(groups):
        for system, summary in systems.items():
            axes.plot(summary.throughput, at, "o", color=colour_of(system), markersize=9)
    axes.set_xscale("log")
    axes.set_title("Throughput, operations per second (median)")
    _set_rows(axes, groups)


def _set_rows(axes: Axes, groups: list[dict[str, Summary]]) -> None:
    axes.set_yticks(range(len(groups)), [_label(systems) for systems in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)  # the first workload on top
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.3)


def _label(systems: dict[str, Summary]) -> str:
    rates = " : ".join(f"{each.throughput:,.0f}" for each in systems.values())
    return f"{_case(systems).full_text}   {rates} /s"


def _case(systems: dict[str, Summary]) -> Case:
    return next(iter(systems.values())).case
