"""Whether fragments are what was agreed on: asked before any of them leaves for a peer.

The peer checks them, too. But only the one who reads a damaged fragment learns that way which disk
it is on, and drops it, so that it is healed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from racos.erasure.verify import FRAGMENT_DIGEST_BYTES, BadFragment, check_fragment
from racos.node.library import Library, Unreadable
from racos.pb import batch_pb2 as pb


def sound(
    library: Library,
    position: int,
    value_index: int,
    found: dict[int, bytes],
    report: Callable[[str], None],
) -> dict[int, bytes]:
    """Those of the fragments that have the digests of the descriptor; the others are named and
    dropped. If the log does not give the descriptor back, none: nobody could tell."""
    if not found:
        return found
    try:
        digests = fragment_digests(library.descriptor(position), value_index)
    except Unreadable:
        return {}  # the library has named it
    good: dict[int, bytes] = {}
    for index, data in found.items():
        start = index * FRAGMENT_DIGEST_BYTES
        try:
            check_fragment(data, digests[start : start + FRAGMENT_DIGEST_BYTES])
        except BadFragment as bad:
            where = f"position={position} value={value_index} fragment={index}"
            report(f"value.bad_fragment {where} not sent: {bad}")
            library.drop_fragment(position, index)
        else:
            good[index] = data
    return good


def fragment_digests(descriptor: bytes, value_index: int) -> bytes:
    """The digests of one coded value's fragments, joined; nothing if there is no such value.

    Values before it are passed over without making anything of them: a batch may have hundreds.
    """
    for number, coded in enumerate(_coded(pb.Batch.FromString(descriptor).commands)):
        if number == value_index:
            return coded.fragment_digests
    return b""


def _coded(commands: Iterable[pb.Command | pb.Operation]) -> Iterator[pb.CodedValue]:
    """In the order in which `racos.node.batch` numbers them."""
    for command in commands:
        kind = command.WhichOneof("kind")
        if kind == "put":
            if command.put.HasField("coded"):
                yield command.put.coded
        elif kind == "txn":
            yield from _coded(command.txn.success)
            yield from _coded(command.txn.failure)
        elif isinstance(command, pb.Command) and kind == "load":
            for version in command.load.versions:
                if version.put.HasField("coded"):
                    yield version.put.coded
