"""A copy of the tree that is broken and mended again, one mutant at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant

PARTS = ("racos", "etcdshim", "cluster", "tests", "proto", "setup.cfg", "docs")


class DoesNotApply(Exception):
    """The tree has moved on: the patch must be made anew, or the rule is gone."""


class Workspace:
    """`folder` must be empty."""

    def __init__(self, folder: Path, source: Path = ROOT) -> None:
        self.folder = folder
        for part in PARTS:
            if (source / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(source / part, folder / part, ignore=ignored)
            else:
                shutil.copy2(source / part, folder / part)

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """The tree with one rule broken. DoesNotApply if it is not the one the patch was made of.

        Context lines must match exactly: a hunk that landed elsewhere would break another rule.
        """
        self._apply(mutant, "--whitespace=nowarn")
        try:
            self._compile(mutant)
            yield
        finally:
            self._apply(mutant, "--reverse", "--whitespace=nowarn")
            self._forget_compiled(mutant)

    def _apply(self, mutant: Mutant, *options: str) -> None:
        done = subprocess.run(
            ["git", "apply", *options, str(mutant.patch)],
            cwd=self.folder,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.folder.parent)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise DoesNotApply(f"{mutant.name}: {done.stderr.strip()}")

    def _compile(self, mutant: Mutant) -> None:
        self._forget_compiled(mutant)
        for name in mutant.files:
            source = (self.folder / name).read_text(encoding="utf-8")
            try:
                compile(source, name, "exec")
            except SyntaxError as error:
                raise DoesNotApply(f"{mutant.name}: {error}") from error

    def _forget_compiled(self, mutant: Mutant) -> None:
        """A cache is known by size and time in seconds: equal ones would hide the change."""
        for name in mutant.files:
            Path(cache_from_source(str(self.folder / name))).unlink(missing_ok=True)

    def run(self, arguments: Sequence[str], seconds: float) -> tuple[int | None, str]:
        """Run a Python command in the copy: exit code (None: killed at the deadline), output."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "1000"}
        environment.pop("PYTEST_ADDOPTS", None)
        command = [sys.executable, *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return None, ""
        return done.returncode, done.stdout
