"""`etcdctl make-mirror` moves keys from stock etcd to Racos and back, and follows changes."""

from __future__ import annotations

import pytest

from tests.e2e.etcdctl import Both, read_lines

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize("from_racos", [True, False], ids=["out of Racos", "into Racos"])
def test_a_mirror_copies_and_follows(both: Both, from_racos: bool) -> None:
    source, target = (both.racos, both.etcd) if from_racos else (both.etcd, both.racos)
    for number in range(3):
        source.run(f"put mirrored/{number} {number}")
    seen = target.start("watch copy/ --prefix --rev=@1")
    mirror = source.start(
        f"make-mirror {target.endpoints[0]} --prefix mirrored/ --dest-prefix copy/"
    )
    try:
        copied = [f"{part}\n" for number in range(3) for part in ("PUT", f"copy/{number}", number)]
        assert read_lines(seen, len(copied)) == copied
        source.run("put mirrored/later x")
        assert read_lines(seen, 3) == ["PUT\n", "copy/later\n", "x\n"]
        source.run("del mirrored/0")
        assert read_lines(seen, 3) == ["DELETE\n", "copy/0\n", "\n"]
    finally:
        for process in (mirror, seen):
            process.kill()
            process.communicate()
