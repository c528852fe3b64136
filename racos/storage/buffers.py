"""Bytes in several pieces, and how they get into a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["VECTOR_MAX", "Buffer", "rest_of", "write_all"]

Buffer: TypeAlias = bytes | bytearray | memoryview

VECTOR_MAX = 1024  # Linux takes at most so many buffers in one call


def write_all(fd: int, buffers: Sequence[Buffer], offset: int) -> None:
    """Write all buffers one after the other. OSError if the disk fails, or takes nothing."""
    while buffers:
        written = os.pwritev(fd, buffers[:VECTOR_MAX], offset)
        if written == 0 and any(map(len, buffers)):
            raise OSError("the disk accepted no bytes")
        buffers = rest_of(buffers, written)
        offset += written


def rest_of(buffers: Sequence[Buffer], written: int) -> list[Buffer]:
    """What is left of the buffers after their first `written` bytes."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []
