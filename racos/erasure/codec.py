"""The erasure code RS(k, n): any k of the n fragments of a value rebuild it.

The code is systematic: fragments 0..k-1 are the value cut into k equal parts (the last padded with
zeros), so a read that has them is a join. Parity comes from ISA-L's Cauchy matrix through pyeclib,
or, of large values, from the ISA-L that pyeclib has loaded, without pyeclib's copies.
Each fragment is exactly ceil(length / k) bytes: pyeclib's 80-byte header, which carries library
versions and would differ between machines, is stripped here and rebuilt when pyeclib decodes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

from pyeclib.ec_iface import ECDriver

from racos.erasure.isal import DirectEncoder
from racos.erasure.verify import BadFragment, Buffer, digest, fragment_digest

__all__ = ["FRAGMENTS_MAX", "BadFragment", "Buffer", "Codec", "digest", "fragment_digest"]

FRAGMENTS_MAX = 9
# pyeclib computes with C ints; values are orders of magnitude smaller than this.
VALUE_BYTES_MAX = 1 << 30
_DIRECT_BYTES_MIN = 16 << 10  # of smaller values pyeclib's copies cost less than going without it


class Codec:
    """Encoder and decoder for one choice of k data fragments out of n.

    Stateless after construction; building one costs about a millisecond, so keep it.
    """

    __slots__ = ("_direct", "_parity", "data", "total")

    def __init__(self, data: int, total: int) -> None:
        if not 1 <= data <= total <= FRAGMENTS_MAX:
            raise ValueError(
                f"need 1 <= data <= total <= {FRAGMENTS_MAX}, not data={data} total={total}"
            )
        self.data = data
        self.total = total
        # With one data fragment all are copies; with no parity there is nothing to compute.
        self._parity = _CauchyParity(data, total) if 1 < data < total else None
        self._direct = None if self._parity is None else self._parity.direct()

    def fragment_size(self, length: int) -> int:
        """Bytes in each fragment of a value of `length` bytes."""
        return -(-length // self.data)

    def encode(self, value: Buffer) -> Sequence[Buffer]:
        """The n fragments of `value`, the same on every machine and in every version."""
        whole = bytes(value)
        if len(whole) > VALUE_BYTES_MAX:
            raise ValueError(f"value of {len(whole)} bytes is over {VALUE_BYTES_MAX}")
        if self.data == 1:
            return [whole] * self.total
        if self._parity is None or not whole:
            return self._cut(whole)
        if self._direct is None or len(whole) < _DIRECT_BYTES_MIN:
            return self._parity.encode(whole)
        return self._direct.encode(whole)

    def decode(self, fragments: Mapping[int, Buffer], length: int) -> bytes:
        """The value of `length` bytes from any k of its fragments.

        Sizes are checked (BadFragment), contents are not: check the result, or the fragments
        before. Fewer than k fragments, or an index outside 0..n-1, is a ValueError.
        """
        size = self._check(fragments, length)
        missing = [index for index in range(self.data) if index not in fragments]
        rebuilt = self._rebuild(fragments, length, missing) if missing else {}
        parts = [rebuilt[i] if i in rebuilt else fragments[i] for i in range(self.data)]
        padding = size * self.data - length
        # Cut the padding off the parts, not off the joined value: that would copy it once more.
        # With short values it may reach over several parts, even whole ones.
        for index in range(self.data - 1, -1, -1):
            if padding <= 0:
                break
            cut = min(padding, size)
            parts[index] = parts[index][: size - cut]
            padding -= cut
        return b"".join(parts)

    def reencode(
        self, fragments: Mapping[int, Buffer], length: int, want: Iterable[int]
    ) -> dict[int, bytes]:
        """The fragments `want` of a value of `length` bytes, from any k. Errors as decode."""
        self._check(fragments, length)
        wanted = set(want)
        if not wanted <= set(range(self.total)):
            raise ValueError(f"fragments wanted {sorted(wanted)}, code has 0..{self.total - 1}")
        given = {index: bytes(fragments[index]) for index in sorted(wanted) if index in fragments}
        missing = sorted(wanted - given.keys())
        return given | self._rebuild(fragments, length, missing) if missing else given

    def _check(self, fragments: Mapping[int, Buffer], length: int) -> int:
        # The sizes must be right before pyeclib sees them: it trusts the headers we write.
        if not 0 <= length <= VALUE_BYTES_MAX:
            raise ValueError(f"length {length} is not in 0..{VALUE_BYTES_MAX}")
        if len(fragments) < self.data:
            raise ValueError(f"{len(fragments)} fragments, need {self.data}")
        size = self.fragment_size(length)
        for index, fragment in fragments.items():
            if not 0 <= index < self.total:
                raise ValueError(f"fragment {index}, code has 0..{self.total - 1}")
            if len(fragment) != size:
                raise BadFragment(f"fragment {index} has {len(fragment)} bytes, not {size}")
        return size

    def _cut(self, value: bytes) -> list[bytes]:
        size = self.fragment_size(len(value))
        parts = [value[start * size : (start + 1) * size] for start in range(self.total)]
        return [part.ljust(size, b"\0") for part in parts]

    def _rebuild(
        self, fragments: Mapping[int, Buffer], length: int, missing: list[int]
    ) -> dict[int, bytes]:
        if self.data == 1 or length == 0:
            copy = bytes(next(iter(fragments.values())))
            return dict.fromkeys(missing, copy)
        # k distinct fragments of a code without parity are all of them: nothing can be missing.
        assert self._parity is not None
        return self._parity.rebuild(fragments, length, missing)


class _CauchyParity:
    """pyeclib's Reed-Solomon driver, 1 < k < n, without its fragment headers.

    Only real `bytes` may reach pyeclib: on any other buffer type its C part aborts the process.
    """

    __slots__ = ("_data", "_driver", "_template", "_total")

    # liberasurecode's fragment header: index, size, backend metadata size, original size; then a
    # part that all fragments share; at 67 the CRC-32 of the first 59 bytes; zeros up to 80.
    _HEAD = struct.Struct("<IIIQ")
    _CRC = struct.Struct("<I")
    _CRC_COVERS = 59
    _CRC_AT = 67
    _SIZE = 80

    def __init__(self, data: int, total: int) -> None:
        self._data = data
        self._total = total
        self._driver = ECDriver(k=data, m=total - data, ec_type="isa_l_rs_cauchy")
        probe: bytes = self._driver.encode(bytes(data))[1][: self._SIZE]
        self._template = probe
        # A library whose header we cannot rebuild must stop us here, not spoil a read later.
        if self._header(1, 1, data) != probe:
            raise RuntimeError("this version of pyeclib has an unknown fragment header")

    def direct(self) -> DirectEncoder | None:
        """The shorter way, where there is one and it finds what pyeclib does."""
        probe = bytes([at % 251 for at in range(67 * self._data - 1)])
        try:
            encoder = DirectEncoder(self._data, self._total)
        except (OSError, AttributeError):
            return None
        return encoder if encoder.encode(probe) == self.encode(probe) else None

    def encode(self, value: bytes) -> list[bytes]:
        skip = self._SIZE
        return [fragment[skip:] for fragment in self._driver.encode(value)]

    def rebuild(
        self, fragments: Mapping[int, Buffer], length: int, missing: list[int]
    ) -> dict[int, bytes]:
        sources = sorted(fragments)[: self._data]
        size = len(fragments[sources[0]])
        inputs = [b"".join((self._header(i, size, length), fragments[i])) for i in sources]
        outputs = self._driver.reconstruct(inputs, missing)
        return {i: out[self._SIZE :] for i, out in zip(missing, outputs, strict=True)}

    def _header(self, index: int, size: int, length: int) -> bytes:
        header = bytearray(self._template)
        self._HEAD.pack_into(header, 0, index, size, 0, length)
        self._CRC.pack_into(header, self._CRC_AT, zlib.crc32(header[: self._CRC_COVERS]))
        return bytes(header)
