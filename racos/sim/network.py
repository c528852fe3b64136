"""The simulated network: connections between all pairs, and what can happen to frames.

Two temperaments, as the options say. As TCP (no loss, duplication or reordering drawn): a link
delivers in order and completely while its connection lasts; a dead link holds frames back until it
is healed or reset. As datagrams: frames are lost, repeated, overtaken, and may come from a
connection, or a life of the sender, that has ended.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

from racos.core.messages import Buffer
from racos.node import wire
from racos.node.wire import NodeMessage
from racos.sim.adversary import Adversary
from racos.sim.events import Events
from racos.sim.options import Options

# What one frame says. It was bytes: see `Network.send`.
Frame: TypeAlias = tuple[NodeMessage, ...]
Deliver = Callable[[int, int, Frame], None]  # sender, receiver, frame
Notify = Callable[[int, int], None]  # whom, about whom

_CONNECT_SECONDS = 0.05  # between two attempts
_LATE_SECONDS = 0.12  # what the adversary calls late: longer than patience, mostly
_HELD_MAX = 10_000  # frames of one dead link; production's queues are shorter


class Link:
    """One direction between two nodes."""

    __slots__ = ("blocked", "busy_until", "cut_from", "held")

    def __init__(self) -> None:
        self.blocked = False
        self.busy_until = 0.0  # in-order delivery: nothing arrives before this
        self.cut_from = float("inf")  # what was sent later died with the sender
        self.held: list[tuple[int, Frame]] = []


class Network:
    def __init__(
        self,
        options: Options,
        events: Events,
        deliver: Deliver,
        up: Notify,
        down: Notify,
        ready: Callable[[int], bool],
    ) -> None:
        self.options = options
        self.frames = 0  # delivered
        self.lost = 0
        self._events = events
        self._deliver = deliver
        self._up, self._down, self._ready = up, down, ready
        self._source = random.Random(f"network {options.seed}")
        lanes = range(options.nodes)
        self._links = {(a, b): Link() for a in lanes for b in lanes if a != b}
        self._epochs = {(a, b): 0 for a in lanes for b in lanes if a < b}
        self.connected: set[tuple[int, int]] = set()  # pairs, the lower lane first
        self.calm = False  # after the heal: no more loss, duplicates or reordering
        # Frames may be lost, repeated, overtaken, and outlive their connection.
        self.datagrams = any(map(options.on, ("loss", "duplicate", "reorder", "adversary")))
        self._loss = options.loss if options.on("loss") else 0.0
        self._duplicate = options.duplicate if options.on("duplicate") else 0.0
        self._reorder = 0.1 if options.on("reorder") else 0.0
        self._decoded: tuple[bytes, Frame] = (b"", ())  # the last frame without blobs
        self.adversary: Adversary | None = None
        if options.on("adversary"):
            late = min(_LATE_SECONDS, options.suspect_after)
            self.adversary = Adversary(self._source, options.nodes, late, options.suspect_after)
        events.after(0.0, self._connect_all)

    # -- frames ----------------------------------------------------------------------------------

    def send(self, sender: int, receiver: int, header: bytes, blobs: Sequence[Buffer]) -> bool:
        """The frame's bytes are read here rather than by the receiver: once for all who get the
        same, as long as they come one after the other."""
        if _pair(sender, receiver) not in self.connected:
            return False
        frame = self._decode(header, blobs)
        if self.calm:
            self._transmit(sender, receiver, frame, self._delay())
            return True
        if self.adversary is not None:
            self._scatter(self.adversary, sender, receiver, frame)
            return True
        if self._loss and self._source.random() < self._loss:
            self.lost += 1
            return True
        self._transmit(sender, receiver, frame, self._delay())
        if self._duplicate and self._source.random() < self._duplicate:
            self._transmit(sender, receiver, frame, self._delay() * 20)
        return True

    def _decode(self, header: bytes, blobs: Sequence[Buffer]) -> Frame:
        total = self.options.nodes
        if blobs:
            return tuple(wire.decode(header, [bytes(blob) for blob in blobs], total))
        if header is not self._decoded[0]:
            self._decoded = (header, tuple(wire.decode(header, (), total)))
        return self._decoded[1]

    def _scatter(self, adversary: Adversary, sender: int, receiver: int, frame: Frame) -> None:
        """Message by message the adversary says how late each comes; what is equally late comes
        together."""
        parts: dict[float, list[NodeMessage]] = {}
        for message in frame:
            parts.setdefault(adversary.lateness(sender, receiver, message), []).append(message)
        usual = self.options.delay * (0.5 + self._source.random())
        for late, messages in parts.items():
            self._transmit(sender, receiver, tuple(messages), usual + late)

    def _delay(self) -> float:
        mean = self.options.delay
        usual = mean * (0.5 + 0.5 * self._source.expovariate(1.0))
        if self._reorder and not self.calm and self._source.random() < self._reorder:
            return usual * 20
        return usual

    def _transmit(self, sender: int, receiver: int, frame: Frame, delay: float) -> None:
        link = self._links[sender, receiver]
        epoch = self._epochs[_pair(sender, receiver)]
        if link.blocked:
            self._hold(link, epoch, frame)
            return
        sent_at = self._events.now
        if not self.datagrams:
            arrival = link.busy_until = max(sent_at + delay, link.busy_until)
            delay = arrival - sent_at
        self._events.after(delay, self._arrive, sender, receiver, sent_at, epoch, frame)

    def _hold(self, link: Link, epoch: int, frame: Frame) -> None:
        if self.datagrams or len(link.held) >= _HELD_MAX:
            self.lost += 1
        else:
            link.held.append((epoch, frame))

    def _arrive(self, sender: int, receiver: int, sent_at: float, epoch: int, frame: Frame) -> None:
        link = self._links[sender, receiver]
        stale = not self.datagrams and epoch != self._epochs[_pair(sender, receiver)]
        if stale or sent_at > link.cut_from:
            self.lost += 1
        elif link.blocked:
            self._hold(link, epoch, frame)
        else:
            self.frames += 1
            self._deliver(sender, receiver, frame)

    # -- connections -----------------------------------------------------------------------------

    def _connect_all(self) -> None:
        for a, b in self._epochs:
            dead = self._links[a, b].blocked or self._links[b, a].blocked
            if (a, b) not in self.connected and self._ready(a) and self._ready(b) and not dead:
                self._connect(a, b)
        self._events.after(_CONNECT_SECONDS, self._connect_all)

    def _connect(self, a: int, b: int) -> None:
        self.connected.add((a, b))
        self._epochs[a, b] += 1
        for one, other in ((a, b), (b, a)):
            self._links[one, other].cut_from = float("inf")
            self._links[one, other].busy_until = self._events.now
            self._down(one, other)  # if it had not noticed the end of the last connection yet
            self._up(one, other)

    def reset(self, a: int, b: int) -> None:
        """Break a connection; both ends notice."""
        pair = _pair(a, b)
        if pair in self.connected:
            self.connected.remove(pair)
            self._epochs[pair] += 1
            self._drop_held(a, b)
            self._down(a, b)
            self._down(b, a)

    def _drop_held(self, a: int, b: int) -> None:
        for link in (self._links[a, b], self._links[b, a]):
            self.lost += len(link.held)
            link.held.clear()

    def died(self, lane: int, *, power: bool) -> None:
        """A node is gone. With its power, some of what it sent last is gone too, and nobody is
        told; the end of a process closes its connections, which the others see."""
        for other in range(self.options.nodes):
            pair = _pair(lane, other)
            if other == lane:
                continue
            if power:
                back = (
                    self.options.delay
                    * self._source.choice((0.0, 1.0, 3.0))
                    * self._source.random()
                )
                self._links[lane, other].cut_from = self._events.now - back
            if pair in self.connected:
                self.connected.remove(pair)
                self._drop_held(lane, other)
                if not power or self._source.random() < 0.3:
                    self._events.after(self.options.delay, self._tell_gone, other, lane)

    def _tell_gone(self, whom: int, gone: int) -> None:
        if _pair(whom, gone) not in self.connected:
            self._down(whom, gone)

    def block(self, sender: int, receiver: int) -> None:
        self._links[sender, receiver].blocked = True

    def unblock(self, sender: int, receiver: int) -> None:
        """Held frames come now, in order."""
        link = self._links[sender, receiver]
        link.blocked = False
        held, link.held = link.held, []
        for epoch, frame in held:
            if epoch == self._epochs[_pair(sender, receiver)]:
                self._transmit(sender, receiver, frame, self._delay())

    def blocked(self) -> list[tuple[int, int]]:
        return [ends for ends, link in self._links.items() if link.blocked]

    def calm_down(self) -> None:
        """The bad times are over: every link works and loses nothing."""
        self.calm, self.datagrams = True, False
        for sender, receiver in self.blocked():
            self.unblock(sender, receiver)


def _pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
