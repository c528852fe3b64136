"""A play as a picture: replicas side by side, time downwards, messages as arrows.

Drawn from the trace as the play's text has it. What happens within `settle` is not in the trace,
only its outcomes are. SKIPs and ASKs are left out: nearly every play has many.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from typing import Final

LEFT, LANE, ROW, TOP, RIGHT = 90, 200, 17, 46, 300  # pixels
COLORS: Final = {
    "PAY": "#1f77b4",
    "STATE": "#2ca02c",
    "HOLD": "#17becf",
    "VOTE": "#ff7f0e",
    "DECIDE": "#9467bd",
}
HIDDEN: Final = ("SKIP", "ASK")
_SENT = re.compile(r"(\d)->(\*|[\d,]+) (.*)")
_GOT = re.compile(r"(\d) gets from (\d): (.*)")
_LOST = re.compile(r"lost (\d)->(\d) (.*)")
_DID = re.compile(r"(\d) (writes|synced|decides|applies|takes back|may do|wants|serves)(.*)")
_TOLD = re.compile(r"> (crash|restart|tick|cut|mend|settle)(.*)")
_SIZE = re.compile(r"> cluster n=(\d)")


class Picture:
    """Rows of what happened, top to bottom."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.row = 0
        self.arrows: list[str] = []
        self.labels: list[str] = []
        self.flying: dict[tuple[int, int, str], list[int]] = {}
        self._readers: tuple[tuple[re.Pattern[str], Callable[..., None]], ...] = (
            (_GOT, self._got),
            (_LOST, self._lost),
            (_DID, self._did),
            (_SENT, self._sent),
            (_TOLD, self._told),
        )

    def read(self, line: str) -> None:
        for pattern, handle in self._readers:
            found = pattern.fullmatch(line.strip())
            if found:
                handle(*found.groups())
                return

    def x(self, lane: int) -> int:
        return LEFT + lane * LANE

    def y(self, row: int) -> int:
        return TOP + row * ROW

    def _sent(self, sender: str, to: str, text: str) -> None:
        if text.startswith(HIDDEN):
            return
        lane = int(sender)
        others = [peer for peer in range(self.total) if peer != lane]
        receivers = others if to == "*" else [int(peer) for peer in to.split(",")]
        for receiver in receivers:
            self.flying.setdefault((lane, receiver, text), []).append(self.row)
        self._label(lane, f"{text} \u2192 {'all' if to == '*' else to}", _color(text))

    def _got(self, receiver: str, sender: str, text: str) -> None:
        self._end(int(sender), int(receiver), text, lost=False)

    def _lost(self, sender: str, receiver: str, text: str) -> None:
        self._end(int(sender), int(receiver), text, lost=True)

    def _end(self, sender: int, receiver: int, text: str, *, lost: bool) -> None:
        rows = self.flying.get((sender, receiver, text))
        if not rows:
            return
        start = rows.pop(0)
        x1, y1, x2, y2 = self.x(sender), self.y(start), self.x(receiver), self.y(self.row)
        color = _color(text)
        if lost:
            x2, y2 = (2 * x1 + x2) // 3, (2 * y1 + y2) // 3
            self._cross(x2, y2)
        end = "" if lost else f' marker-end="url(#{text.split()[0]})"'
        dashes = ' stroke-dasharray="4 3"' if lost else ""
        self.arrows.append(
            f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{color}" fill="none"{dashes}{end}/>'
        )
        if not lost:
            self.row += 1

    def _cross(self, x: int, y: int) -> None:
        self.arrows.append(
            f'<path d="M{x - 4} {y - 4}l8 8m0-8l-8 8" stroke="#d62728" stroke-width="2"/>'
        )

    def _did(self, lane: str, what: str, rest: str) -> None:
        weight = "bold" if what in ("decides", "applies", "takes back") else "normal"
        self._label(int(lane), f"{what}{rest}", "#333", weight)

    def _label(self, lane: int, text: str, color: str, weight: str = "normal") -> None:
        x, y = self.x(lane), self.y(self.row)
        self.labels.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>')
        self.labels.append(
            f'<text x="{x + 7}" y="{y + 4}" fill="{color}" font-weight="{weight}">'
            f"{escape(text)}</text>"
        )
        self.row += 1

    def _told(self, what: str, rest: str) -> None:
        y = self.y(self.row)
        self.labels.append(f'<text x="4" y="{y + 4}" fill="#888">{escape(what + rest)}</text>')
        if what in ("crash", "restart"):
            lanes = range(self.total) if "all" in rest else [int(lane) for lane in rest.split()]
            for lane in lanes:
                self._cross(self.x(lane), y) if what == "crash" else None
        self.row += 1

    def svg(self, title: str) -> str:
        width, height = LEFT + (self.total - 1) * LANE + RIGHT, self.y(self.row) + 10
        lanes = [
            f'<path d="M{self.x(lane)} {TOP - 12}V{height - 8}" stroke="#ccc"/>'
            f'<text x="{self.x(lane) - 4}" y="{TOP - 18}" font-weight="bold">{lane}</text>'
            for lane in range(self.total)
        ]
        markers = [
            f'<marker id="{kind}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{color}"/></marker>'
            for kind, color in COLORS.items()
        ]
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="10"><title>{escape(title)}</title>'
            f'<rect width="100%" height="100%" fill="white"/><defs>{"".join(markers)}</defs>'
        )
        return "\n".join([head, *lanes, *self.arrows, *self.labels, "</svg>"]) + "\n"


def _color(text: str) -> str:
    return COLORS.get(text.split()[0], "#7f7f7f")


def draw(title: str, text: str) -> str:
    """The picture of a play whose text has its trace."""
    size = _SIZE.search(text)
    assert size is not None, f"{title} has no cluster"
    picture = Picture(int(size[1]))
    for line in text.splitlines():
        if line.startswith(("  ", "> ")):
            picture.read(line)
    return picture.svg(title)
