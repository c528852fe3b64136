"""Replicas under other names: explorations meet states that differ in nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from racos.core.messages import Hold, Message, Pay, PayRecord, Record, State
from racos.core.outbox import ALL
from racos.core.quorum import bits
from racos.sim.local import OWNER, Heard, Local, Machine


def renamings(total: int) -> Iterator[tuple[int, ...]]:
    """Renamings of the replicas that are not the owner, but for the one that changes nothing.

    Sound only for inline batches: there each holder counts alike. With a coded batch replica j
    has the fragments j, j+1, ..; renaming 1 and 2 of three turns {1, 2} into {2, 1}, which is
    nobody's share. And it matters whether the holders of {1} and {1} are known or of {1} and {2}.
    """
    others = [replica for replica in range(total) if replica != OWNER]
    for order in permutations(others):
        if list(order) != others:
            renaming = [OWNER] * total
            for replica, name in zip(others, order, strict=True):
                renaming[replica] = name
            yield tuple(renaming)


def _mask(mask: int, renaming: tuple[int, ...]) -> int:
    renamed = 0
    for bit in bits(mask):
        renamed |= 1 << renaming[bit]
    return renamed


def _heard(heard: Heard, renaming: tuple[int, ...]) -> Heard:
    ones, zeros, vote_ones, vote_zeros, unsure = (_mask(mask, renaming) for mask in heard)
    return ones, zeros, vote_ones, vote_zeros, unsure


def _message(message: Message, renaming: tuple[int, ...]) -> Message:
    if isinstance(message, State):
        return message._replace(held=_mask(message.held, renaming))
    if isinstance(message, Hold):
        held = _mask(message.held, renaming)
        return message._replace(holder=renaming[message.holder], held=held)
    if isinstance(message, Pay):
        return message._replace(held=_mask(message.held, renaming))
    return message


def _record(record: Record, renaming: tuple[int, ...]) -> Record:
    if isinstance(record, PayRecord):
        return record._replace(held=_mask(record.held, renaming))
    return record


def rename(local: Local, renaming: tuple[int, ...], machine: Machine) -> Local:
    """The same replica in a cluster whose replicas bear other names."""
    held = [-1] * len(local.held)
    for holder, mask in enumerate(local.held):
        held[renaming[holder]] = mask if mask < 0 else _mask(mask, renaming)
    said = 0
    for number in bits(local.said):
        sender, receiver, message = machine.messages[number]
        to = receiver if receiver == ALL else renaming[receiver]
        said |= 1 << machine.number(renaming[sender], to, _message(message, renaming))
    durable = local.durable._replace(held=_mask(local.durable.held, renaming))
    return local._replace(
        me=renaming[local.me],
        stored=_mask(local.stored, renaming),
        heard=tuple(_heard(heard, renaming) for heard in local.heard),
        held=tuple(held),
        pending=tuple(
            (_record(record, renaming), _message(message, renaming))
            for record, message in local.pending
        ),
        durable=durable,
        said=said,
    )
