"""Clusters of real processes for these tests; a failure shows what their nodes logged."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from cluster.supervisor import LocalCluster, State

_LOG_LINES = 40


@pytest.fixture
def three() -> Iterator[LocalCluster]:
    """Three nodes, started and ready."""
    with _cluster(3) as cluster:
        yield cluster


@pytest.fixture
def five() -> Iterator[LocalCluster]:
    """Five nodes, started and ready."""
    with _cluster(5) as cluster:
        yield cluster


@contextmanager
def _cluster(n: int) -> Iterator[LocalCluster]:
    with LocalCluster(n) as cluster:
        yield cluster
        assert_healthy(cluster)


def assert_healthy(cluster: LocalCluster) -> None:
    """No node ended unless a test killed it (and said so by `kill`), and none logged an error."""
    for name in cluster.names:
        text = cluster.log_path(name).read_text(errors="replace")
        bad = [line for line in text.splitlines() if "CRITICAL" in line or "Traceback" in line]
        assert not bad, f"{name} logged:\n{text[text.index(bad[0]) :][:4000]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the logs of the test's cluster to a failure."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, LocalCluster) and value.directory.exists():
                report.sections.extend(_logs(value))
    return report


def _logs(cluster: LocalCluster) -> Iterator[tuple[str, str]]:
    for name in cluster.names:
        text = cluster.log_path(name).read_text(errors="replace")
        state = "gone" if cluster.state(name) is State.GONE else "there"
        yield f"{name} ({state}), end of log", "\n".join(text.splitlines()[-_LOG_LINES:])
