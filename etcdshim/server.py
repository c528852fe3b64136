"""Puts a server together: configuration to node, node to services, services to listeners.

The only module of the shim that knows the node.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import uvloop

from etcdshim.asgi import GrpcApp, GrpcLimits
from etcdshim.backend import BackendStatus, MemberInfo
from etcdshim.http import HttpApp
from etcdshim.limits import GRPC_OVERHEAD_BYTES, Limits
from etcdshim.listen import check, serve
from etcdshim.maintenance import STORAGE_VERSION, VERSION
from etcdshim.services import Services
from racos import __version__
from racos.errors import ShelfError
from racos.mvcc.command import (
    Alarm,
    AlarmKind,
    CodedValue,
    Command,
    Event,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from racos.mvcc.lease import LeaseInfo
from racos.mvcc.view import View
from racos.node.config import ConfigError, NodeConfig
from racos.node.figures import Statistics
from racos.node.identity import identify
from racos.node.memory import keep_large_buffers
from racos.node.metrics import Metrics
from racos.node.node import Node
from racos.storage.disk import Disk, OsDisk
from racos.storage.identity import IdentityError
from racos.storage.log import LogError

log = logging.getLogger("racos.server")

HEALTH_SECONDS = 5.0
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING}


class NodeBackend:
    """A node as the services see it (`etcdshim.backend.Backend`)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.cluster_id = node.cluster_id
        self.member_id = node.member_id
        # Straight through: these are on every request's way.
        self.propose: Callable[[Command], asyncio.Future[Result]] = node.propose
        self.barrier: Callable[[], asyncio.Future[None]] = node.barrier
        self.range: Callable[[Range], RangeResult] = node.range
        self.keep_alive: Callable[[int], asyncio.Future[int]] = node.keep_alive
        self.lease: Callable[[int], LeaseInfo | None] = node.lease
        self.leases: Callable[[], Sequence[int]] = node.leases
        self.new_lease_id: Callable[[], int] = node.new_lease_id
        self.cached: Callable[[CodedValue], bytes | None] = node.cached
        self.has_room: Callable[[int], bool] = node.has_room
        self.fits: Callable[[int], bool] = node.fits
        self.view: Callable[[], View] = node.view
        self.alarms: Callable[[], Sequence[Alarm]] = node.alarms
        self.defragment: Callable[[], None] = node.defragment

    @property
    def term(self) -> int:
        return self._node.term

    @property
    def revision(self) -> int:
        return self._node.revision

    @property
    def compact_revision(self) -> int:
        return self._node.compact_revision

    async def read_txn(self, request: Txn) -> TxnResult:
        return await self._node.read_txn(request)

    async def load(self, values: Sequence[CodedValue], *, background: bool = False) -> list[bytes]:
        return await self._node.load(values, background=background)

    def history(self, start: int, end: int) -> Iterable[tuple[int, Sequence[Event]]]:
        return self._node.history(start, end)

    def subscribe(self, listener: Callable[[int, int], None]) -> Callable[[], None]:
        return self._node.subscribe(listener)

    def status(self) -> BackendStatus:
        figures = self._node.statistics()
        leader = self._node.leader()
        return BackendStatus(
            db_size=figures.db_bytes,
            db_size_in_use=figures.used_bytes,
            db_size_quota=self._node.config.quota_backend_bytes,
            leader=leader,
            applied_index=figures.applied_slots + 1,
            committed_index=figures.decided_slots + 1,
            errors=_errors(leader, figures),
        )

    def members(self) -> Sequence[MemberInfo]:
        return [
            MemberInfo(
                member.id, member.name, member.peer_urls, self._node.client_urls(lane), False
            )
            for lane, member in enumerate(self._node.identity.members)
        ]


def _errors(leader: int, figures: Statistics) -> tuple[str, ...]:
    if figures.silence is not None:
        return ("racos: this member has lost its memory: it is silent until it is rebuilt",)
    return () if leader else ("etcdserver: no leader",)


class NodeHealth:
    """What the plain HTTP surface asks (`etcdshim.http.HealthSource`)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._metrics = Metrics(node)

    async def linearizable_read(self) -> None:
        async with asyncio.timeout(HEALTH_SECONDS):
            await self._node.barrier()

    def serializable_read(self) -> None:
        self._node.range(Range(b"health"))

    def alarms(self) -> Sequence[str]:
        return [AlarmKind(alarm.kind).name for alarm in self._node.alarms()]

    def versions(self) -> Mapping[str, str]:
        return {
            "etcdserver": VERSION,
            "etcdcluster": STORAGE_VERSION,
            "storage": STORAGE_VERSION,
        }

    def metrics(self) -> bytes:
        return self._metrics.render()


def run(config: NodeConfig, disk: Callable[[Path], Disk] = OsDisk) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit code. One line on stderr for each error.

    `disk` opens the log's directory.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=LEVELS.get(config.log_level, logging.ERROR),
        format="%(asctime)s %(levelname)s %(message)s",
    )
    # Syncs end in another thread, which then waits for this one to give up the GIL.
    sys.setswitchinterval(0.0005)
    keep_large_buffers()
    log.info("server.start version=%s %s", __version__, config.describe())
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(config, disk))
    except (ConfigError, IdentityError, LogError, ShelfError) as error:
        return _refuse(config, str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _refuse(config, f"{where}{error.strerror or error}")
    except BaseExceptionGroup as group:
        return _refuse_group(config, group)


def _refuse(config: NodeConfig, reason: str) -> int:
    print(f"racos: {config.name}: {reason}", file=sys.stderr)
    return 1


def _refuse_group(config: NodeConfig, group: BaseExceptionGroup[BaseException]) -> int:
    """Task groups wrap what their tasks raise; an operating error is still told in one line."""
    known, rest = group.split((OSError, ConfigError))
    if known is None or rest is not None:
        raise group
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return _refuse(config, str(first))


def _die(config: NodeConfig, error: BaseException) -> None:
    """Going on could break a promise: stop at once, nothing more is acknowledged."""
    if isinstance(error, OSError):  # the log's disk: nothing else here fails for good
        reason = f"the log cannot be written: {error.strerror or error}"
    elif isinstance(error, ShelfError):
        reason = str(error)
    else:
        reason = f"{type(error).__name__}: {error}"
        log.critical("server.fatal %s", reason, exc_info=error)
    print(f"racos: {config.name}: stopped: {reason}", file=sys.stderr, flush=True)
    os._exit(70)


async def _serve(config: NodeConfig, disk: Callable[[Path], Disk]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    identity = identify(config)
    # A node that cannot be reached must not begin to take part, which writes to its log.
    await check(config.listen_client_urls)
    async with Node(config, identity, lambda error: _die(config, error), disk) as node:
        backend = NodeBackend(node)
        limits = Limits(
            max_request_bytes=config.max_request_bytes,
            max_txn_ops=config.max_txn_ops,
            watch_progress_notify_interval=config.watch_progress_notify_interval,
        )
        services = Services(backend, limits)
        app = GrpcApp(
            services.routes(),
            HttpApp(NodeHealth(node)),
            limits=GrpcLimits(max_request_bytes=config.max_request_bytes + GRPC_OVERHEAD_BYTES),
        )

        def ready(addresses: Sequence[str]) -> None:
            log.info("server.serving clients=%s", ",".join(addresses))
            print("ready to serve client requests", file=sys.stderr, flush=True)

        async with asyncio.TaskGroup() as group:
            group.create_task(_close_on(stop, services, node))
            await serve(app, urls=config.listen_client_urls, on_ready=ready, stop=stop)
            stop.set()
    log.info("server.stopped")
    return 0


async def _close_on(stop: asyncio.Event, services: Services, node: Node) -> None:
    """End what waits, so that the listeners have nothing left to wait for."""
    await stop.wait()
    services.close()
    node.stop()
