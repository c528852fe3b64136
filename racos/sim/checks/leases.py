"""P-12: what holders of leases were told, against when leases ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from racos.mvcc.command import LeaseGrant, LeaseRevoke
from racos.node.lease_clock import COVER_SECONDS
from racos.sim.history import Call, KeepAlive, Outcome
from racos.sim.lease_model import Life
from racos.sim.violation import Violation

# A dead lease's end: deadlines, stewards that are tried in turn, and a decision.
LATE_SECONDS = 2.0


class Rates(NamedTuple):
    """The slowest and the fastest that any clock ran, against the world's."""

    slow: float = 1.0
    fast: float = 1.0


@dataclass(slots=True)
class _Told:
    """What clients were told about one lease."""

    grants: list[Call] = field(default_factory=list)
    alive: list[Call] = field(default_factory=list)  # keep-alives answered with a TTL
    dead: list[Call] = field(default_factory=list)  # and with 0
    revoked: list[Call] = field(default_factory=list)


class Leases:
    """Verifies, once, at the end of a run, from the lives of all leases in the decided order:

    - none ends early: an expiry takes effect (is first applied anywhere) not before the whole TTL
      has passed since any grant or keep-alive was *asked* for that was acknowledged, however late
      the acknowledgement came; with clocks that ran at different rates, less what those explain;
    - none is called alive after its end: no keep-alive is answered with a TTL that was asked for
      after somebody had been told of the end (by the answer to a revocation, or by a state in
      which its keys are gone), or after an expiry took effect;
    - none is called dead that lives: a keep-alive answered 0 has an end in the order, in effect by
      then, or its grant was not acknowledged before it was asked for;
    - an answered grant and revocation is in the order; what was revoked does not end by time too;
    - abandoned leases go: in a run without faults or restarts each expiry takes effect within TTL,
      cover and LATE_SECONDS of the last renewal. (After the heal, `settling` demands it of every
      run.)

    The model runs the same order with rules of its own, and `linear`, `watch` and `final` compare
    answers, events and states: keys attached and detached right, one revision for the end of a
    lease with all its keys, none for one without, equal tables.

    Not verified: the remaining time that is told (LeaseTimeToLive), ids that nodes draw, grants of
    an id used before.
    """

    def __init__(
        self, calls: Sequence[Call], lives: Sequence[Life], times: Sequence[float], rates: Rates
    ) -> None:
        """`times`: when the command at each place of the order was first applied anywhere."""
        self._lives = lives
        self._times = times
        self._rates = rates
        self._told: dict[int, _Told] = {life.id: _Told() for life in lives}
        for call in calls:
            self._file(call)
        self._states = sorted(_states(calls), reverse=True)

    def _file(self, call: Call) -> None:
        request = call.request
        if call.outcome is not Outcome.OK or isinstance(call.answer, str):
            return
        if isinstance(request, LeaseGrant):
            self._of(request.id).grants.append(call)
        elif isinstance(request, LeaseRevoke):
            self._of(request.id).revoked.append(call)
        elif isinstance(request, KeepAlive):
            told = self._of(request.id)
            (told.alive if call.answer else told.dead).append(call)

    def _of(self, id_: int) -> _Told:
        return self._told.setdefault(id_, _Told())

    def check(self, *, calm: bool) -> None:
        """`calm`: nothing went wrong in this run, so that leases must end in time, too."""
        for life in self._lives:
            told = self._told.pop(life.id)
            if life.by_time:
                self._check_not_early(life, told)
            self._check_not_after(life, told)
            self._check_not_dead(life, told)
            if life.by_time and told.revoked:
                raise Violation("P-12", f"revoked, and ended by time: {told.revoked[0]}")
            if calm and life.by_time:
                self._check_in_time(life)
        for told in self._told.values():  # leases that the order does not know
            for call in (*told.grants, *told.alive, *told.revoked):
                raise Violation("P-12", f"{call}: this lease was never granted")

    def _end(self, life: Life) -> float:
        """When its end took effect."""
        return self._times[life.ended] if life.ended is not None else float("inf")

    def _check_not_early(self, life: Life, told: _Told) -> None:
        slow, fast = self._rates
        whole = (life.ttl + COVER_SECONDS) / fast
        covered = whole - COVER_SECONDS / slow
        for call in (*told.grants, *told.alive):
            due = call.called_at + (whole if isinstance(call.request, LeaseGrant) else covered)
            # The tolerance is for sums of floats.
            if self._end(life) < due - 1e-6:
                raise Violation(
                    "P-12", f"lease {life.id} ended at {self._end(life):.6f}, too early for {call}"
                )

    def _check_not_after(self, life: Life, told: _Told) -> None:
        known = min((call.returned_at or 0.0 for call in told.revoked), default=float("inf"))
        if life.by_time:
            known = min(known, self._end(life))
        if life.revision:
            for revision, returned_at in self._states:
                if revision < life.revision:
                    break
                known = min(known, returned_at)
        for call in told.alive:
            if call.called_at > known:
                raise Violation("P-12", f"told alive after its end was known ({known:.6f}): {call}")

    def _check_not_dead(self, life: Life, told: _Told) -> None:
        granted = min((call.returned_at or 0.0 for call in told.grants), default=float("inf"))
        for call in told.dead:
            assert call.returned_at is not None
            if call.called_at > granted and self._end(life) > call.returned_at:
                raise Violation("P-12", f"told dead, and it lives: {call}")

    def _check_in_time(self, life: Life) -> None:
        last = self._times[life.renewed]
        late = self._end(life) - last - life.ttl - COVER_SECONDS
        if late > LATE_SECONDS:
            raise Violation("P-12", f"lease {life.id} ended {late:.3f} s after its time was over")


def _states(calls: Sequence[Call]) -> Iterator[tuple[int, float]]:
    """(revision, when) of every answer: from then on somebody knows that state."""
    for call in calls:
        if call.outcome is not Outcome.OK or call.returned_at is None:
            continue
        if call.is_read:
            yield call.revision, call.returned_at
        elif isinstance(call.answer, tuple):
            yield call.answer.revision, call.returned_at
