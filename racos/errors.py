"""Why a node could not answer; the texts are what etcd says to its clients in the same case."""

from __future__ import annotations


class Unavailable(Exception):
    """The cluster could not answer; the outcome of a write is unknown. `text` is for the client."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class RequestTimedOut(Unavailable):
    """No quorum answered within the server's request timeout."""

    def __init__(self) -> None:
        super().__init__("etcdserver: request timed out")


class ServerStopped(Unavailable):
    """The node is shutting down."""

    def __init__(self) -> None:
        super().__init__("etcdserver: server stopped")


class TooManyRequests(Exception):
    """A queue bound was hit; nothing was proposed (etcd: `etcdserver: too many requests`)."""


class Corrupt(Exception):
    """Stored bytes failed verification and no good copy could be had; they are never served."""


class ShelfError(Exception):
    """The index of this replica cannot be used; one line says which file and why."""


class ShelfFull(ShelfError):
    """The index finds no space on its disk; nothing else is wrong with it."""
