"""The Alarm call: list, raise and clear alarms."""

from __future__ import annotations

from etcdshim.asgi import Call
from etcdshim.backend import Backend
from etcdshim.errors import BackendFailure, translate
from etcdshim.header import Headers, check_call
from etcdshim.pb import rpc_pb2 as pb
from racos.mvcc.command import Alarm, AlarmKind, AlarmResult, AlarmSwitch


def describe(alarm: Alarm) -> str:
    """An alarm as Status tells of it: a protobuf's text form, with the blank at its end."""
    member = f"memberID:{alarm.member} " if alarm.member else ""
    return f"{member}alarm:{AlarmKind(alarm.kind).name} "


class AlarmService:
    __slots__ = ("_backend", "_headers")

    def __init__(self, backend: Backend, headers: Headers) -> None:
        self._backend = backend
        self._headers = headers

    async def alarm(self, request: pb.AlarmRequest, call: Call) -> pb.AlarmResponse:
        check_call(call, self._backend)
        try:
            if request.action == pb.AlarmRequest.GET:
                found = await self._list(request.alarm)
            else:
                on = request.action == pb.AlarmRequest.ACTIVATE
                found = await self._switch(Alarm(request.memberID, request.alarm), on)
        except BackendFailure as failure:
            raise translate(failure) from failure
        response = pb.AlarmResponse(header=self._headers.current())
        for alarm in found:
            response.alarms.add(memberID=alarm.member, alarm=pb.AlarmType.ValueType(alarm.kind))
        return response

    async def _list(self, kind: int) -> list[Alarm]:
        """All alarms of a kind; NONE stands for any."""
        await self._backend.barrier()
        alarms = self._backend.alarms()
        return [alarm for alarm in alarms if kind in (AlarmKind.NONE, alarm.kind)]

    async def _switch(self, alarm: Alarm, on: bool) -> list[Alarm]:
        result = await self._backend.propose(AlarmSwitch(alarm, on))
        assert isinstance(result, AlarmResult)
        return [] if result.alarm is None else [result.alarm]
