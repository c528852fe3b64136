"""Auth: not built yet, and it says so: always disabled."""

from __future__ import annotations

from etcdshim.asgi import Call
from etcdshim.backend import Backend
from etcdshim.header import Headers, check_call
from etcdshim.pb import rpc_pb2 as pb

_FIRST_AUTH_REVISION = 1  # what etcd reports before any user or role was made


class AuthService:
    __slots__ = ("_backend", "_headers")

    def __init__(self, backend: Backend, headers: Headers) -> None:
        self._backend = backend
        self._headers = headers

    async def status(self, _request: pb.AuthStatusRequest, call: Call) -> pb.AuthStatusResponse:
        check_call(call, self._backend)
        return pb.AuthStatusResponse(
            header=self._headers.current(), enabled=False, authRevision=_FIRST_AUTH_REVISION
        )
