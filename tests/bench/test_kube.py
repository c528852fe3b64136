"""The Kubernetes-like mix: what it asks, and that wrong answers and wrong events are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from bench.kube import PAGE_LIMIT, RESOURCES, SHARES, Kube
from bench.kubewatch import KubeWatches, Watch
from bench.workload import Values, WrongAnswer, framed, message
from etcdshim.pb import kv_pb2, rpc_pb2
from tests.bench.model import Model

VALUES = Values(16, seed=1)
CLIENTS, KEYS = 4, 200


def kube() -> Kube:
    return Kube(VALUES, KEYS, CLIENTS, seed=2)


def play(workload: Kube, model: Model, number: int) -> int:
    """One operation to its end; how many calls it took."""
    for calls in range(1, 20):
        if workload.check(number, model.answer(workload, workload.request(number))):
            return calls
    raise AssertionError("an operation without end")


def played(operations: int = 1500) -> tuple[Kube, Model]:
    workload, model = kube(), Model()
    for number in range(operations):
        play(workload, model, number)
    return workload, model


def test_shares_add_up() -> None:
    assert sum(share for _, share in SHARES.values()) == 100
    assert sum(each.share for each in RESOURCES) == 100


def test_objects_of_every_kind_come_and_go() -> None:
    _, model = played()
    kinds = Counter(key.split(b"/")[2].decode() for key in model.pairs)
    assert set(kinds) == {each.name for each in RESOURCES}
    sizes = {key.split(b"/")[2].decode(): len(pair.value) for key, pair in model.pairs.items()}
    assert sizes == {each.name: 16 * each.sizes for each in RESOURCES}


def test_requests_are_those_of_an_api_server() -> None:
    workload, model = kube(), Model()
    seen = Counter[str]()
    for number in range(3000):
        call = workload.request(number)
        if call.method == 0:
            asked = rpc_pb2.RangeRequest.FromString(message(call.body))
            seen["count" if asked.count_only else f"range {asked.limit}"] += 1
        else:
            txn = rpc_pb2.TxnRequest.FromString(message(call.body))
            (compare,), (change,) = txn.compare, txn.success
            assert compare.target == rpc_pb2.Compare.MOD
            name = change.WhichOneof("request")
            seen["create" if not compare.mod_revision else name] += 1
            assert len(txn.failure) == (1 if compare.mod_revision else 0)
        play(workload, model, number)
    assert seen["request_put"] > seen["create"] > seen["request_delete_range"] / 2 > 50
    assert seen["range 1"] > 500
    assert seen["count"] > 5
    assert seen[f"range {PAGE_LIMIT}"] > 5


def test_each_object_has_one_writer() -> None:
    first, second, model = kube(), kube(), Model()
    for number in range(1500):  # two processes of two clients each
        play(first if number % CLIENTS < 2 else second, model, number)


def test_what_an_earlier_run_left_is_learnt() -> None:
    _, model = played()
    again = kube()
    for number in range(1500):
        play(again, model, number)


def test_lists_page_at_one_revision() -> None:
    workload, model = Kube(VALUES, 4000, CLIENTS, seed=2), Model()
    pages = Counter(play(workload, model, number) for number in range(6000))
    assert pages[2] > 0


def found(workload: Kube, model: Model, wanted: Callable[[Kube, int], bool]) -> int:
    """The next operation of a kind; those before it are carried out."""
    for number in range(1500, 9000):
        if wanted(workload, number):
            return number
        play(workload, model, number)
    raise AssertionError("no such operation")


def is_write(workload: Kube, number: int) -> bool:
    return workload.request(number).method == 1


def asks(workload: Kube, number: int) -> rpc_pb2.RangeRequest:
    call = workload.request(number)
    body = message(call.body) if call.method == 0 else b""
    return rpc_pb2.RangeRequest.FromString(body)


def test_lost_update_is_found() -> None:
    workload, model = played()
    number = found(workload, model, is_write)
    key = rpc_pb2.TxnRequest.FromString(message(workload.request(number).body)).compare[0].key
    model.put(key, b"somebody's")
    with pytest.raises(WrongAnswer, match="nobody else writes it"):
        play(workload, model, number)


def is_get(workload: Kube, number: int) -> bool:
    return asks(workload, number).key in GETTABLE


GETTABLE: set[bytes] = set()


def test_wrong_gets_are_found() -> None:
    workload, model = played()
    GETTABLE.update(model.pairs)
    number = found(workload, model, is_get)
    pair = model.pairs[asks(workload, number).key]
    whole = pair.value
    pair.value = whole[:-1] + b"!"
    with pytest.raises(WrongAnswer, match="damaged"):
        play(workload, model, number)
    pair.value = whole
    pair.mod_revision -= 1
    with pytest.raises(WrongAnswer, match="found revision"):
        play(workload, model, number)


def test_stale_read_is_found() -> None:
    workload, model = played()
    number = found(workload, model, lambda kube, each: asks(kube, each).limit == 1)
    workload.request(number)
    model.revision -= 1
    with pytest.raises(WrongAnswer, match="was known before"):
        play(workload, model, number)


def test_wrong_lists_are_found() -> None:
    def refused(text: str, change: Callable[[rpc_pb2.RangeResponse], object]) -> None:
        workload, model = played(1500)
        number = found(workload, model, lambda kube, each: asks(kube, each).limit == PAGE_LIMIT)
        body = model.answer(workload, workload.request(number))
        page = rpc_pb2.RangeResponse.FromString(message(body))
        change(page)
        with pytest.raises(WrongAnswer, match=text):
            workload.check(number, framed(page.SerializeToString()))

    refused("objects: ", lambda page: page.kvs.pop())
    refused("list has", lambda page: page.kvs.append(page.kvs[0]))
    refused("more: True", lambda page: setattr(page, "more", True))


# Watches.


class Heard:
    """A watch of pods, and what its owner is told."""

    def __init__(self, workload: Kube) -> None:
        self.failures: list[str] = []
        self.owner = KubeWatches(workload, [], 1.0, self.failures.append)
        self.watch = Watch(self.owner, 1)
        confirmed = rpc_pb2.WatchResponse(created=True)
        self.watch.received(framed(confirmed.SerializeToString()), 1.0)

    def tell(self, *events: kv_pb2.Event, canceled: bool = False) -> None:
        answer = rpc_pb2.WatchResponse(events=events, canceled=canceled)
        self.watch.received(framed(answer.SerializeToString()), 1.0)


def events_of(workload: Kube, model: Model) -> list[kv_pb2.Event]:
    """Creation, change and deletion of one pod."""
    number = found(workload, model, lambda kube, each: is_write(kube, each) and pods(kube, each))
    play(workload, model, number)
    key = next(key for key, pair in model.pairs.items() if pair.mod_revision == model.revision)
    pair = model.pairs[key]

    def put(revision: int, created: int, before: int) -> kv_pb2.Event:
        kv = kv_pb2.KeyValue(
            key=key, value=pair.value, mod_revision=revision, create_revision=created
        )
        prev = kv_pb2.KeyValue(key=key, mod_revision=before) if before else None
        return kv_pb2.Event(kv=kv, prev_kv=prev)

    gone = kv_pb2.Event(
        type=kv_pb2.Event.DELETE,
        kv=kv_pb2.KeyValue(key=key, mod_revision=90),
        prev_kv=kv_pb2.KeyValue(key=key, mod_revision=80),
    )
    return [put(70, 70, 0), put(80, 70, 70), gone]


def pods(workload: Kube, number: int) -> bool:
    txn = rpc_pb2.TxnRequest.FromString(message(workload.request(number).body))
    change = txn.success[0]
    return change.WhichOneof("request") == "request_put" and b"/pods/" in change.request_put.key


async def test_events_that_make_a_chain_are_right() -> None:
    workload, model = played()
    created, changed, deleted = events_of(workload, model)
    heard = Heard(workload)
    heard.tell(created, changed)
    heard.tell(deleted)
    heard.tell()  # a progress notice
    assert heard.failures == []
    assert heard.watch.revision == 90


async def test_wrong_events_are_found() -> None:
    workload, model = played()
    created, changed, deleted = events_of(workload, model)
    damaged = kv_pb2.Event.FromString(changed.SerializeToString())
    damaged.kv.value = changed.kv.value[:-1] + b"!"
    for events in (
        (created, deleted),  # one is missing
        (created, changed, changed),  # one came twice
        (created, changed, created),  # one came late
        (created, damaged),
    ):
        heard = Heard(workload)
        heard.tell(*events)
        assert len(heard.failures) == 1
    heard = Heard(workload)
    heard.tell(canceled=True)
    assert heard.failures == ["a watch was canceled: "]


async def test_watch_that_ends_is_told_once() -> None:
    workload, _ = played(10)
    heard = Heard(workload)
    heard.watch.ended("cut off", 1.0)
    heard.watch.ended("cut off", 1.0)
    assert heard.failures == ["cut off"]
