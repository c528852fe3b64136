"""Batches: what is encoded is what every replica decodes, large values beside it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from racos.erasure.codec import Codec
from racos.erasure.verify import check_fragment, check_value
from racos.mvcc.command import CodedValue, Command, Put, Txn
from racos.node.batch import BatchEncoder, coded_values, decode, plain_values
from tests.node.commands import commands

CODEC = Codec(2, 3)


@given(st.lists(commands, max_size=6), st.integers(0, 50))
@settings(max_examples=150, deadline=None)
def test_the_owner_and_everyone_else_apply_the_same_commands(
    batch: list[Command], inline_limit: int
) -> None:
    encoder = BatchEncoder(CODEC, inline_limit)
    prepared = encoder.prepare(batch)
    assert list(encoder.bind(prepared, 7, 2)) == decode(prepared.payload.descriptor, 7, 2)
    assert list(prepared.commands) == batch


@given(st.lists(commands, max_size=6), st.integers(0, 50))
@settings(max_examples=100, deadline=None)
def test_fragments_rebuild_exactly_the_values_that_left_the_descriptor(
    batch: list[Command], inline_limit: int
) -> None:
    prepared = BatchEncoder(CODEC, inline_limit).prepare(batch)
    named = coded_values(prepared.payload.descriptor, 3, 1)
    plain = list(plain_values(batch, inline_limit))
    assert prepared.payload.coded == bool(named)
    assert len(named) == len(plain) == len(prepared.values)
    for index, (value, data) in enumerate(zip(named, plain, strict=True)):
        assert (value.round, value.lane, value.index) == (3, 1, index)
        fragments = {i: prepared.payload.fragments[i][index] for i in (1, 2)}
        for number, fragment in fragments.items():
            check_fragment(fragment, value.fragment_digests[number])
        check_value(CODEC.decode(fragments, value.length), len(data), value.digest)


def test_a_value_of_the_inline_limit_stays_and_one_byte_more_goes() -> None:
    encoder = BatchEncoder(CODEC, 8)
    prepared = encoder.prepare([Put(b"a", b"x" * 8), Put(b"b", b"x" * 9)])
    first, second = decode(prepared.payload.descriptor, 0, 0)
    assert isinstance(first, Put)
    assert first.value == b"x" * 8
    assert isinstance(second, Put)
    assert isinstance(second.value, CodedValue)
    assert len(prepared.payload.descriptor) < 200


def test_binding_again_after_a_null_slot_names_the_new_slot() -> None:
    encoder = BatchEncoder(CODEC, 0)
    prepared = encoder.prepare([Txn(success=(Put(b"k", b"value"),))])
    for round_ in (4, 9):
        (txn,) = encoder.bind(prepared, round_, 1)
        assert isinstance(txn, Txn)
        (put,) = txn.success
        assert isinstance(put, Put)
        assert isinstance(put.value, CodedValue)
        assert (put.value.round, put.value.lane) == (round_, 1)
