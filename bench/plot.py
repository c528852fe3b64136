"""A comparison as a picture: throughput and latency, or, for a fault run, successes over time.

Many workloads in one run have a picture of another kind (`plot_overview`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.cases import Case, size_text
from bench.plot_overview import draw_overview
from bench.plot_style import colour_of, plot_latencies, set_latency_axes
from bench.report import ratio
from bench.result import Comparison, Measurement, Summary

_LINES: Final = ("-", "--", ":", "-.")  # one style per value size
_STEP_S: Final = 0.05  # of the fault run's time line: 10 ms would be all noise


def draw(comparison: Comparison, path: Path) -> None:
    """Write a PNG file."""
    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        if any(case.kill for case in comparison.summaries()):
            figure = _draw_fault(comparison)
        elif _is_varied(comparison):
            figure = draw_overview(comparison, _systems_text(comparison))
        else:
            figure = _draw_figures(comparison)
        figure.savefig(path, dpi=120)


def _figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(12, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def _draw_figures(comparison: Comparison) -> Figure:
    figure, (left, right) = _figure(1, 2, 5)
    summaries = comparison.summaries()
    figure.suptitle(_title(comparison))
    _draw_throughput(left, summaries)
    _draw_latency(right, summaries)
    return figure


def _is_varied(comparison: Comparison) -> bool:
    """Whether there is more than one workload, or more sizes than one pair of axes can hold."""
    cases = comparison.summaries()
    return len({case.text for case in cases}) > 1 or len(cases) > len(_LINES)


def _title(comparison: Comparison) -> str:
    return f"{_systems_text(comparison)}: {comparison.measurements[0].case.text}"


def _systems_text(comparison: Comparison) -> str:
    versions = {each.system: each.version for each in comparison.measurements}
    names = " against ".join(f"{system} {version}" for system, version in versions.items())
    return f"{names}, {comparison.workload['nodes']} nodes"


def _draw_throughput(axes: Axes, summaries: dict[Case, dict[str, Summary]]) -> None:
    systems = list(dict.fromkeys(name for group in summaries.values() for name in group))
    width = 0.8 / len(systems)
    for position, group in enumerate(summaries.values()):
        for index, (system, summary) in enumerate(group.items()):
            at = position + (index - (len(systems) - 1) / 2) * width
            low = summary.throughput - min(summary.throughputs)
            high = max(summary.throughputs) - summary.throughput
            label = system if position == 0 else None
            axes.bar(at, summary.throughput, width * 0.94, color=colour_of(system), label=label)
            axes.errorbar(at, summary.throughput, [[low], [high]], color="black", capsize=4)
            note = f"{summary.throughput:,.0f}/s"
            axes.annotate(
                note,
                (at, max(summary.throughputs)),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=10,
            )
    axes.set_xticks(range(len(summaries)), [_size_label(*item) for item in summaries.items()])
    values = [
        rate for group in summaries.values() for each in group.values() for rate in each.throughputs
    ]
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 20 * min(positive):
        axes.set_yscale("log")  # small and large values differ by orders of magnitude
    axes.margins(y=0.15)
    axes.set_ylabel("operations per second")
    axes.set_title("Throughput (median, range of repetitions): higher is better")
    axes.legend(frameon=False)


def _size_label(case: Case, group: dict[str, Summary]) -> str:
    share = ratio(group, lambda each: each.throughput)
    clients = "1 client" if case.clients == 1 else f"{case.clients} clients"
    label = f"{size_text(case.size)}\n{clients}"
    return label if share is None else f"{label}\nratio {share:.2f}"


def _draw_latency(axes: Axes, summaries: dict[Case, dict[str, Summary]]) -> None:
    for position, (case, group) in enumerate(summaries.items()):
        for system, summary in group.items():
            label = system if len(summaries) == 1 else f"{system}, {size_text(case.size)}"
            plot_latencies(axes, summary, label, _LINES[position % len(_LINES)])
    set_latency_axes(axes)
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("% of operations at most this late")
    axes.set_title("Latency: further left is better")
    # Below the axes, one column per size: inside, it would cover curves.
    axes.legend(
        frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=max(2, len(summaries))
    )


def _draw_fault(comparison: Comparison) -> Figure:
    worst: dict[str, Measurement] = {}
    for each in comparison.measurements:
        kept = worst.get(each.system)
        if kept is None or each.timeline.longest_gap() > kept.timeline.longest_gap():
            worst[each.system] = each
    figure, panels = _figure(len(worst), 1, 1 + 3 * len(worst), sharex=True)
    figure.suptitle(f"{_title(comparison)}, one node killed")
    for axes, measurement in zip(panels, worst.values(), strict=True):
        _draw_timeline(axes, measurement)
    panels[-1].set_xlabel("seconds")
    return figure


def _draw_timeline(axes: Axes, measurement: Measurement) -> None:
    timeline = measurement.timeline
    group = round(_STEP_S / timeline.STEP_S)
    # The last bucket only holds what falls on the window's edge.
    starts = range(0, len(timeline.counts) - 1, group)
    rates = [sum(timeline.counts[at : at + group]) / _STEP_S for at in starts]
    times = [at * timeline.STEP_S for at in starts]
    colour = colour_of(measurement.system)
    # A step reaches to the next point, so the last one needs an end.
    axes.fill_between(
        [*times, measurement.seconds],
        [*rates, rates[-1]],
        step="post",
        color=colour,
        alpha=0.8,
        linewidth=0,
    )
    length, start = timeline.longest_gap()
    axes.axvspan(start, start + length, color="#d62728", alpha=0.15, linewidth=0)
    if measurement.killed_at_s is not None:
        axes.axvline(measurement.killed_at_s, color="#d62728", linestyle="--")
        axes.annotate(
            f"{measurement.killed} killed",
            (measurement.killed_at_s, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-6, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            color="#d62728",
        )
    axes.set_title(
        f"{measurement.system} {measurement.version}, {size_text(measurement.case.size)}: "
        f"longest gap {length * 1e3:,.0f} ms",
        loc="left",
    )
    axes.set_xlim(0, measurement.seconds)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("successes per second")
