"""Hashes of values and fragments, and the checks made with them.

Every value that leaves this system has passed one of these checks: a record's CRC finds accidents
of one disk, only a hash the replicas agreed on finds a whole fragment that is not the right one.
"""

from __future__ import annotations

from typing import TypeAlias

from blake3 import blake3

__all__ = [
    "FRAGMENT_DIGEST_BYTES",
    "VALUE_DIGEST_BYTES",
    "BadFragment",
    "Buffer",
    "check_fragment",
    "check_value",
    "digest",
    "fragment_digest",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

VALUE_DIGEST_BYTES = 32
FRAGMENT_DIGEST_BYTES = 16


class BadFragment(Exception):
    """Bytes that are not what was encoded: wrong size or wrong hash. Never serve them."""


def digest(value: Buffer) -> bytes:
    """BLAKE3-256 of a whole value."""
    return blake3(value).digest()


def fragment_digest(fragment: Buffer) -> bytes:
    """BLAKE3 of one fragment, cut to 128 bits."""
    return blake3(fragment).digest(FRAGMENT_DIGEST_BYTES)


def check_fragment(fragment: Buffer, expected: bytes) -> None:
    """Raise BadFragment unless `fragment` has the digest `expected`."""
    if fragment_digest(fragment) != expected:
        raise BadFragment(f"fragment of {len(fragment)} bytes does not match its digest")


def check_value(value: Buffer, length: int, expected: bytes) -> None:
    """Raise BadFragment unless `value` has this length (bytes) and the digest `expected`."""
    if len(value) != length:
        raise BadFragment(f"value has {len(value)} bytes, not {length}")
    if digest(value) != expected:
        raise BadFragment(f"value of {length} bytes does not match its digest")
