"""Changes of the configuration as batches: each is alone in its own, and there is no store in it.

Replicas tell their core of it when the batch is applied (`Replica.change`).
"""

from __future__ import annotations

from racos.core.config import Change
from racos.pb import batch_pb2 as pb

_KINDS = ("lane_off", "lane_on")  # by Change.on


def encode(change: Change) -> bytes:
    """The descriptor of a batch with this change."""
    batch = pb.Batch()
    command = getattr(batch.commands.add(), _KINDS[change.on])
    command.SetInParent()  # a message of zeros is still there
    command.lane, command.epoch = change.lane, change.epoch
    return batch.SerializeToString()


def found_in(batch: pb.Batch) -> Change | None:
    """The change that a batch is; None if it holds commands for the store."""
    if len(batch.commands) != 1:
        return None
    kind = batch.commands[0].WhichOneof("kind")
    if kind not in _KINDS:
        return None
    command = getattr(batch.commands[0], kind)
    return Change(command.lane, kind == "lane_on", command.epoch)
