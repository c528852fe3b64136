"""What all pictures share: a colour for each system, and its curve of latencies."""

from __future__ import annotations

from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from bench.result import Summary
from bench.systems import ETCD, QUEUE, RACOS

_COLOURS: Final = {RACOS: "#1f77b4", ETCD: "#e07b00", QUEUE: "#7a5195"}
_OTHER: Final = "#555555"


def colour_of(system: str) -> str:
    """The same in every picture."""
    return _COLOURS.get(system, _OTHER)


def plot_latencies(axes: Axes, summary: Summary, label: str, style: str = "-") -> None:
    """Add the curve of % of operations over latency in ms."""
    times: list[float] = []
    shares: list[float] = []
    seen = 0
    for upper, count in summary.latency.steps():
        seen += count
        times.append(upper * 1e3)
        shares.append(100 * seen / summary.latency.total)
    axes.plot(times, shares, style, color=colour_of(summary.system), linewidth=2, label=label)


def set_latency_axes(axes: Axes) -> None:
    """Latencies differ by orders of magnitude, shares do not."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())  # they would run into each other
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
