"""One replica without a process around it: the core, the log, the store and what joins them.

Synchronous; the world is behind four ports: the log's disk, `Link` to the peers, the clock (a
function) and `Flusher`, which runs one log batch at a time and then calls `flushed`. The asyncio
node drives this in production; a simulator drives the same class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf

from racos.core.config import Change, Configs
from racos.core.effects import Chunk, Effects
from racos.core.engine import Engine, History
from racos.core.messages import AppliedRecord, Buffer, Message, Pay, Payload, PayRecord
from racos.core.outbox import ALL
from racos.core.quorum import bits
from racos.core.replica import Settings
from racos.erasure.codec import Codec
from racos.errors import RequestTimedOut
from racos.mvcc.command import CodedValue, Command
from racos.mvcc.shelf import MemoryShelf, Shelf
from racos.mvcc.store import Store
from racos.node import batch as batches
from racos.node import records, wire
from racos.node.applier import Applier
from racos.node.auditor import Auditor
from racos.node.batcher import Batcher, Proposal, Reply
from racos.node.checkpoint import Checkpoint, read_applied
from racos.node.engines import KITS
from racos.node.healer import Healer
from racos.node.keeper import Keeper
from racos.node.leases import BarrierReply, Leases, Ports
from racos.node.ports import Flusher, Link, Options
from racos.node.rebuild import rebuild_open
from racos.node.silence import memory_of, silence_of
from racos.node.transfer import Stage
from racos.node.values import Values
from racos.node.waiting import WaitingReads
from racos.storage.log import Batch, Log
from racos.storage.vow import VowFile

TICK_SECONDS = 0.005
LAZY_FLUSH_SECONDS = 0.05  # for records that promise nothing
SWEEP_SECONDS = 0.1
LOG_QUEUE_BYTES_MAX = 64 << 20  # above it nothing new is proposed until the disk has caught up
HEALING_QUEUE_BYTES_MAX = 16 << 20  # above it no fragment is healed


class Driver:
    """Feed it frames, commands and time; call `turn` after each set of inputs."""

    wake_at = inf  # call `turn` then, even if nothing comes
    connected = 0  # bit set of lanes
    _frontier = 0  # all below is decided and was handed on; the replica may know more since

    def __init__(
        self,
        settings: Settings,
        log: Log,
        codec: Codec,
        link: Link,
        flusher: Flusher,
        clock: Callable[[], float],
        *,
        options: Options | None = None,
        hello: wire.Hello | None = None,
        vow: VowFile | None = None,
        shelf: Shelf | None = None,
        stage: Stage | None = None,
        applied: Callable[[int, int], None] = lambda _first, _last: None,
        report: Callable[[str], None] = lambda _text: None,
    ) -> None:
        options = options or Options()
        self.quorum = settings.quorum
        self.me = settings.lane
        self.codec = codec
        self.log = log
        self.hellos: dict[int, wire.Hello] = {}
        self._hello = hello
        self._link = link
        self._flusher = flusher
        self._clock = clock
        self._report = report
        self._encoder = batches.BatchEncoder(codec, options.inline_limit)
        self.batcher = Batcher(self._encoder, KITS[options.engine].bounded(options.limits))
        shelf = MemoryShelf() if shelf is None else shelf
        known = read_applied(shelf).position
        self.keeper = Keeper(
            self.quorum.total,
            log,
            shelf,
            self._send_now,
            report,
            configs=lambda known: Configs(self.quorum.faults, settings.rounds_max, known),
            kit=KITS[options.engine],
            stage=stage,
            space=options.space,
            scrubbing=options.scrubbing,
            reader=options.reader,
            applied=known,
            first_number=settings.incarnation << 16,
        )
        self.keeper.on_logged = self._hurry_not
        self.library = self.keeper.library
        library, send, put = self.library, self._send_now, self.keeper.append
        self.values = Values(
            self.me, self.quorum, codec, library, send, report, options.cache_bytes, options.reader
        )
        self.healer = Healer(self.me, codec, library, self.values, put, report, options.healing)
        self.applier = Applier(Store(shelf, self.keeper.referred), self.load, applied, known)
        self.checkpoint = Checkpoint(shelf, self.store, log, self.keeper, options.flushes, clock())
        self.leases = Leases(
            self.store.leases,
            self.me,
            Ports(self.submit, self.read, clock),
            seed=b"%b/%d/%d" % (settings.secret, self.me, settings.incarnation),
            request_seconds=options.limits.request_seconds,
        )
        self.auditor = Auditor(settings, self.store, self._send_now, options.auditing, clock())
        self._in_flight: dict[int, Proposal] = {}
        self._reads = WaitingReads()
        self._tokens: list[tuple[int, int]] = []  # (log sequence, token), ascending
        self._flushing = False
        self._lazy_since: float | None = None
        self._swept_at = self._ticked_at = clock()
        self.values.now = clock()
        memory = memory_of(vow, self.healer, self.quorum)
        past = self._recover(self.keeper.kit.history(self.quorum.total, known))
        self.replica: Engine = self.keeper.kit.replica(settings, clock(), past, memory)
        self.silence = silence_of(self.replica, vow, self.healer, report)
        self.values.now = clock()
        self._apply()

    def live(self, now: float) -> int:
        """Bit set of the lanes that answer, this one among them."""
        return (self.connected | 1 << self.me) & ~self.replica.peers.suspected(now)

    @property
    def flushing(self) -> bool:
        """Whether a log batch is on its way to the disk."""
        return self._flushing

    @property
    def staged(self) -> Shelf | None:
        """A newer state, taken from another replica: end this driver, and start one on it."""
        return self.keeper.receiver.staged

    @property
    def store(self) -> Store:
        return self.applier.store

    # -- start -----------------------------------------------------------------------------------

    def _recover(self, recovered: History) -> History:
        """Replay the log from where the index says: what was said, and what was applied since."""
        known, keeper, holdings = self.applier.position, self.keeper, self.healer.holdings
        recovered.configs = keeper.configs.known
        for entry in self.log.replay(keeper.retention.start):
            record, values = records.decode(entry.kind, entry.header)
            keeper.replayed(record, entry, values, known)
            if isinstance(record, PayRecord) and self.library.knows(self.library.position(record)):
                holdings.found_durable(self.library.position(record))
            elif isinstance(record, AppliedRecord):
                self.checkpoint.continues(record.start, recovered.frontier)
                self.library.note_order(record)
            if entry.kind != records.Kind.KEPT:
                for position in recovered.add(record):
                    self._replay_batch(position, recovered)
        keeper.replay_ended(known)
        keeper.kit.recall(recovered, self.library.past)
        for position, said in recovered.slots.items():
            if said.payload is not None:
                said.payload = self.library.payload(position)
        self.checkpoint.replayed(recovered.frontier)
        holdings.replayed(recovered.frontier)
        return recovered

    def _replay_batch(self, position: int, recovered: History) -> None:
        self._note_applied(position)
        if self.library.place(position) < self.checkpoint.found.position:
            return  # the index has it
        descriptor = self.library.descriptor(position)
        batch = batches.unpack(descriptor, *divmod(position, self.quorum.total))
        if batch.change is not None:
            recovered.changes.append((position, batch.change))
            self.keeper.changed(batch.change, position)
        self.applier.add(self.library.place(position), batch.commands, None)
        if not self.applier.waiting > 1:
            self._apply()
            self.checkpoint.durable()

    def _apply(self) -> None:
        """Apply what can be applied, as one step of the index."""
        applier = self.applier
        applier.run()
        if applier.between_batches and applier.position > self.checkpoint.position:
            self.checkpoint.step(applier.position)

    def _note_applied(self, position: int) -> None:
        self.library.note_applied(position)
        self.healer.applied(position)

    # -- inputs ----------------------------------------------------------------------------------

    def submit(self, command: Command, reply: Reply) -> None:
        """A write; its result, or why not, goes to `reply` once it is applied here."""
        self.batcher.add(command, reply, self._clock())

    def read(self, read: BarrierReply) -> None:
        """A linearizable read; resolved when all that was acknowledged before is applied here."""
        self._reads.add(read)

    def on_frame(self, sender: int, header: bytes, blobs: Sequence[Buffer]) -> None:
        """A frame from a peer. Raises WireError if it makes no sense; drop the connection then."""
        self.on_messages(sender, wire.decode(header, blobs, self.quorum.total))

    def on_messages(self, sender: int, messages: Iterable[wire.NodeMessage]) -> None:
        """What a frame from a peer says."""
        for message in messages:
            if isinstance(message, wire.OFTEN):
                self.replica.receive(sender, message)
            elif isinstance(message, Pay):
                self.batcher.gathering.heard(message.round, self._clock())
                self.replica.receive(sender, message)
                self.healer.keep_late(message)
            elif isinstance(message, Chunk):
                self.replica.install(sender, message)
            elif isinstance(message, wire.FragmentRequest):
                self.values.serve(sender, message)
            elif isinstance(message, wire.FragmentReply):
                self.values.reply(sender, message)
            elif isinstance(message, wire.Behind | wire.StateRequest | wire.StateChunk):
                self.keeper.on_message(sender, message, self._frontier)
            elif isinstance(message, wire.Hello):
                self.hellos[sender] = message
            elif isinstance(message, wire.HashRequest | wire.HashReply):
                self.auditor.on_message(sender, message, self._clock())
            else:
                self.replica.receive(sender, message)

    def on_up(self, peer: int) -> None:
        self.connected |= 1 << peer
        if self._hello is not None:
            self._send_now(peer, self._hello)
        self.replica.peer_up(peer)
        self.healer.peer_up()

    def on_down(self, peer: int) -> None:
        self.connected &= ~(1 << peer)
        self.replica.peer_down(peer)

    def flushed(self, batch: Batch) -> None:
        """A log batch is durable: the promises that rest on it may be said."""
        durable = self.log.done(batch)
        self._flushing = False
        self.checkpoint.durable()
        self.keeper.durable(durable)
        self.healer.durable(durable)
        token = None
        while self._tokens and self._tokens[0][0] <= durable:
            token = self._tokens.pop(0)[1]
        if token is not None:
            self.replica.persisted(token)

    def stop(self, error: Exception) -> None:
        """Answer everyone who waits; the node ends."""
        self.keeper.close()
        self.leases.stop(error)
        self.batcher.fail_all(error)
        for proposal in self._in_flight.values():
            proposal.fail(error)
        self._reads.fail_all(error)

    # -- one turn --------------------------------------------------------------------------------

    def turn(self) -> bool:
        """Do everything that the inputs since the last turn make possible. True if it is worth
        calling again at once: a sync ended within this turn."""
        now = self._clock()
        if now - self._ticked_at >= TICK_SECONDS:
            self._tick(now)
        if self.staged is not None:
            return False  # this driver is to be replaced
        self._ask_barrier(now)
        self.leases.turn()
        self._work(now)
        if not self._flush(now):
            return False
        self._work(now)
        return True

    def _work(self, now: float) -> None:
        self._propose(now)
        effects = self.replica.take_effects()
        self._frontier = self.replica.window.frontier
        self._append(effects, now)
        self._carry_out(effects)
        room = not self.keeper.is_cramped and self.log.queued_bytes < HEALING_QUEUE_BYTES_MAX
        if self.healer.wants and room:
            self.healer.fill(self.replica.peers.absent(now))

    def _tick(self, now: float) -> None:
        self._ticked_at = now
        self.replica.peers.note_own_whole(self.healer.holdings.whole)
        self.replica.tick(now)
        self.values.tick(now)
        self.healer.tick(now, self.replica.peers.whole_everywhere)
        self.checkpoint.tick(now, between_batches=self.applier.between_batches)
        applied = self.applier.position if self.applier.waiting else self._frontier
        if self.applier.stuck:
            self.keeper.stuck(self.replica.peers.most_advanced(), applied)
        self.keeper.tick(now, applied, between_batches=self.applier.between_batches)
        if self.silence is not None:
            self.silence.tick(now)
        live = self.live(now)
        self.auditor.tick(now, live, self.connected)
        self.leases.tick(now, live, live.bit_count() >= self.quorum.answers)
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._sweep(now)

    def _ask_barrier(self, now: float) -> None:
        ticket = self._reads.ask(now + self.batcher.limits.request_seconds)
        if ticket is not None:
            self.replica.read(ticket)

    def _propose(self, now: float) -> None:
        limits = self.batcher.limits
        while (
            self.batcher.has_work  # asked first: it costs least, and mostly there is none
            and len(self._in_flight) < limits.in_flight
            and self.log.queued_bytes < LOG_QUEUE_BYTES_MAX
            and self.replica.can_propose()
        ):
            due = self.batcher.due(now)
            if due > now:
                self.wake_at = due
                return
            proposal = self.batcher.next()
            if proposal is None:
                return
            position = self.replica.propose(proposal.prepared.payload)
            assert position is not None, "can_propose said so"
            round_ = position // self.quorum.total
            self.batcher.gathering.proposed(round_, len(proposal.replies), now)
            self._in_flight[position] = proposal._replace(since=now)

    def _append(self, effects: Effects, now: float) -> None:
        """Put records into the log's queue."""
        if not effects.records:
            return
        sequence = 0
        promises = False
        for record in effects.records:
            kind, header, blobs = records.encode(record)
            appended = self.log.append(kind, header, blobs)
            sequence = appended.sequence
            self.keeper.logged(record, appended)
            if isinstance(record, AppliedRecord):
                self.healer.holdings.appended_applied(sequence, record.end)
                self.library.note_order(record)
            else:
                promises = True
        self._tokens.append((sequence, effects.token))
        if promises:
            self._lazy_since = -1.0  # somebody waits for them: at once
        elif self._lazy_since is None:
            self._lazy_since = now

    def _hurry_not(self) -> None:
        """The log has a record that nobody waits for."""
        if self._lazy_since is None:
            self._lazy_since = self._clock()

    def _carry_out(self, effects: Effects) -> None:
        self._send(effects.sends)
        for position, payload in effects.applied:
            self._decided(position, payload)
        # Only now does the library know every batch below the frontier: a chunk made before would
        # tell the peer that those of this turn are null.
        for peer, position in effects.serves:
            self.keeper.serve(peer, position, self._frontier)
        for position, _ in effects.rejected:
            proposal = self._in_flight.pop(position, None)
            if proposal is not None:
                self.batcher.put_back(proposal)
        if effects.wish is not None:
            self.batcher.put_back(Proposal(batches.prepare_change(effects.wish), (), inf))
        for position, mask in effects.rebuilds:
            rebuild_open(self.replica, self.load, self.codec, self._report, position, mask)
        if effects.reads:
            self.applier.after(lambda: self._reads.finish(effects.reads))
        if self.applier.waiting:
            self._apply()

    def _decided(self, position: int, payload: Payload) -> None:
        """A batch's turn has come."""
        self._note_applied(position)
        round_, lane = divmod(position, self.quorum.total)
        proposal = self._in_flight.pop(position, None)
        if proposal is not None:
            self.batcher.gathering.decided(self._clock() - proposal.since)
        if proposal is not None and proposal.prepared.commands:
            commands = self._encoder.bind(proposal.prepared, round_, lane)
            self._keep_values(proposal, round_, lane)
            self.applier.add(self.library.place(position), commands, proposal.replies)
            return
        batch = batches.unpack(payload.descriptor, round_, lane)
        if batch.change is not None:
            self._change_configuration(position, batch.change)
        self.applier.add(self.library.place(position), batch.commands, None)

    def _change_configuration(self, position: int, change: Change) -> None:
        config = self.replica.change(position, change)
        if config is not None:
            self.keeper.changed(change, position)
            name = "on" if change.on else "off"
            self._report(
                f"lane.{name} lane={change.lane} epoch={config.epoch} from_round={config.first}"
            )

    def _keep_values(self, proposal: Proposal, round_: int, lane: int) -> None:
        """What was written here is likely to be read here."""
        prepared = proposal.prepared
        if prepared.values:
            plain = batches.plain_values(prepared.commands, self._encoder.inline_limit)
            for value, data in zip(prepared.values, plain, strict=True):
                self.values.cache.put(value._replace(round=round_, lane=lane), data)

    # -- output ----------------------------------------------------------------------------------

    def _send(self, sends: Sequence[tuple[int, Message]]) -> None:
        """One frame per peer: what all get, serialized once, and what is its own."""
        if not sends:
            return
        common: list[Message] = []
        own: dict[int, list[Message]] = {}
        for destination, message in sends:
            if destination == ALL:
                common.append(message)
            else:
                own.setdefault(destination, []).append(message)
        shared, _ = wire.encode(common)
        for peer in bits(self.connected):
            header, blobs = wire.encode(own.get(peer, ())) if peer in own else (b"", [])
            if shared or header:
                self._link.send(peer, shared + header, blobs)

    def _send_now(self, peer: int, message: wire.NodeMessage) -> None:
        header, blobs = wire.encode([message])
        self._link.send(peer, header, blobs)

    def _flush(self, now: float) -> bool:
        """One sync for everything that waits; what promises nothing may wait a little longer.

        True if it is done already.
        """
        if self._flushing or self._lazy_since is None:
            return False
        if self._lazy_since >= 0 and now - self._lazy_since < LAZY_FLUSH_SECONDS:
            return False
        batch = self.log.take()
        if batch is None:
            return False
        self._lazy_since = None
        self._flushing = True
        if not self._flusher.start(batch):
            return False
        self.flushed(batch)
        return True

    # -- values ----------------------------------------------------------------------------------

    def load(
        self,
        values: Sequence[CodedValue],
        done: Callable[[dict[CodedValue, bytes] | Exception], None],
        background: bool = False,
    ) -> None:
        """The bytes of coded values, from wherever they can be had; from here during a replay."""
        absent = self.replica.peers.absent(self._clock()) if self.connected else 0
        self.values.load_all(values, done, absent, background=background)

    # -- deadlines -------------------------------------------------------------------------------

    def _sweep(self, now: float) -> None:
        """Answer whoever waited too long, and forget reads whose callers have gone."""
        floor = self.keeper.forget(self.replica.peers.passed_everywhere)
        self.replica.window.forget_below(floor)
        self.batcher.expire(now)
        self.leases.sweep(now)
        for proposal in self._in_flight.values():
            if proposal.deadline <= now:
                proposal.fail(RequestTimedOut())
        self._reads.expire(now)
        self.replica.barrier.drop(self._reads.__contains__)
