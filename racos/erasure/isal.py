"""Large values encoded where they lie, by the ISA-L that pyeclib has loaded.

pyeclib copies a value into fragments with headers, and these into bytes objects: of a value of
1 MiB that is nine tenths of the time. This asks the same library for the same parity (ISA-L's
`ec_encode_data` with its first Cauchy matrix, as liberasurecode's isa_l_rs_cauchy does) without
the copies.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from racos.buffers import unwritten
from racos.erasure.verify import Buffer

# As the wheels of pyeclib name the copy they carry, and as distributions do.
_NAMES = ("libisal-pyeclib.so.2", "libisal.so.2")
_TABLE_BYTES = 32  # of each element of the matrix


class DirectEncoder:
    """Encodes as RS(data, total), 1 < data < total.

    Raises OSError or AttributeError where there is no ISA-L, or one without these functions.
    """

    __slots__ = ("_data", "_encode", "_parity", "_tables")

    def __init__(self, data: int, total: int) -> None:
        library = _loaded()
        self._data = data
        self._parity = total - data
        matrix = (ctypes.c_ubyte * (total * data))()
        library.gf_gen_cauchy1_matrix(matrix, total, data)
        self._tables = (ctypes.c_ubyte * (_TABLE_BYTES * data * self._parity))()
        # Its first `data` rows are the value itself.
        rows = ctypes.byref(matrix, data * data)
        library.ec_init_tables(data, self._parity, rows, self._tables)
        self._encode = library.ec_encode_data
        self._encode.restype = None
        number, pointer = ctypes.c_int, ctypes.c_void_p
        self._encode.argtypes = (number, number, number, pointer, pointer, pointer)

    def encode(self, value: bytes) -> list[Buffer]:
        """All fragments of a value that is not empty; those of data are views of it."""
        size = -(-len(value) // self._data)
        full = len(value) // size
        view, begin = memoryview(value), _address(value)
        # Parts that end in padding, or are nothing else, do not lie in the value.
        padded = [
            value[at * size : (at + 1) * size].ljust(size, b"\0") for at in range(full, self._data)
        ]
        addresses = [begin + at * size for at in range(full)] + [_address(part) for part in padded]
        parts = [view[at * size : (at + 1) * size] for at in range(full)]
        return [*parts, *padded, *self._parity_of(addresses, size)]

    def _parity_of(self, parts: Sequence[int], size: int) -> list[memoryview]:
        room = unwritten(size * self._parity)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(room))
        places = range(begin, begin + len(room), size)
        pointers = _pointers(parts), _pointers(places)
        self._encode(size, self._data, self._parity, self._tables, *pointers)
        view = memoryview(room).toreadonly()
        return [view[at : at + size] for at in range(0, len(room), size)]


def _loaded() -> ctypes.PyDLL:
    """The library: what pyeclib has loaded is found by its name alone.

    PyDLL, because a call is too short for giving way to other threads.
    """
    for name in _NAMES:
        try:
            return ctypes.PyDLL(name)
        except OSError:
            continue
    raise OSError(f"none of {', '.join(_NAMES)} can be loaded")


def _address(data: bytes) -> int:
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
    assert address is not None
    return address


def _pointers(addresses: Sequence[int]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(addresses))(*addresses)
