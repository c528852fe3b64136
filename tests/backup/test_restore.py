"""From a backup to members that start from it, all of them equal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from racos.backup.contents import GHOST, revision_key
from racos.backup.reader import BadDatabase
from racos.backup.restore import Restored, restore
from racos.backup.source import BackupError, Source
from racos.core.quorum import Quorum
from racos.core.replica import Settings
from racos.erasure.codec import Codec
from racos.mvcc.command import (
    Alarm,
    AlarmKind,
    AlarmSwitch,
    CodedValue,
    Command,
    Compact,
    DeleteRange,
    KeyValue,
    LeaseGrant,
    Load,
    Put,
    Range,
    Txn,
)
from racos.mvcc.digest import digest
from racos.mvcc.errors import Compacted, LeaseNotFound
from racos.mvcc.fingerprint import Fingerprint
from racos.mvcc.store import Store
from racos.node.config import NodeConfig
from racos.node.datadir import LOG_FOLDER
from racos.node.driver import Driver
from racos.node.identity import identify
from racos.pb import backup_pb2 as pb
from racos.storage.disk import OsDisk
from racos.storage.log import Log
from tests.backup.files import backup, save, sealed, settle, written
from tests.node.cluster import Port

NAMES = ("n1", "n2", "n3")
BIG = [b"%d" % number * 20_000 for number in range(3)]


class Mute(Port):
    """Nobody else is there."""

    def __init__(self) -> None:
        self.batch = None

    def send(self, *_: object) -> bool:
        return False


def config_of(name: str, directory: Path, names: Sequence[str] = NAMES) -> NodeConfig:
    members = tuple((n, (f"http://127.0.0.1:{2380 + i}",)) for i, n in enumerate(names))
    return NodeConfig(
        name=name,
        data_dir=directory,
        initial_cluster=members,
        initial_advertise_peer_urls=dict(members)[name],
    )


def restored(
    path: Path, config: NodeConfig, *, bump_revision: int = 0, mark_compacted: bool = False
) -> Restored:
    with Source(path) as source:
        return restore(source, config, bump_revision=bump_revision, mark_compacted=mark_compacted)


def start(config: NodeConfig) -> Driver:
    """The member, alone, as it comes up."""
    identity = identify(config)
    log = Log.open(
        OsDisk(config.data_dir / LOG_FOLDER),
        member_id=identity.member_id,
        cluster_id=identity.cluster_id,
    )
    settings = Settings(Quorum(config.n, config.f, config.k), identity.lane, identity.coin_secret)
    port = Mute()
    return Driver(settings, log, Codec(config.k, config.n), port, port, lambda: 0.0)


def hash_of(store: Store) -> int:
    view = store.view()
    work = Fingerprint(view, view.revision, view.compact_revision)
    while not work.step(100):
        pass
    view.close()
    return work.value


def history(store: Store) -> list[tuple[int, list[tuple[bool, bytes, int]]]]:
    return [
        (revision, [(e.is_delete, e.kv.key, e.kv.version) for e in events])
        for revision, events in store.history(store.compact_revision, store.revision)
    ]


@pytest.fixture
def store() -> Store:
    """A bit of everything; three values are coded."""
    store = Store()
    coded = [CodedValue(len(v), digest(v), (), 1, 0, n) for n, v in enumerate(BIG)]
    commands: list[Command] = [
        Put(b"early", b"1"),
        Put(b"gone", b"1"),
        LeaseGrant(9, 60),
        LeaseGrant(10, 90),
        Put(b"leased", b"1", 9),
        DeleteRange(b"gone"),
        Put(b"twice", b"1"),
        Put(b"twice", b"2"),
        Compact(7),
        Txn(success=(Put(b"z"), Put(b"a"), DeleteRange(b"early"))),
        Put(b"leased", b"2", 10),
        *(Put(b"big%d" % n, value) for n, value in enumerate(coded)),
        AlarmSwitch(Alarm(5, AlarmKind.NOSPACE), True),
    ]
    for command in commands:
        store.apply(command)
    return store


async def load(values: Sequence[CodedValue]) -> list[bytes]:
    return [BIG[value.index] for value in values]


@pytest.fixture
def path(store: Store, tmp_path: Path) -> Path:
    return save(tmp_path / "backup", asyncio.run(backup(store, load)))


def members(path: Path, tmp_path: Path) -> Iterator[Driver]:
    for name in NAMES:
        config = config_of(name, tmp_path / name)
        restored(path, config)
        yield start(config)


def test_members_start_equal_and_as_the_store_was(path: Path, store: Store, tmp_path: Path) -> None:
    drivers = list(members(path, tmp_path))
    assert len({driver.store.state_digest() for driver in drivers}) == 1
    for driver in drivers:
        new = driver.store
        assert (new.revision, new.compact_revision) == (store.revision, 7)
        assert history(new) == history(store)
        assert [(x.id, x.ttl, x.keys) for x in new.leases] == [
            (9, 60, set()),
            (10, 90, {b"leased"}),
        ]
        assert list(new.alarms) == list(store.alarms)
        for revision in range(7, store.revision + 1):
            assert plain(new, revision) == plain(store, revision), revision
        assert driver.healer.statistics().missing == 0
        assert driver.replica.window.frontier > 0


def plain(store: Store, revision: int) -> list[tuple[object, ...]]:
    """All keys at a revision, coded values by what they are."""
    kvs = store.range(Range(b"\0", b"\0", revision=revision)).kvs
    return [
        (*kv._replace(value=b""), v if isinstance(v := kv.value, bytes) else v.digest) for kv in kvs
    ]


def test_any_two_of_three_rebuild_a_large_value(path: Path, tmp_path: Path) -> None:
    one, two, _ = members(path, tmp_path)
    value = one.store.range(Range(b"big1")).kvs[0].value
    assert isinstance(value, CodedValue)
    position = value.round * 3 + value.lane
    fragments = {}
    for driver in (one, two):
        own = driver.library.fragments(position, value.index, -1)
        assert list(own) == [driver.me]
        fragments.update(own)
    assert one.codec.decode(fragments, value.length) == BIG[1]


def test_a_backup_of_what_was_restored_is_the_same_file(path: Path, tmp_path: Path) -> None:
    driver = next(members(path, tmp_path))
    by_digest = {digest(value): value for value in BIG}

    async def load(values: Sequence[CodedValue]) -> list[bytes]:
        return [by_digest[value.digest] for value in values]

    assert asyncio.run(backup(driver.store, load)) == path.read_bytes()


def test_bumped_and_compacted(path: Path, store: Store, tmp_path: Path) -> None:
    config = config_of("n1", tmp_path / "d")
    made = restored(path, config, bump_revision=10**9, mark_compacted=True)
    new = start(config).store
    assert made.revision == new.revision == new.compact_revision == store.revision + 10**9
    assert [row[:4] for row in plain(new, 0)] == [row[:4] for row in plain(store, 0)]
    with pytest.raises(Compacted):
        new.range(Range(b"a", revision=store.revision))
    assert list(new.history(new.revision, new.revision)) == [(new.revision, ())]
    new.apply(AlarmSwitch(Alarm(5, AlarmKind.NOSPACE), False))
    new.apply(Put(b"next"))
    assert new.revision == store.revision + 10**9 + 1
    assert [r for r, _ in new.history(new.revision, new.revision)] == [new.revision]


@pytest.mark.parametrize(("bump", "mark"), [(0, True), (5, False)])
def test_bump_and_mark_go_together(path: Path, bump: int, mark: bool, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="--mark-compacted required if --revision-bump > 0"):
        restored(path, config_of("n1", tmp_path / "d"), bump_revision=bump, mark_compacted=mark)


def test_a_directory_in_use_is_left_alone(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "d"
    target.mkdir()
    config = config_of("n1", target)
    restored(path, config)  # an empty one may be there
    with pytest.raises(BackupError, match=r'data-dir ".*d" not empty or could not be read'):
        restored(path, config)


def test_a_broken_off_attempt_leaves_nothing(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()[:-32]
    half = data[: data.index(b"twice")] + b"\xff" * 40 + data[data.index(b"twice") + 40 :]
    config = config_of("n1", tmp_path / "d")
    with pytest.raises(BadDatabase):
        restored(save(tmp_path / "bad", sealed(half)), config)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["backup", "bad"]
    (tmp_path / "d.restoring").mkdir()
    (tmp_path / "d.restoring" / "left").write_bytes(b"x")
    restored(path, config)
    assert not (tmp_path / "d.restoring").exists()


def test_without_a_hash(tmp_path: Path) -> None:
    path = save(tmp_path / "raw", written({b"key": [], b"meta": []}))
    with pytest.raises(BackupError, match="snapshot missing hash but --skip-hash-check=false"):
        Source(path)
    with Source(path, skip_hash_check=True) as source:
        assert source.state().revision == 1


def test_with_a_wrong_hash(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    save(path, bytes(data))
    with pytest.raises(BackupError, match=r"expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"):
        Source(path)
    Source(path, skip_hash_check=True).__exit__(None, None, None)


def kv(key: bytes, main: int, **fields: int) -> tuple[bytes, bytes]:
    message = pb.KeyValue(key=key, create_revision=main, mod_revision=main, version=1)
    for name, value in fields.items():
        setattr(message, name, value)
    return revision_key(main, 0, False), message.SerializeToString()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ((b"short", b""), "is no revision"),
        (kv(b"k", 5, mod_revision=4), "revision 5 holds a version of 4"),
        (kv(b"k", 5, create_revision=6), "revision 5 holds a version of 5"),
        (kv(b"k", 5, version=0), "revision 5 holds version 0"),
        ((revision_key(5, 0, False), b"\xff\xff"), "revision 5 cannot be read"),
    ],
)
def test_records_that_make_no_sense(entry: tuple[bytes, bytes], why: str, tmp_path: Path) -> None:
    path = save(tmp_path / "db", sealed(written({b"key": [entry]})))
    with pytest.raises(BadDatabase, match=why):
        restored(path, config_of("n1", tmp_path / "d"))


def test_what_etcd_leaves_behind(tmp_path: Path) -> None:
    """An unfinished compaction, a place held for a bumped revision, a lease that is gone."""
    path = save(
        tmp_path / "db",
        sealed(
            written(
                {
                    b"key": [
                        kv(b"k", 2),
                        kv(b"k", 3, version=2, create_revision=2),
                        kv(b"leased", 4, lease=99),
                        (revision_key(5, 0, True), pb.KeyValue(key=b"other").SerializeToString()),
                        (revision_key(900, 0, False), GHOST),
                    ],
                    b"meta": [(b"scheduledCompactRev", revision_key(4, 0, False))],
                }
            )
        ),
    )
    config = config_of("n1", tmp_path / "d")
    restored(path, config)
    store = start(config).store
    assert (store.revision, store.compact_revision) == (900, 4)
    settle(store)
    assert store.usage.versions == 3
    assert store.range(Range(b"leased")).kvs[0].lease == 99, "as etcd has it: named, not held"
    store.apply(Put(b"leased", b"again", ignore_lease=True))
    store.apply(DeleteRange(b"leased"))
    with pytest.raises(LeaseNotFound):
        store.apply(Put(b"leased", b"again", 99))
    assert [r for r, events in store.history(4, 902) if events] == [4, 5, 901, 902]


def test_a_backup_with_accounts_is_refused(tmp_path: Path) -> None:
    buckets = {b"auth": [(b"authEnabled", b"\x01")], b"authUsers": [(b"root", b"")], b"key": []}
    path = save(tmp_path / "db", sealed(written(buckets)))
    with pytest.raises(BackupError, match=r"authentication is enabled .*\(1 users\)"):
        restored(path, config_of("n1", tmp_path / "d"))


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = save(tmp_path / "db", sealed(written({b"books": [(b"a", b"b")]})))
    with pytest.raises(BackupError, match="not a backup of etcd"):
        restored(path, config_of("n1", tmp_path / "d"))


def test_pieces_do_not_depend_on_how_they_are_cut() -> None:
    """Nor on restarts in between."""
    whole, cut = Store(), Store()
    tombstones = tuple(KeyValue(b"%04d" % n, 0, 3, 0, b"", 0) for n in range(50))
    born = tuple(KeyValue(b"%04d" % n, 2, 2, 1, b"v", 0) for n in range(50))
    whole.apply(Load(born + tombstones, revision=3))
    for versions in (born, tombstones, ()):
        cut.apply(Load(versions))
        cut.commit()
        cut.shelf.flush()
        cut = Store(cut.shelf)  # as after a restart
    cut.apply(Load(revision=3))
    assert whole.state_digest() == cut.state_digest()
    assert history(whole) == history(cut)
    assert hash_of(whole) == hash_of(cut)
