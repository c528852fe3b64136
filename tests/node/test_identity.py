"""Ids and lanes that every node works out alike; etcd's own ids serve as the oracle."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import pytest

from racos.node.config import NodeConfig
from racos.node.identity import Identity, cluster_id, identify, member_id

MEMBERS = tuple((f"n{i}", (f"http://127.0.0.1:{2380 + 10 * i}",)) for i in range(3))


def config_of(name: str, members: tuple[tuple[str, tuple[str, ...]], ...]) -> NodeConfig:
    return NodeConfig(
        name=name,
        initial_cluster=members,
        initial_advertise_peer_urls=dict(members)[name],
        advertise_client_urls=(f"http://{name}:2379",),
    )


def test_a_default_member_has_the_id_that_etcd_gives_it() -> None:
    # Known from any log of an etcd started without flags.
    identity = identify(NodeConfig())
    assert identity.member_id == 0x8E9E05C52164694D
    assert identity.cluster_id == 0xCDF818194E3A8C32


def test_every_node_sees_the_same_members_in_the_same_lanes() -> None:
    seen = set()
    for order in permutations(MEMBERS):
        for name, _ in MEMBERS:
            identity = identify(config_of(name, order))
            assert identity.members[identity.lane].name == name
            assert identity.members[identity.lane].id == identity.member_id
            seen.add(
                (
                    identity.cluster_id,
                    identity.coin_secret,
                    tuple((m.id, m.name, m.peer_urls) for m in identity.members),
                )
            )
    assert len(seen) == 1


def test_lanes_are_in_the_order_of_ids() -> None:
    ids = [member.id for member in identify(config_of("n0", MEMBERS)).members]
    assert ids == sorted(ids)


def test_only_own_client_urls_are_known() -> None:
    identity = identify(config_of("n1", MEMBERS))
    known = {member.name: member.client_urls for member in identity.members}
    assert known == {"n0": (), "n1": ("http://n1:2379",), "n2": ()}


def test_the_order_of_urls_does_not_matter() -> None:
    assert member_id(["http://a:1", "http://b:1"], "t") == member_id(
        ["http://b:1", "http://a:1"], "t"
    )
    assert cluster_id([1, 2]) == cluster_id([2, 1])


@pytest.mark.parametrize("field", ["cluster_id", "member_id", "coin_secret"])
def test_another_token_is_another_cluster(field: str) -> None:
    one, other = (
        identify(dataclasses.replace(NodeConfig(), initial_cluster_token=token))
        for token in ("one", "other")
    )
    assert getattr(one, field) != getattr(other, field)


def test_another_engine_is_another_cluster_with_the_same_members() -> None:
    lanes, queue = (
        identify(dataclasses.replace(NodeConfig(), engine=engine)) for engine in ("lanes", "queue")
    )
    assert lanes.cluster_id != queue.cluster_id
    assert lanes.coin_secret != queue.coin_secret
    assert lanes.member_id == queue.member_id


def test_another_cluster_with_the_same_token_has_another_coin() -> None:
    assert identify(NodeConfig()).coin_secret != identify(config_of("n0", MEMBERS)).coin_secret


def test_the_coin_secret_is_a_whole_key() -> None:
    identity: Identity = identify(NodeConfig())
    assert len(identity.coin_secret) == 32
