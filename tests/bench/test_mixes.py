"""The mixed, page and transaction workloads: what they ask, and that wrong answers are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from bench.fill import Fill, Filling, FillMany
from bench.mixes import RECIPES, Mix
from bench.pages import LIMIT, Counts, Pages
from bench.swaps import Swaps
from bench.workload import Rewrites, Values, Workload, WrongAnswer, framed, key_of, message
from etcdshim.pb import rpc_pb2
from tests.bench.model import Model

VALUES = Values(32, seed=1)
KEYS = 40


def play(workload: Workload, model: Model, number: int) -> int:
    """One operation to its end; how many calls it took."""
    for calls in range(1, 4):
        if workload.check(number, model.answer(workload, workload.request(number))):
            return calls
    raise AssertionError("an operation without end")


def mix(name: str, distribution: str = "uniform", seed: int = 3) -> Mix:
    return Mix(VALUES, KEYS, RECIPES[name], distribution, seed)


def asked_keys(workload: Mix, model: Model, operations: int) -> list[tuple[int, bytes]]:
    seen = []
    for number in range(operations):
        call = workload.request(number)
        seen.append((call.method, rpc_pb2.RangeRequest.FromString(message(call.body)).key))
        play(workload, model, number)
    return seen


@pytest.mark.parametrize("name", RECIPES)
def test_shares_of_a_recipe(name: str) -> None:
    recipe = RECIPES[name]
    assert sum(recipe) == pytest.approx(1)
    workload, model = mix(name), Model(VALUES, KEYS)
    calls = Counter(play(workload, model, number) for number in range(3000))
    written = model.revision - 1 - KEYS
    assert calls[2] / 3000 == pytest.approx(recipe.modify, abs=0.04)
    wanted = recipe.update + recipe.insert + recipe.modify
    assert written / 3000 == pytest.approx(wanted, abs=0.04)
    assert (len(model.pairs) - KEYS) / 3000 == pytest.approx(recipe.insert, abs=0.02)


def test_inserts_are_new_keys_without_gaps() -> None:
    workload, model = mix("ycsb-d"), Model(VALUES, KEYS)
    for number in range(70_000):  # once round the drawn operations and on
        if workload.kind_and_key(number)[0] == 2:
            play(workload, model, number)
    assert sorted(model.pairs) == [key_of(index) for index in range(len(model.pairs))]
    assert len(model.pairs) > 3000


def begun_scan() -> tuple[Mix, Model, int]:
    """A mix whose inserts have all been answered, and a long scan that has begun."""
    workload, model = mix("ycsb-e"), Model(VALUES, KEYS)
    for number in range(1000):
        call = workload.request(number)
        asked = rpc_pb2.RangeRequest.FromString(message(call.body))
        if call.method == 0 and asked.limit > KEYS + 5 and len(model.pairs) > KEYS + 2:
            return workload, model, number
        play(workload, model, number)
    raise AssertionError("no long scan")


def test_scans_walk_over_old_and_new_keys() -> None:
    workload, model = mix("ycsb-e"), Model(VALUES, KEYS)
    for number in range(600):
        play(workload, model, number)
    assert len(model.pairs) > KEYS + 10


@pytest.mark.parametrize("back", [1, 2, 8])
def test_scan_without_a_key_is_found(back: int) -> None:
    workload, model, number = begun_scan()
    key = sorted(model.pairs)[-back]  # the newest one, another new one, an old one
    assert (key >= key_of(KEYS)) == (back < 3)
    del model.pairs[key]
    with pytest.raises(WrongAnswer, match=f"misses {key!r}"):
        play(workload, model, number)


def test_scan_may_lack_a_key_that_is_on_its_way() -> None:
    workload, model, number = begun_scan()
    answer = model.answer(workload, workload.request(number))
    place = len(model.pairs)
    insert = next(each for each in range(number, 9999) if workload.kind_and_key(each) == (2, place))
    play(workload, model, insert)
    assert workload.check(number, answer) > 0


def test_wrong_scans_are_found() -> None:
    def refused(text: str, change: Callable[[rpc_pb2.RangeResponse], object]) -> None:
        workload, model, number = begun_scan()
        body = model.answer(workload, workload.request(number))
        scan = rpc_pb2.RangeResponse.FromString(message(body))
        change(scan)
        with pytest.raises(WrongAnswer, match=text):
            workload.check(number, framed(scan.SerializeToString()))

    def swap_values(scan: rpc_pb2.RangeResponse) -> None:
        scan.kvs[0].value = scan.kvs[1].value

    def go_back(scan: rpc_pb2.RangeResponse) -> None:
        scan.header.revision = KEYS

    refused("wrong pair", lambda scan: scan.kvs.insert(1, scan.kvs[0]))
    refused("wrong pair b'bench/x'", lambda scan: setattr(scan.kvs[0], "key", b"bench/x"))
    refused("wrong pair", swap_values)
    refused("found 103 keys", lambda scan: scan.kvs.extend([scan.kvs[0]] * (103 - len(scan.kvs))))
    refused(f"at revision {KEYS}, ", go_back)


def test_latest_reads_what_was_inserted_last() -> None:
    workload, model = mix("ycsb-d", "latest"), Model(VALUES, KEYS)
    back = Counter[int]()
    for number in range(2000):
        call = workload.request(number)
        key = rpc_pb2.RangeRequest.FromString(message(call.body)).key
        if call.method == 0:
            back[len(model.pairs) - 1 - int(key[6:])] += 1
        play(workload, model, number)
    assert min(back) == 0
    assert back.most_common(1)[0][0] == 0
    assert max(back) < KEYS


def test_zipfian_keys_have_a_favourite() -> None:
    keys = asked_keys(mix("ycsb-c", "zipfian"), Model(VALUES, KEYS), 1000)
    (_, favourite), *_ = Counter(keys).most_common(1)
    assert favourite > 150  # a fair share would be 25


def test_a_request_is_the_same_until_it_is_answered() -> None:
    workload, model = mix("ycsb-f"), Model(VALUES, KEYS)
    number = next(each for each in range(100) if workload.kind_and_key(each)[0] == 3)
    read = workload.request(number)
    assert workload.request(number) == read
    assert workload.check(number, model.answer(workload, read)) == 0
    write = workload.request(number)
    assert (read.method, write.method) == (0, 1)
    assert workload.request(number) == write
    assert workload.check(number, model.answer(workload, write)) == model.revision


def test_values_of_other_processes_are_known() -> None:
    model = Model(VALUES, KEYS)
    mine, theirs = mix("ycsb-a"), mix("ycsb-a")
    for number in range(0, 400, 2):
        play(mine, model, number)
        play(theirs, model, number + 1)


def read_of(workload: Mix) -> tuple[int, int]:
    """A reading operation and its key."""
    number = next(each for each in range(100) if workload.kind_and_key(each)[0] == 0)
    return number, workload.kind_and_key(number)[1]


def test_foreign_value_is_found() -> None:
    workload, model = mix("ycsb-a"), Model(VALUES, KEYS)
    number, index = read_of(workload)
    other = (index + 1) % KEYS
    for value in (
        b"".join(VALUES.pieces(other)),  # another key's
        b"".join(VALUES.pieces(KEYS + number)),  # of an operation that reads
        b"".join(VALUES.pieces(index))[:-1] + b"!",
        b"".join(VALUES.pieces(index))[:-1],
    ):
        model.put(key_of(index), value)
        with pytest.raises(WrongAnswer, match="not written there"):
            play(workload, model, number)


def test_missing_key_is_found() -> None:
    workload, model = mix("ycsb-a"), Model(VALUES, KEYS)
    number, index = read_of(workload)
    del model.pairs[key_of(index)]
    with pytest.raises(WrongAnswer, match="0 pairs"):
        play(workload, model, number)


def test_stale_read_is_found() -> None:
    workload, model = mix("ycsb-a"), Model(VALUES, KEYS)
    number, index = read_of(workload)
    old = model.pairs[key_of(index)]
    writes = (each for each in range(5000) if workload.kind_and_key(each) == (1, index))
    play(workload, model, next(writes))
    model.pairs[key_of(index)] = old
    with pytest.raises(WrongAnswer, match="was known before"):
        play(workload, model, number)


def test_write_below_a_known_revision_is_found() -> None:
    workload, model = mix("ycsb-a"), Model(VALUES, KEYS)
    number = next(each for each in range(100) if workload.kind_and_key(each)[0] == 1)
    play(workload, model, number)
    model.revision -= 1
    again = next(
        each
        for each in range(number + 1, 5000)
        if workload.kind_and_key(each) == workload.kind_and_key(number)
    )
    with pytest.raises(WrongAnswer, match="was known"):
        play(workload, model, again)


def test_pages_walk_over_all_keys() -> None:
    keys = 2 * LIMIT + 10
    workload, model = Pages(VALUES, keys), Model(VALUES, keys)
    sizes = []
    for number in range(4):
        body = model.answer(workload, workload.request(number))
        assert workload.check(number, body) == model.revision
        sizes.append(len(rpc_pb2.RangeResponse.FromString(message(body)).kvs))
    assert sizes == [LIMIT, LIMIT, 10, LIMIT]


def test_counts_are_exact() -> None:
    workload, model = Counts(VALUES, 30), Model(VALUES, 30)
    assert play(workload, model, 0) == 1
    assert not model.range(rpc_pb2.RangeRequest.FromString(message(workload.request(0).body))).kvs
    del model.pairs[key_of(7)]
    with pytest.raises(WrongAnswer, match="count answered with 29, 30 expected"):
        play(workload, model, 0)


def test_rewrites_leave_every_key_as_it_was() -> None:
    workload, model = Rewrites(VALUES, 10), Model(VALUES, 10)
    before = {key: pair.value for key, pair in model.pairs.items()}
    for number in range(25):
        play(workload, model, number)
    assert {key: pair.value for key, pair in model.pairs.items()} == before
    assert model.revision == 1 + 10 + 25


@pytest.mark.parametrize("filling", [Fill(VALUES, 40, 275), FillMany(VALUES, 40, 275)])
def test_filling_puts_what_is_missing(filling: Filling) -> None:
    model = Model(VALUES, 40)
    for number in range(filling.operations):
        assert play(filling, model, number) == 1
    assert len(model.pairs) == 275
    assert all(VALUES.matches(index, model.pairs[key_of(index)].value) for index in range(275))


def test_filling_that_was_cut_short_is_found() -> None:
    filling, model = FillMany(VALUES, 0, 100), Model()
    answer = rpc_pb2.TxnResponse.FromString(message(model.answer(filling, filling.request(0))))
    del answer.responses[-1]
    with pytest.raises(WrongAnswer, match="answered with 99"):
        filling.check(0, framed(answer.SerializeToString()))


def test_wrong_pages_are_found() -> None:
    workload, model = Pages(VALUES, LIMIT + 3), Model(VALUES, LIMIT + 3)
    body = model.answer(workload, workload.request(0))
    page = rpc_pb2.RangeResponse.FromString(message(body))

    def refused(text: str, change: rpc_pb2.RangeResponse) -> None:
        with pytest.raises(WrongAnswer, match=text):
            workload.check(0, framed(change.SerializeToString()))

    header, kvs = page.header, list(page.kvs)
    make = rpc_pb2.RangeResponse
    refused("499 pairs", make(header=header, kvs=kvs[1:], count=LIMIT + 3, more=True))
    refused("counts 500 keys", make(header=header, kvs=kvs, count=LIMIT, more=False))
    refused("more: False", make(header=header, kvs=kvs, count=LIMIT + 3, more=False))
    swapped = [kvs[1], kvs[0], *kvs[2:]]
    refused("wrong pair", make(header=header, kvs=swapped, count=LIMIT + 3, more=True))


def test_swaps_always_hold_for_an_only_writer() -> None:
    workload, model = Swaps(VALUES, 10), Model()
    for number in range(30):
        play(workload, model, number)
    assert model.revision == 31
    assert model.pairs[key_of(7)].value == b"".join(VALUES.pieces(27))


def test_swap_tried_again_finds_its_own_value() -> None:
    workload, model = Swaps(VALUES, 1), Model()
    play(workload, model, 0)
    lost = model.answer(workload, workload.request(1))
    assert message(lost)
    assert play(workload, model, 1) == 1
    assert model.revision == 3
    play(workload, model, 2)


def test_swap_learns_what_an_earlier_run_left() -> None:
    workload, model = Swaps(VALUES, 1), Model()
    model.put(key_of(0), b"left")
    play(workload, model, 0)
    play(workload, model, 1)
    assert model.pairs[key_of(0)].value == b"".join(VALUES.pieces(1))


def test_lost_swap_is_found() -> None:
    workload, model = Swaps(VALUES, 1), Model()
    play(workload, model, 0)
    model.put(key_of(0), b"somebody's")
    with pytest.raises(WrongAnswer, match="nobody else writes it"):
        play(workload, model, 1)
    with pytest.raises(WrongAnswer, match="0 results"):
        workload.check(1, framed(b""))
