"""Watches of stock etcdctl: old revisions, prefixes, previous values, progress, compaction."""

from __future__ import annotations

import pytest

from tests.e2e.etcdctl import Both

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = """
    put a 1
    put ab 2
    put a 3
    del a
    put b 4
"""


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("watch a --rev=@1", ["PUT", "a", "1", "PUT", "a", "3", "DELETE", "a", ""]),
        ("watch a --rev=@3", ["PUT", "a", "3", "DELETE", "a", ""]),
        ("watch a --prefix --rev=@2", ["PUT", "ab", "2", "PUT", "a", "3", "DELETE", "a", ""]),
        ("watch ab c --rev=@1", ["PUT", "ab", "2", "PUT", "b", "4"]),
        ("watch a --rev=@3 --prev-kv", ["PUT", "a", "1", "a", "3", "DELETE", "a", "3", "a", ""]),
    ],
)
def test_from_an_old_revision(both: Both, line: str, printed: list[str]) -> None:
    both.play(SEED)
    with both.watch(line, lines=len(printed)) as watching:
        pass
    assert [text.rstrip("\n") for text in watching.out] == printed


@pytest.mark.parametrize("form", ["json", "fields"])
def test_machine_readable(both: Both, form: str) -> None:
    both.play(SEED)
    lines = 1 if form == "json" else 20
    with both.watch(f"watch '' --prefix --rev=@1 -w {form}", lines=lines):
        pass


def test_from_a_revision_to_come(both: Both) -> None:
    with both.watch("watch k --rev=@2", lines=3) as watching:
        both.play("put k early\nput k late")
    assert watching.out == ["PUT\n", "k\n", "late\n"]


def test_interactive_watch_of_several_keys(both: Both) -> None:
    started = [b"watch a", b"watch b --prefix --prev-kv", b"progress"]
    with both.watch("watch -i", lines=8, given=started) as watching:
        # The answer to `progress`, printed for each, says that both watches are there.
        assert watching.until(2) == ["progress notify: 0\n"] * 2
        both.play("put a 1\nput other 1\nput bb 2\nput bb 3")
    assert watching.out == [
        *("PUT\n", "a\n", "1\n"),
        *("PUT\n", "bb\n", "2\n"),
        *("PUT\n", "bb\n"),
    ]


def test_a_write_on_each_node_reaches_a_watch_on_each_node(both: Both) -> None:
    first, *_ = both.racos.endpoints
    with both.watch("watch spread --prefix --rev=@1", lines=9):
        both.run("put spread/0 0")
        both.etcd.run("put spread/1 1")
        both.racos.run(f"--endpoints={first} put spread/1 1")
        both.run("put spread/2 2")


def test_a_watch_below_the_compaction_is_canceled(both: Both) -> None:
    both.play(SEED)
    both.run("compaction @3")
    assert both.run("watch a --rev=@2", code=5).err == (
        "watch was canceled (etcdserver: mvcc: required revision has been compacted)",
        "Error: watch is canceled by the server",
    )
    with both.watch("watch a --rev=@3", lines=6) as watching:
        pass
    assert watching.out == ["PUT\n", "a\n", "3\n", "DELETE\n", "a\n", "\n"]


def test_a_command_for_each_event(both: Both) -> None:
    both.play(SEED)
    command = "watch a --rev=@3 -- sh -c 'echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY'"
    with both.watch(command, lines=6):
        pass
