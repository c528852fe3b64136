"""Bytes of coded values: from the cache, from own fragments, or from other replicas' fragments.

Every fragment is checked against its digest in the descriptor and every value against its own
before it is handed out; what fails is dropped and named, never served.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from racos.core.messages import Buffer
from racos.core.quorum import Quorum, bits
from racos.erasure.codec import BadFragment, Codec
from racos.erasure.verify import check_fragment, check_value
from racos.errors import Corrupt, RequestTimedOut, TooManyRequests
from racos.mvcc.command import CodedValue
from racos.node.fetching import AtOnce, Reader
from racos.node.library import Library
from racos.node.parts import Found, Parts
from racos.node.sound import sound
from racos.node.wire import FragmentReply, FragmentRequest

Done = Callable[[bytes | Exception], None]

FETCHES_MAX = 10_000


class Timing(NamedTuple):
    """Seconds."""

    hedge: float = 0.03  # then everyone is asked, not only as many as are needed
    again: float = 0.25  # then everyone is asked again
    deadline: float = 5.0


class ValueCache:
    """Decoded values by name. Values never change, so an entry is never stale; bounded in bytes."""

    __slots__ = ("_entries", "bytes_max", "size")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.size = 0
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()

    def get(self, value: CodedValue) -> bytes | None:
        found = self._entries.get(value.digest)
        if found is not None:
            self._entries.move_to_end(value.digest)
        return found

    def put(self, value: CodedValue, data: bytes) -> None:
        if len(data) > self.bytes_max or value.digest in self._entries:
            return
        self._entries[value.digest] = data
        self.size += len(data)
        while self.size > self.bytes_max:
            _, old = self._entries.popitem(last=False)
            self.size -= len(old)


class _Waiter(NamedTuple):
    done: Done
    until: float  # then it is told that time is up, whoever else waits


class _Fetch:
    """One value on its way here."""

    __slots__ = (
        "asked",
        "asked_at",
        "background",
        "begun",
        "coming",
        "have",
        "number",
        "value",
        "waiters",
    )

    def __init__(self, number: int, value: CodedValue, now: float) -> None:
        self.number = number
        self.value = value
        self.have: dict[int, Buffer] = {}
        self.coming = 0  # bit set of own fragments that the disk is asked for
        self.asked = 0  # bit set of peers
        self.begun = self.asked_at = now
        self.background = True  # until somebody waits for it
        self.waiters: deque[_Waiter] = deque()  # the one to give up first comes first


class Values:
    """Loads coded values; one per node. `send` reaches a peer if it is connected."""

    __slots__ = (
        "_by_name",
        "_codec",
        "_fetches",
        "_library",
        "_number",
        "_parts",
        "_quorum",
        "_report",
        "_send",
        "cache",
        "foreground",
        "me",
        "now",
        "timing",
    )

    def __init__(
        self,
        me: int,
        quorum: Quorum,
        codec: Codec,
        library: Library,
        send: Callable[[int, FragmentRequest | FragmentReply], None],
        report: Callable[[str], None],
        cache_bytes: int = 64 << 20,
        reader: Reader | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._parts = Parts(library, reader or AtOnce())
        self.me = me
        self.timing = timing or Timing()
        self.cache = ValueCache(cache_bytes)
        self.foreground = 0  # values on their way that somebody waits for
        self.now = 0.0
        self._quorum = quorum
        self._codec = codec
        self._library = library
        self._send = send
        self._report = report
        self._fetches: dict[int, _Fetch] = {}
        self._by_name: dict[tuple[int, int, int], _Fetch] = {}
        self._number = 0

    def position(self, value: CodedValue) -> int:
        return value.round * self._quorum.total + value.lane

    def load(
        self, value: CodedValue, done: Done, absent: int = 0, *, background: bool = False
    ) -> None:
        """Call `done` with the value's bytes, at once if they are here, or with why not.

        `absent` is the bit set of peers not worth asking first. What is loaded in the background
        only does not enter the cache.
        """
        cached = self.cache.get(value)
        if cached is not None:
            done(cached)
            return
        name = (value.round, value.lane, value.index)
        fetch = self._by_name.get(name)
        if fetch is None:
            if len(self._fetches) >= FETCHES_MAX:
                done(TooManyRequests(f"{FETCHES_MAX} values are being loaded"))
                return
            fetch = self._begin(name, value)
        fetch.waiters.append(_Waiter(done, self.now + self.timing.deadline))
        if fetch.background and not background:
            fetch.background = False
            self.foreground += 1
        if not self._finish(fetch) and not fetch.asked:
            self._ask_first(fetch, absent)

    def _begin(self, name: tuple[int, int, int], value: CodedValue) -> _Fetch:
        self._number += 1
        fetch = _Fetch(self._number, value, self.now)
        self._fetches[self._number] = self._by_name[name] = fetch
        self._look_here(fetch)
        return fetch

    def _look_here(self, fetch: _Fetch) -> None:
        took = partial(self._took_own, fetch)
        position, index = self.position(fetch.value), fetch.value.index
        fetch.coming = self._parts.get(position, index, self._missing(fetch), took)

    def _took_own(self, fetch: _Fetch, found: Found) -> None:
        """What this replica's log holds; others may have been asked meanwhile, or have answered."""
        late, fetch.coming = fetch.coming, 0
        for index, data in found.items():
            self._take(fetch, index, data, self.me)
        if late and self._fetches.get(fetch.number) is fetch:
            self._finish(fetch)

    def serve(self, peer: int, request: FragmentRequest) -> None:
        """Answer another replica: what is held here of what it wants, at most k fragments."""
        done = partial(self._serve, peer, request)
        self._parts.get(request.position, request.value_index, request.want, done)

    def _serve(self, peer: int, request: FragmentRequest, found: Found) -> None:
        position, index = request.position, request.value_index
        few = dict(list(found.items())[: self._quorum.data])
        good = sound(self._library, position, index, few, self._report)
        self._send(peer, FragmentReply(request.number, dict(good)))

    def reply(self, peer: int, reply: FragmentReply) -> None:
        """Another replica's fragments."""
        fetch = self._fetches.get(reply.number)
        if fetch is None:
            return
        for index, data in reply.fragments.items():
            self._take(fetch, index, data, peer)
        if not self._finish(fetch) and not reply.fragments:
            self._ask(fetch, self._others() & ~fetch.asked)

    def _take(self, fetch: _Fetch, index: int, data: Buffer, source: int) -> None:
        value = fetch.value
        try:
            check_fragment(data, value.fragment_digests[index])
        except BadFragment as bad:
            self._report(
                f"value.bad_fragment round={value.round} lane={value.lane} value={value.index} "
                f"fragment={index} from_lane={source}: {bad}"
            )
            if source == self.me:
                self._library.drop_fragment(self.position(value), index)
            return
        fetch.have[index] = data

    def _finish(self, fetch: _Fetch) -> bool:
        """Decode once k fragments are here."""
        if len(fetch.have) < self._quorum.data:
            return False
        value = fetch.value
        try:
            data = self._codec.decode(fetch.have, value.length)
            check_value(data, value.length, value.digest)
        except BadFragment as bad:
            # Each fragment matched its digest: what was agreed on is itself inconsistent.
            self._end(fetch, Corrupt(f"value of round {value.round} lane {value.lane}: {bad}"))
            return True
        if not fetch.background:
            self.cache.put(value, data)
        self._end(fetch, data)
        return True

    def _end(self, fetch: _Fetch, outcome: bytes | Exception) -> None:
        value = fetch.value
        del self._fetches[fetch.number]
        del self._by_name[value.round, value.lane, value.index]
        self.foreground -= not fetch.background
        for waiter in fetch.waiters:
            waiter.done(outcome)

    def _others(self) -> int:
        return self._quorum.everyone & ~(1 << self.me)

    def _ask_first(self, fetch: _Fetch, absent: int) -> None:
        """Ask just as many as are needed, starting at a different peer for each slot."""
        needed = max(0, self._quorum.data - len(fetch.have) - fetch.coming.bit_count())
        start = fetch.value.round
        order = [(start + step) % self._quorum.total for step in range(self._quorum.total)]
        chosen = 0
        for peer in order:
            usable = peer != self.me and not absent >> peer & 1 and peer not in fetch.have
            if usable and chosen.bit_count() < needed:
                chosen |= 1 << peer
        complete = chosen.bit_count() == needed
        self._ask(fetch, chosen if complete else self._others())

    def _missing(self, fetch: _Fetch) -> int:
        return self._quorum.everyone & ~sum(1 << index for index in fetch.have)

    def _ask(self, fetch: _Fetch, peers: int) -> None:
        fetch.asked |= peers
        fetch.asked_at = self.now
        want = self._missing(fetch)
        value = fetch.value
        position = self.position(value)
        request = FragmentRequest(fetch.number, position, value.index, want)
        for peer in bits(peers):
            self._send(peer, request)

    def tick(self, now: float) -> None:
        """Hedge slow answers, repeat lost questions, give up at the deadline."""
        self.now = now
        for fetch in list(self._fetches.values()):
            self._give_up(fetch)
            if not fetch.waiters:
                self._end(fetch, RequestTimedOut())
            elif now - fetch.asked_at >= self.timing.again:
                self._ask_again(fetch)
            elif now - fetch.begun >= self.timing.hedge and self._others() & ~fetch.asked:
                self._ask(fetch, self._others() & ~fetch.asked)

    def _give_up(self, fetch: _Fetch) -> None:
        waiters = fetch.waiters
        while waiters and self.now >= waiters[0].until:
            waiters.popleft().done(RequestTimedOut())

    def _ask_again(self, fetch: _Fetch) -> None:
        """Everyone, this replica too: its own fragment may have come after the first look, and
        with f peers gone every other one is needed."""
        if not fetch.coming:
            self._look_here(fetch)
        if not self._finish(fetch):
            self._ask(fetch, self._others())

    def load_all(
        self,
        values: Iterable[CodedValue],
        done: Callable[[dict[CodedValue, bytes] | Exception], None],
        absent: int = 0,
        *,
        background: bool = False,
    ) -> None:
        """Load several; `done` gets all of them, or the first failure."""
        wanted = list(dict.fromkeys(values))
        found: dict[CodedValue, bytes] = {}
        failed = False

        def one(value: CodedValue, outcome: bytes | Exception) -> None:
            nonlocal failed
            if failed:
                return
            if isinstance(outcome, Exception):
                failed = True
                done(outcome)
                return
            found[value] = outcome
            if len(found) == len(wanted):
                done(found)

        if not wanted:
            done(found)
        for value in wanted:
            self.load(value, partial(one, value), absent, background=background)
