"""Plain HTTP beside gRPC on the client port: health, version, probes and metrics.

Paths, answers and texts are etcd's, down to what Go's HTTP library says of an unknown path.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs

from etcdshim.asgi_wire import Receive, Scope, Send

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class HealthSource(Protocol):
    """What the HTTP surface asks of a member. The reads raise an Exception when they fail."""

    async def linearizable_read(self) -> None:
        """Return once this member has shown that it can read with a quorum."""

    def serializable_read(self) -> None:
        """Return if this member can read what it has."""

    def alarms(self) -> Sequence[str]:
        """Names of the alarms raised, such as NOSPACE or CORRUPT."""

    def versions(self) -> Mapping[str, str]:
        """Versions by `etcdserver`, `etcdcluster` and `storage`."""

    def metrics(self) -> bytes:
        """Everything measured, in Prometheus's text format."""


class _Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT
    allow: str = ""


_Query = Mapping[str, list[str]]
_Check = Callable[[], Awaitable[None]]


class HttpApp:
    """An ASGI application; every answer has a known length and closes nothing."""

    def __init__(self, source: HealthSource) -> None:
        self._source = source
        live = {"serializable_read": self._serializable_read}
        ready = {
            "data_corruption": self._data_corruption,
            "serializable_read": self._serializable_read,
            "linearizable_read": source.linearizable_read,
        }
        self._probes: Mapping[str, Mapping[str, _Check]] = {"livez": live, "readyz": ready}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        if scope["type"] != "http":
            raise NotImplementedError(f"no {scope['type']} here")
        answer = await self._route(scope["method"], scope["path"], _query_of(scope))
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
        ]
        if answer.status != HTTPStatus.OK:
            headers.append((b"x-content-type-options", b"nosniff"))
        if answer.allow:
            headers.append((b"allow", answer.allow.encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _route(self, method: str, path: str, query: _Query) -> _Answer:
        probe, _, name = path[1:].partition("/")
        checks = self._probes.get(probe, {})
        is_probe = path in ("/livez", "/readyz") or name in checks
        if path == "/metrics":
            return _Answer(HTTPStatus.OK, self._source.metrics(), _METRICS)
        if path not in ("/health", "/version") and not is_probe:
            return _Answer(HTTPStatus.NOT_FOUND, b"404 page not found\n")
        if method != "GET":
            return _Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"Method Not Allowed\n", allow="GET")
        if path == "/health":
            return await self._health(query)
        if path == "/version":
            return _Answer(HTTPStatus.OK, _dump(self._source.versions()), _JSON)
        return await _probe(name, checks, query)

    async def _health(self, query: _Query) -> _Answer:
        excluded = query.get("exclude", [])
        reason = next((f"ALARM {a}" for a in self._source.alarms() if a not in excluded), "")
        if not reason:
            try:
                if query.get("serializable", [""])[0] == "true":
                    self._source.serializable_read()
                else:
                    await self._source.linearizable_read()
            except Exception as error:  # a supervisor: whatever fails the read is the answer
                reason = f"RANGE ERROR:{error}"
        body = _dump({"health": "false" if reason else "true", "reason": reason})
        if reason:
            return _Answer(HTTPStatus.SERVICE_UNAVAILABLE, body + b"\n")
        return _Answer(HTTPStatus.OK, body)

    async def _serializable_read(self) -> None:
        self._source.serializable_read()

    async def _data_corruption(self) -> None:
        if "CORRUPT" in self._source.alarms():
            raise RuntimeError("alarm activated: CORRUPT")


async def _probe(name: str, checks: Mapping[str, _Check], query: _Query) -> _Answer:
    """Run one check or, without a name, all that the query does not exclude.

    A failure is always told in full, success only if the query says `verbose`.
    """
    excluded = query.get("exclude", [])
    report, status = "", HTTPStatus.OK
    for each in [name] if name else [known for known in checks if known not in excluded]:
        try:
            await checks[each]()
        except Exception as error:  # a supervisor: whatever fails the check is the answer
            report += f"[-]{each} failed: {error}\n"
            status = HTTPStatus.SERVICE_UNAVAILABLE
        else:
            report += f"[+]{each} ok\n"
    if status != HTTPStatus.OK:
        return _Answer(status, f"{report}\n".encode())
    return _Answer(status, f"{report}ok\n".encode() if "verbose" in query else b"ok\n")


def _query_of(scope: Scope) -> _Query:
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1"), keep_blank_values=True)


def _dump(fields: Mapping[str, str]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
