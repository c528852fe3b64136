"""The suites that mutants are held against, the quickest first."""

from __future__ import annotations

import re

from tests.mutants.workspace import Workspace

SEEDS = 60
_PYTEST = ("-m", "pytest", "-q", "-x", "--tb=no", "-rfE", "-p", "no:cacheprovider")
# An id may hold spaces and dashes within its brackets; then comes " - " and the reason.
_FAILED = re.compile(
    r"^(?:FAILED|ERROR) (tests/\S+?::[^\s\[]+(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE
)
_SLOW_OF_CORE = ("tests/core/test_one_slot.py", "tests/core/test_random_schedules.py")

SUITES: dict[str, tuple[str, ...]] = {
    "plays": ("tests/scenarios",),
    "erasure": ("tests/erasure",),
    "mvcc": ("tests/mvcc",),
    "storage": ("tests/storage",),
    "tables": ("tests/core", *(f"--ignore={path}" for path in _SLOW_OF_CORE)),
    "exploration": ("tests/sim/test_explore_layers.py", "-k", "all_phases"),
    "one slot": _SLOW_OF_CORE[:1],
    "node": ("tests/node",),
    "schedules": _SLOW_OF_CORE[1:],
    "seeds": (),
}


class SuiteError(Exception):
    """A suite neither passed nor failed: what it says about the mutant is worth nothing."""


def run_suite(workspace: Workspace, name: str, seconds: float) -> str | None:
    """What caught the mutant: a test's id or `seed N (invariant)`; None if nothing did.

    A suite that does not end in time has caught nothing. SuiteError if it could not run.
    """
    arguments = (
        ["-m", "tests.mutants.seeds", str(SEEDS)] if name == "seeds" else [*_PYTEST, *SUITES[name]]
    )
    return verdict(name, *workspace.run(arguments, seconds))


def passes(workspace: Workspace, caught_by: str, seconds: float) -> bool:
    """Whether what caught a mutant passes on a tree with nothing broken."""
    seed = re.match(r"seed (\d+)", caught_by)
    arguments = ["-m", "tests.mutants.seeds", "1", seed[1]] if seed else [*_PYTEST, caught_by]
    code, _ = workspace.run(arguments, seconds)
    return code == 0


def verdict(name: str, code: int | None, output: str) -> str | None:
    """What a suite's exit code (None: it did not end in time) and output say; see `run_suite`."""
    if code in (None, 0):
        return None
    found = _FAILED.search(output)
    found = found or re.search(r"^(seed \d+ \(.*\))$", output, re.MULTILINE)
    if code != 1 or found is None:
        raise SuiteError(f"{name}: exit code {code}\n{output[-2000:]}")
    return found[1]
