"""The read barrier: linearizable reads without a slot and without an fsync.

Ask n-f replicas (oneself included) for the highest position for which they said STATE 1 in any
phase, or know decision 1; when everything up to the maximum is decided and applied here, a local
read misses nothing that was acknowledged before the probe was sent. Why it is enough to look at
ones: an acknowledged batch was decided 1, so at least a majority (or all of n-f) said STATE 1
before, and that set meets every n-f sample.

One probe serves every read that arrived before it was sent and none that came after; a retry is a
new probe with a new number, so an answer to an old question is never counted for a new one (etcd
#20418).
"""

from __future__ import annotations

from collections.abc import Callable


class Probing:
    """One probe on its way."""

    __slots__ = ("answered", "highest", "number", "sent_at", "tickets")

    def __init__(self, number: int, tickets: list[int], now: float) -> None:
        self.number = number
        self.tickets = tickets
        self.sent_at = now
        self.answered = 0  # bit set of replicas
        self.highest = -1


class Barrier:
    """Reads waiting for their probe, probes waiting for answers, reads waiting for the frontier."""

    __slots__ = ("_number", "_probes", "_targets", "_waiting", "answers", "in_flight_max")

    def __init__(self, answers: int, first_number: int = 0, in_flight_max: int = 4) -> None:
        self.answers = answers  # n-f
        self.in_flight_max = in_flight_max
        self._waiting: list[int] = []
        self._probes: dict[int, Probing] = {}
        self._targets: list[tuple[int, list[int]]] = []
        self._number = first_number  # unlike any earlier life's, so late answers fall flat

    def add(self, ticket: int) -> None:
        """A read arrived; it is served by a probe that is sent from now on."""
        self._waiting.append(ticket)

    def next_probe(self, now: float) -> int | None:
        """The number of a probe to send now for all reads that wait, or None."""
        if not self._waiting or len(self._probes) >= self.in_flight_max:
            return None
        self._number += 1
        self._probes[self._number] = Probing(self._number, self._waiting, now)
        self._waiting = []
        return self._number

    def answer(self, sender: int, number: int, position: int) -> None:
        """A replica's highest position; answers to unknown or finished probes are ignored."""
        probe = self._probes.get(number)
        if probe is None:
            return
        probe.answered |= 1 << sender
        probe.highest = max(probe.highest, position)
        if probe.answered.bit_count() >= self.answers:
            del self._probes[number]
            self._targets.append((probe.highest, probe.tickets))

    def highest_target(self) -> int:
        """The highest position some read waits for, -1 if none."""
        return max((target for target, _ in self._targets), default=-1)

    def take_ready(self, frontier: int) -> list[int]:
        """Reads whose target lies below the frontier (everything there is applied)."""
        if not self._targets:
            return []
        ready: list[int] = []
        waiting: list[tuple[int, list[int]]] = []
        for target, tickets in self._targets:
            if target < frontier:
                ready.extend(tickets)
            else:
                waiting.append((target, tickets))
        self._targets = waiting
        return ready

    def expire(self, now: float, age_max: float) -> None:
        """Give up on probes nobody answered in time; their reads go into a new one."""
        for number, probe in list(self._probes.items()):
            if now - probe.sent_at >= age_max:
                del self._probes[number]
                self._waiting[:0] = probe.tickets

    def drop(self, keep: Callable[[int], bool]) -> None:
        """Forget reads whose callers have given up."""
        self._waiting = [ticket for ticket in self._waiting if keep(ticket)]
        for probe in self._probes.values():
            probe.tickets = [ticket for ticket in probe.tickets if keep(ticket)]
        self._targets = [
            (target, kept)
            for target, tickets in self._targets
            if (kept := [ticket for ticket in tickets if keep(ticket)])
        ]
