"""Who a node is, worked out from its configuration alone, the same on every node.

Ids follow etcd's rule (SHA-1 over the sorted peer URLs and the token), so a cluster that was
described to etcd has the ids that etcd would have given it. A lane is a member's place in the order
of ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from racos.core.engine import LANES
from racos.node.config import ConfigError, NodeConfig


class Member(NamedTuple):
    id: int  # u64
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[
        str, ...
    ]  # known from the configuration for this node alone; others tell theirs


class Identity(NamedTuple):
    cluster_id: int  # u64
    member_id: int  # u64
    lane: int  # index of this node in members
    members: tuple[Member, ...]  # by id, the index is the lane
    coin_secret: bytes  # 32 bytes, keys the common coin; the same on every member


def identify(config: NodeConfig) -> Identity:
    """The identity that a configuration gives. Raises ConfigError if two members get one id."""
    token = config.initial_cluster_token
    members = sorted(
        Member(
            id=member_id(urls, token),
            name=name,
            peer_urls=tuple(sorted(urls)),
            client_urls=config.advertise_client_urls if name == config.name else (),
        )
        for name, urls in config.initial_cluster
    )
    ids = [member.id for member in members]
    if len(set(ids)) != len(ids):
        raise ConfigError("two members have the same id: their peer URLs must differ")
    lane = next(index for index, member in enumerate(members) if member.name == config.name)
    cluster = cluster_id(ids)
    if config.engine != LANES:
        # Another cluster: its members' logs and words mean something else.
        cluster = _first_u64(cluster.to_bytes(8, "big") + config.engine.encode())
    return Identity(cluster, ids[lane], lane, tuple(members), coin_secret(cluster, token))


def member_id(peer_urls: Iterable[str], token: str) -> int:
    """etcd's id of a founding member."""
    return _first_u64("".join(sorted(peer_urls)).encode() + token.encode())


def cluster_id(member_ids: Iterable[int]) -> int:
    """etcd's id of a cluster with these founding members."""
    return _first_u64(b"".join(member.to_bytes(8, "big") for member in sorted(member_ids)))


def coin_secret(cluster: int, token: str) -> bytes:
    """The key of the common coin: unknown to clients as long as the token is."""
    return hashlib.blake2b(
        cluster.to_bytes(8, "big") + token.encode(), digest_size=32, person=b"racos coin"
    ).digest()


def _first_u64(text: bytes) -> int:
    # SHA-1 names things here as etcd does; nothing relies on it being hard to collide.
    return int.from_bytes(hashlib.sha1(text, usedforsecurity=False).digest()[:8], "big")
