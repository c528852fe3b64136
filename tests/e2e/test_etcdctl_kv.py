"""put, get, del and compaction of stock etcdctl, with every flag: what etcd answers, Racos does."""

from __future__ import annotations

import pytest

from tests.e2e.etcdctl import Both

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = """
    put a 5
    put ab 4
    put b 3
    put bb 2
    put c 1
    put a 6
"""

KEY_NOT_FOUND = "Error: etcdserver: key not found"
COMPACTED = "Error: etcdserver: mvcc: required revision has been compacted"
FUTURE = "Error: etcdserver: mvcc: required revision is a future revision"


def test_put(both: Both) -> None:
    both.play("""
        put a 1
        put a 2 --prev-kv
        put a 3 -w json
        put a 4 -w json --prev-kv
        put a 5 -w fields --prev-kv
        put a 6 -w protobuf --prev-kv
        put a --ignore-value
        put a 7 --ignore-lease
        put new 1 --prev-kv
        put empty ''
        get '' --prefix -w fields
    """)
    assert both.run("get a").out == "a\n7\n"


def test_put_from_stdin(both: Both) -> None:
    value = bytes(range(1, 256)) * 400
    assert both.run("put binary", value).out == "OK\n"
    (kv,) = both.run("get binary -w protobuf").out.kvs
    assert kv.value == value


@pytest.mark.parametrize("size", [4095, 4096, 4097, 65536, 1 << 20])
def test_values_around_the_inline_limit(both: Both, size: int) -> None:
    both.run("put large", b"x" * size)
    (kv,) = both.run("get large -w protobuf").out.kvs
    assert len(kv.value) == size


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("put missing --ignore-value", KEY_NOT_FOUND),
        ("put missing v --ignore-lease", KEY_NOT_FOUND),
        ("put a v --lease=1234", "Error: etcdserver: requested lease not found"),
        ("put '' v", "Error: etcdserver: key is not provided"),
        ("get a --rev=@9999", FUTURE),
        ("compaction @9999", FUTURE),
    ],
)
def test_what_the_server_refuses(both: Both, line: str, told: str) -> None:
    assert both.run(line, code=1).error() == told
    assert both.run("get '' --prefix -w json").out["header"]["revision"] == 0


def test_a_request_too_large_is_refused(both: Both) -> None:
    value = b"x" * (1536 * 1024)
    told = both.run("put large", value, code=1).error()
    assert told == "Error: etcdserver: request is too large"
    both.run("put large", value[: -16 * 1024])


def test_get(both: Both) -> None:
    both.play(SEED)
    both.play("""
        get a
        get a -w json
        get a -w fields
        get a -w protobuf
        get a --hex
        get a --hex -w json
        get a --print-value-only
        get nothing
        get nothing -w json
        get --prefix a
        get --prefix a --print-value-only
        get --prefix '' -w fields
        get --prefix '' -w protobuf
        get a b
        get b a
        get b --from-key
        get '' --from-key
        get --prefix a --keys-only
        get --prefix a --keys-only -w json
        get --prefix a --count-only -w fields
        get --prefix '' --count-only --limit 1 -w fields
        get a --rev=@1
        get a --rev=@1 -w json
        get a --rev=@0
        get --prefix '' --rev=@3
        get a --consistency=l
    """)


def test_get_sorted_and_limited(both: Both) -> None:
    both.play(SEED)
    for target in ("KEY", "CREATE", "MODIFY", "VALUE"):
        for order in ("ASCEND", "DESCEND"):
            both.run(f"get --prefix '' --sort-by {target} --order {order} --limit 4 -w json")
    both.play("""
        get --prefix '' --sort-by VALUE
        get --prefix '' --sort-by MODIFY --limit 2
        get --prefix '' --order DESCEND --limit 2
        get a --from-key --limit 3
        get a c --limit 2 -w json
        get a c --limit 4 -w json
        get a c --limit 5 -w json
        get a --from-key --sort-by VERSION --order DESCEND --limit 1
    """)


def test_a_serializable_get_answers_from_the_node_that_took_the_write(both: Both) -> None:
    for side in (both.etcd, both.racos):
        node = f"--endpoints={side.endpoints[0]}"
        side.run(f"{node} put a 1")
        assert side.run(f"{node} get a --consistency=s").out == "a\n1\n"


def test_del(both: Both) -> None:
    both.play(SEED)
    both.play("""
        del a --prev-kv
        del nothing
        del nothing --prev-kv -w json
        del a b --prev-kv
        del b --prefix --prev-kv -w json
        put d 1
        put e 2
        put f 3
        del d f
        del f -w fields
        put g 4
        del '' --from-key --prev-kv -w protobuf
        get '' --prefix -w json
        put a again
        get a -w json
    """)


def test_compaction(both: Both) -> None:
    both.play(SEED)
    assert both.run("compaction @3").out == "compacted revision 3\n"
    assert both.run("get a --rev=@2", code=1).error() == COMPACTED
    assert both.run("compaction @3", code=1).error() == COMPACTED
    both.play("""
        get --prefix '' --rev=@3
        get --prefix '' --rev=@4 -w json
        compact @4
        compaction @5 --physical
        ! get a --rev=@4
        get --prefix '' -w json
    """)


def test_every_node_answers_the_same(both: Both) -> None:
    both.play(SEED)
    answers = [
        both.racos.run(f"--endpoints={endpoint} get --prefix '' -w json")
        for endpoint in both.racos.endpoints
    ]
    assert answers[0].out["count"] == 5
    assert answers[1:] == answers[:1] * 2
