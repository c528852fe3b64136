"""Memory that is written before it is read."""

from __future__ import annotations

import ctypes

_from_string_and_size = ctypes.pythonapi.PyByteArray_FromStringAndSize
_from_string_and_size.restype = ctypes.py_object
_from_string_and_size.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t)


def unwritten(size: int) -> bytearray:
    """`size` bytes of whatever the memory held: the caller writes them all before anyone reads.

    `bytearray(size)` writes zeros first, which of a large value costs as much as copying it.
    """
    buffer: bytearray = _from_string_and_size(None, size)
    return buffer
