"""The erasure code over every shape and size: round trips, determinism, bad fragments detected."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racos.erasure.codec import FRAGMENTS_MAX, BadFragment, Buffer, Codec, digest, fragment_digest
from racos.erasure.isal import DirectEncoder
from racos.erasure.verify import check_fragment, check_value

SHAPES = [(k, n) for n in range(1, FRAGMENTS_MAX + 1) for k in range(1, n + 1)]
CODECS = {shape: Codec(*shape) for shape in SHAPES}
KIB = 1024


def value_of(length: int) -> bytes:
    return random.Random(length).randbytes(length)


def pick(fragments: Sequence[Buffer], indexes: tuple[int, ...]) -> dict[int, Buffer]:
    return {index: fragments[index] for index in indexes}


@pytest.mark.parametrize(("data", "total"), SHAPES)
def test_every_size_round_trips_from_first_last_and_mixed_fragments(data: int, total: int) -> None:
    codec = CODECS[data, total]
    for length in {0, 1, max(data - 1, 0), data, data + 1, 4 * KIB - 1, 4 * KIB, 4 * KIB + 1}:
        value = value_of(length)
        fragments = codec.encode(value)
        assert len(fragments) == total
        assert {len(fragment) for fragment in fragments} == {codec.fragment_size(length)}
        mixed = tuple(random.Random(length).sample(range(total), data))
        for indexes in (tuple(range(data)), tuple(range(total - data, total)), mixed):
            assert codec.decode(pick(fragments, indexes), length) == value


@pytest.mark.parametrize("length", [64 * KIB, KIB * KIB])
@pytest.mark.parametrize(("data", "total"), [(1, 1), (1, 3), (2, 3), (3, 5), (4, 7), (9, 9)])
def test_large_values_round_trip(data: int, total: int, length: int) -> None:
    codec = CODECS[data, total]
    value = value_of(length)
    fragments = codec.encode(value)
    last = tuple(range(total - data, total))
    assert codec.decode(pick(fragments, last), length) == value


@pytest.mark.parametrize(("data", "total"), [shape for shape in SHAPES if shape[1] <= 6])
def test_every_k_subset_decodes_and_rebuilds_all_others(data: int, total: int) -> None:
    codec = CODECS[data, total]
    value = value_of(101)
    fragments = codec.encode(value)
    for indexes in itertools.combinations(range(total), data):
        subset = pick(fragments, indexes)
        assert codec.decode(subset, len(value)) == value
        rebuilt = codec.reencode(subset, len(value), range(total))
        assert [rebuilt[index] for index in range(total)] == fragments


@given(value=st.binary(max_size=300), shape=st.sampled_from(SHAPES), data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_decodes_from_any_fragments(
    value: bytes, shape: tuple[int, int], data: st.DataObject
) -> None:
    codec = CODECS[shape]
    fragments = codec.encode(value)
    indexes = data.draw(st.permutations(range(shape[1])))
    count = data.draw(st.integers(shape[0], shape[1]))
    assert codec.decode(pick(fragments, tuple(indexes[:count])), len(value)) == value


def test_fragments_and_digests_never_change_between_versions() -> None:
    # Golden: stored fragments of old versions must decode with those of new ones.
    fragments = CODECS[3, 5].encode(b"leaderless and erasure-coded")
    assert [fragment.hex() for fragment in fragments] == GOLDEN_3_OF_5
    assert digest(b"racos").hex() == GOLDEN_DIGEST
    assert fragment_digest(b"racos").hex() == GOLDEN_DIGEST[:32]


GOLDEN_3_OF_5 = [
    "6c65616465726c657373",
    "20616e64206572617375",
    "72652d636f6465640000",
    "46f8ce865cf678f96d6e",
    "558d93ca9b9d9ef7689d",
]
GOLDEN_DIGEST = "9bd12279fc7a19375ac688427277519a3275182cf61fc934ac9c7abceb7b4f97"


@pytest.mark.parametrize(("data", "total"), [shape for shape in SHAPES if 1 < shape[0] < shape[1]])
def test_encoding_without_pyeclib_finds_what_pyeclib_does(data: int, total: int) -> None:
    direct, codec = DirectEncoder(data, total), CODECS[data, total]
    for length in (1, 2, 15, 64, 65, data * 64, data * 64 + 1, 1000, 4 * KIB + 1, 16 * KIB - 1):
        value = value_of(length)
        assert direct.encode(value) == codec.encode(value)


def test_where_there_is_no_isal_to_ask_pyeclib_encodes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("racos.erasure.isal._NAMES", ("libnowhere.so.2",))
    with pytest.raises(OSError, match=r"none of libnowhere\.so\.2"):
        DirectEncoder(3, 5)
    through_pyeclib = Codec(3, 5)
    for length in (100, 16 * KIB, 64 * KIB, 1024 * KIB + 1):
        value = value_of(length)
        fragments = through_pyeclib.encode(value)
        assert all(isinstance(fragment, bytes) for fragment in fragments)
        assert CODECS[3, 5].encode(value) == fragments


def test_other_buffer_types_are_accepted() -> None:
    codec = CODECS[2, 3]
    value = value_of(1001)
    fragments = codec.encode(memoryview(value))
    last: dict[int, Buffer] = {1: memoryview(fragments[1]), 2: bytearray(fragments[2])}
    first: dict[int, Buffer] = {0: memoryview(fragments[0]), 1: bytearray(fragments[1])}
    assert codec.decode(last, 1001) == value
    assert codec.decode(first, 1001) == value


def test_one_flipped_byte_in_any_fragment_is_detected() -> None:
    codec = CODECS[2, 4]
    value = value_of(50)
    fragments = codec.encode(value)
    digests = [fragment_digest(fragment) for fragment in fragments]
    for index, fragment in enumerate(fragments):
        check_fragment(fragment, digests[index])
        for place in range(len(fragment)):
            bad = bytearray(fragment)
            bad[place] ^= 1
            with pytest.raises(BadFragment, match="does not match"):
                check_fragment(bad, digests[index])
    wrong = codec.decode({2: fragments[3], 3: fragments[2]}, len(value))
    with pytest.raises(BadFragment, match="does not match"):
        check_value(wrong, len(value), digest(value))
    with pytest.raises(BadFragment, match="49 bytes, not 50"):
        check_value(value[:-1], len(value), digest(value))


def test_wrong_use_is_refused_before_the_library_sees_it() -> None:
    codec = CODECS[2, 3]
    fragments = codec.encode(b"abcdef")
    with pytest.raises(BadFragment, match="fragment 2 has 2 bytes, not 3"):
        codec.decode({1: fragments[1], 2: fragments[2][:-1]}, 6)
    with pytest.raises(ValueError, match="1 fragments, need 2"):
        codec.decode({1: fragments[1]}, 6)
    with pytest.raises(ValueError, match=r"fragment 3, code has 0\.\.2"):
        codec.decode({1: fragments[1], 3: fragments[2]}, 6)
    with pytest.raises(ValueError, match="length -1"):
        codec.decode(pick(fragments, (0, 1)), -1)
    with pytest.raises(ValueError, match="fragments wanted"):
        codec.reencode(pick(fragments, (0, 1)), 6, [3])


@pytest.mark.parametrize(("data", "total"), [(0, 1), (2, 1), (1, 10), (10, 10)])
def test_impossible_shapes_are_refused(data: int, total: int) -> None:
    with pytest.raises(ValueError, match="need 1 <= data <= total <= 9"):
        Codec(data, total)
