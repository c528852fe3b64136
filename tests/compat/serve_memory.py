"""Serves the services over a memory backend, for tests: `python -m tests.compat.serve_memory`.

Prints the bound address and serves until standard input ends, so that it never outlives its parent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence

from etcdshim.asgi import GrpcApp
from etcdshim.http import HttpApp
from etcdshim.listen import serve
from etcdshim.memory import MemoryBackend
from etcdshim.services import Services

INLINE_LIMIT_BYTES = 4096
EXPIRE_EVERY_S = 0.1
MEMBER_ID = 0x51CE_7FFF  # its low 16 bits give request ids of 9 bytes, as most etcd members have


class AlwaysHealthy:
    async def linearizable_read(self) -> None:
        return

    def serializable_read(self) -> None:
        return

    def alarms(self) -> Sequence[str]:
        return ()

    def versions(self) -> Mapping[str, str]:
        return {"etcdserver": "3.6.11", "etcdcluster": "3.6.0", "storage": "3.6.0"}

    def metrics(self) -> bytes:
        return b""


async def main() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)  # readable means closed: nothing is ever written
    backend = MemoryBackend(inline_limit=INLINE_LIMIT_BYTES, member_id=MEMBER_ID)
    services = Services(backend)

    def expire() -> None:
        backend.expire_leases()
        loop.call_later(EXPIRE_EVERY_S, expire)

    expire()
    app = GrpcApp(services.routes(), HttpApp(AlwaysHealthy()))
    await serve(
        app,
        urls=("http://127.0.0.1:0",),
        on_ready=lambda addresses: print(addresses[0], flush=True),
        stop=stop,
        grace=0.5,
    )


if __name__ == "__main__":
    asyncio.run(main())
