"""A seeded bug: a patch with a head that says what it breaks, and where the rule is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent / "patches"


class Mutant(NamedTuple):
    name: str
    patch: Path
    rule: str  # as it holds in the sound tree
    document: str  # path, or path and heading: where the rule is written
    suites: tuple[str, ...]  # expected to catch it
    files: tuple[str, ...]  # that the patch changes


def load(path: Path) -> Mutant:
    """Read a patch. ValueError if a line of its head is missing."""
    text = path.read_text(encoding="utf-8")
    return Mutant(
        path.stem,
        path,
        _field(path, text, "Rule"),
        _field(path, text, "Document"),
        tuple(_field(path, text, "Suites").split(", ")),
        tuple(re.findall(r"^\+\+\+ b/(\S+)$", text, flags=re.MULTILINE)),
    )


def _field(path: Path, text: str, name: str) -> str:
    found = re.search(rf"^{name}: (.+)$", text, flags=re.MULTILINE)
    if found is None:
        raise ValueError(f"{path.name} has no line '{name}: ..' in its head")
    return found[1]


def load_all(names: Sequence[str] = ()) -> list[Mutant]:
    """All mutants, or those named, by name. ValueError for a name that does not exist."""
    mutants = {path.stem: load(path) for path in sorted(PATCHES.glob("*.patch"))}
    unknown = [name for name in names if name not in mutants]
    if unknown:
        raise ValueError(f"no such mutant: {', '.join(unknown)}")
    return [mutant for name, mutant in mutants.items() if not names or name in names]
