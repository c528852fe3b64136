"""Giving up: STATE 0 about ranges of rounds of one lane (rule 2), of dead owners and forgotten
batches.

Nothing is said about rounds beyond the window, nor of a lane that is off there (they are null).
"""

from __future__ import annotations

from racos.core.agreement import Agreement
from racos.core.lanes import OwnLane
from racos.core.window import Window

AHEAD_SHARE = 4  # that part of the window is settled in advance for a suspected lane


class Nulls:
    __slots__ = ("_agreement", "_looked", "_own", "_settled", "_voided", "_window", "ahead")

    def __init__(self, window: Window, own: OwnLane, agreement: Agreement) -> None:
        self._window = window
        self._own = own
        self._agreement = agreement
        self._settled = [0] * window.total  # per idle lane: rounds below were spoken about
        self._voided = 0  # likewise of the own lane
        self._looked = window.reach + 1  # `follow_early` is done with rounds below
        self.ahead = max(1, window.rounds_max // AHEAD_SHARE)  # rounds

    def say(self, lane: int, first: int, last: int) -> None:
        """0 about every slot of these rounds that is open and not held here."""
        window = self._window
        for round_ in range(first, min(last, window.reach) + 1):
            position = window.position(round_, lane)
            if window.value_at(position) is None:
                self._agreement.say_zero(window.open(position))

    def void_own(self) -> None:
        """After a restart: about own rounds that may hide a forgotten batch."""
        if self._own.void_upto < self._voided:
            return  # all are voided, or there were none
        first = max(self._voided, self._window.round)
        last = min(self._own.void_upto, self._window.reach)
        if first <= last:
            self._voided = last + 1
            self.say(self._own.index, first, last)

    def follow_early(self) -> None:
        """About rounds that have just come within the window and whose owners said 0 before.

        Nobody says a 0 twice unasked: after a restart of all, rounds that nobody remembers would
        else be settled only as fast as replicas ask.
        """
        window = self._window
        reach = window.reach
        if reach < self._looked:
            return
        for round_ in range(max(self._looked, window.round), reach + 1):
            for lane in range(window.total):
                slot = window.slots.get(round_ * window.total + lane)
                if slot is not None and slot.phases[0].zeros >> lane & 1:
                    self._agreement.say_zero(slot)
        self._looked = reach + 1

    def settle(self, idle: int, highest: int) -> None:
        """Settle the open rounds of idle lanes, some in advance, off everyone's critical path.

        `highest` is the highest round seen in use.
        """
        for lane in range(self._window.total):
            if idle >> lane & 1:
                self._settle(lane, highest)
            else:
                self._settled[lane] = 0

    def _settle(self, lane: int, highest: int) -> None:
        window = self._window
        on = window.configs.next_on(lane, max(self._settled[lane], window.round))
        if on is None:
            return  # the lane is off for good
        last = min(highest + self.ahead, window.reach)
        if last - on >= self.ahead // 2 or on <= highest <= last:
            self._settled[lane] = last + 1
            self.say(lane, on, last)
