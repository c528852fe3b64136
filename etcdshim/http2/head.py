"""The head of a request: decoded and checked once, however often a client repeats its bytes."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote_to_bytes

from etcdshim.http2.frames import ProtocolError
from etcdshim.http2.hpack import Decoder, Field

_BLOCKS_MAX: Final = 256  # blocks remembered between two changes of the dynamic table
_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path"))
# Fields that speak of one HTTP/1.1 connection (RFC 9113 8.2.2).
_FORBIDDEN: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)


class Malformed(Exception):
    """A request that HTTP/2 forbids: its stream is reset, the connection goes on."""


class Head:
    """Method, path and fields of a request. `route`: whatever the server makes of it, once."""

    __slots__ = ("authority", "fields", "headers", "method", "path", "route", "scheme")

    def __init__(self, fields: list[Field]) -> None:
        """Raises Malformed."""
        pseudo, self.fields = _split(fields)
        try:
            self.method = pseudo[b":method"].decode("ascii")
            self.path = pseudo[b":path"]
            self.scheme = pseudo[b":scheme"].decode("ascii")
        except (KeyError, UnicodeDecodeError):
            raise Malformed("a request without method, path or scheme") from None
        self.authority = pseudo.get(b":authority")
        # The first of repeated fields counts.
        self.headers: dict[bytes, bytes] = dict(reversed(self.fields))
        self.route: Any = None

    def scope(self, client: Any, server: Any) -> dict[str, Any]:
        """The ASGI scope of a request with this head."""
        fields = list(self.fields)
        if self.authority is not None and b"host" not in self.headers:
            fields.insert(0, (b"host", self.authority))
        raw_path, _, query = self.path.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "2",
            "method": self.method,
            "scheme": self.scheme,
            "path": unquote_to_bytes(raw_path).decode("utf-8", "surrogateescape"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": fields,
            "client": client,
            "server": server,
            "extensions": {"http.response.trailers": {}},
        }


class Heads:
    """The heads of one connection's requests."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._known: dict[bytes, Head] = {}
        # Hot path: a hit costs one dict lookup and no Python frame.
        self.get = self._known.get

    def decode(self, block: bytes) -> Head:
        """The head a block means. Raises Malformed, or ProtocolError for a damaged block."""
        fields = self._decoder.decode(block)
        if self._decoder.changed or len(self._known) >= _BLOCKS_MAX:
            self._known.clear()
        head = Head(fields)
        if not self._decoder.changed:
            self._known[block] = head
        return head

    def skip(self, block: bytes) -> None:
        """Take note of a block whose fields nobody wants. Raises ProtocolError."""
        self._decoder.decode(block)
        if self._decoder.changed:
            self._known.clear()


def _split(fields: list[Field]) -> tuple[dict[bytes, bytes], list[Field]]:
    """Pseudo-fields and fields, checked against RFC 9113 8.2 and 8.3."""
    pseudo: dict[bytes, bytes] = {}
    rest: list[Field] = []
    for name, value in fields:
        if name[:1] == b":":
            if rest or name in pseudo or name not in _PSEUDO:
                raise Malformed(f"pseudo-field {name!r} out of place")
            pseudo[name] = value
            continue
        if name in _FORBIDDEN or (name == b"te" and value != b"trailers"):
            raise Malformed(f"field {name!r} belongs to HTTP/1.1")
        if not name or name.lower() != name:
            raise Malformed(f"field name {name!r}")
        rest.append((name, value))
    return pseudo, rest


__all__ = ["Head", "Heads", "Malformed", "ProtocolError"]
