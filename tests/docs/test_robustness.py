"""docs/robustness.md speaks of tests that exist, and of all of them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "robustness.md").read_text()


def test_every_test_it_names_exists() -> None:
    named = set(re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)`", TEXT))
    assert len(named) > 10
    for name in named:
        places = [ROOT / name, ROOT / "tests" / "robustness" / name]
        assert any(place.is_file() for place in places), name


def test_every_test_with_real_processes_is_in_its_table() -> None:
    for path in (ROOT / "tests" / "robustness").glob("test_*.py"):
        if "pytest.mark.process" in path.read_text():
            assert f"`{path.name}`" in TEXT, path.name
