"""What is counted is what is there; and alarms and counts survive a restart."""

from __future__ import annotations

import random

from racos.mvcc.command import (
    Alarm,
    AlarmKind,
    AlarmSwitch,
    CodedValue,
    Compact,
    DeleteRange,
    KeyValue,
    Put,
    Value,
)
from racos.mvcc.digest import digest
from racos.mvcc.fingerprint import Fingerprint
from racos.mvcc.store import Store
from racos.mvcc.usage import Usage


def counted(store: Store) -> tuple[int, int, int]:
    """By going through all versions that are held."""
    usage = Usage()
    for versions in store._index.histories(b""):
        for kv in versions:
            usage.add(kv)
    return usage.versions, usage.inline_bytes, usage.coded_bytes


def told(store: Store) -> tuple[int, int, int]:
    usage = store.usage
    return usage.versions, usage.inline_bytes, usage.coded_bytes


def random_value(rng: random.Random) -> Value:
    size = rng.randrange(200)
    if rng.random() < 0.3:
        return CodedValue(5000 + size, digest(b"%d" % size), (), 1, 0, 0)
    return bytes(size)


def test_usage_is_what_is_held() -> None:
    rng = random.Random(5)
    store = Store()
    for step in range(1500):
        key = b"%d" % rng.randrange(30)
        kind = rng.random()
        if kind < 0.7:
            store.apply(Put(key, random_value(rng)))
        elif kind < 0.8:
            store.apply(DeleteRange(key))
        elif kind < 0.85:
            store.apply(DeleteRange(key, key + b"\xff"))
        elif store.revision > store.compact_revision + 1:
            store.apply(Compact(rng.randrange(store.compact_revision + 1, store.revision) + 1))
        store.compact_some(rng.randrange(4))
        store.commit()
        if step % 100 == 0:
            assert told(store) == counted(store), step
            store.shelf.flush()
            store = Store(store.shelf)
            assert told(store) == counted(store), step


def test_alarms_are_there_after_a_restart() -> None:
    store = Store()
    alarms = [Alarm(member, kind) for member in (0, 2**64 - 1) for kind in AlarmKind]
    for alarm in alarms:
        store.apply(AlarmSwitch(alarm, True))
    store.apply(AlarmSwitch(alarms[1], False))
    store.commit()
    again = Store(store.shelf)
    assert again.alarms.raised == set(alarms) - {alarms[1]}
    assert again.state_digest() == store.state_digest() != Store().state_digest()


def fingerprint(store: Store, revision: int, compact_revision: int, step: int) -> int:
    view = store.view()
    work = Fingerprint(view, revision, compact_revision)
    while not work.step(step):
        pass
    view.close()
    return work.value


def test_the_hash_depends_on_what_is_kept_and_on_nothing_else() -> None:
    rng = random.Random(9)
    one, other = Store(), Store()
    for _ in range(300):
        key, value = b"%d" % rng.randrange(40), bytes(rng.randrange(50))
        command = DeleteRange(key) if rng.random() < 0.2 else Put(key, value)
        one.apply(command)
        other.apply(command)
    last = one.revision
    for compacted in (50, 120, last):
        wanted = fingerprint(other, last, compacted, 7)
        assert wanted == fingerprint(one, last, compacted, 1000)
        one.apply(Compact(compacted))
        assert wanted == fingerprint(one, last, compacted, 1), "not dropped yet"
        while not one.compact_some(10):
            one.commit()
        assert wanted == fingerprint(one, last, compacted, 3), "dropped"
    assert fingerprint(other, last, -1, 9) != fingerprint(other, last, 50, 9)


def test_every_field_counts() -> None:
    def hash_of(kv: KeyValue) -> int:
        store = Store()
        store._index.put(kv, None)
        return fingerprint(store, 1, -1, 9)

    kv = KeyValue(b"key", 1, 1, 1, b"value", 0)
    coded = CodedValue(5, digest(b"value"), (), 0, 0, 0)
    others = [
        kv._replace(key=b"kez"),
        kv._replace(create_revision=0),
        kv._replace(mod_revision=0),
        kv._replace(version=2),
        kv._replace(value=b"valu"),
        kv._replace(key=b"keyv", value=b"alue"),
        kv._replace(lease=1),
        kv._replace(value=coded),
        kv._replace(value=coded._replace(length=6)),
    ]
    assert len({hash_of(each) for each in (kv, *others)}) == 1 + len(others)
