"""HTTP/1.1 beside gRPC on the client port, as curl and probes send it."""

from __future__ import annotations

import http.client
import json
import re

import pytest

from cluster.supervisor import LocalCluster

pytestmark = [pytest.mark.process, pytest.mark.slow]

TIMEOUT = 10.0  # seconds


def ask(endpoint: str, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(endpoint, timeout=TIMEOUT)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_health_and_probes_of_every_node(cluster: LocalCluster) -> None:
    for endpoint in cluster.endpoints():
        assert ask(endpoint, "/health") == (200, '{"health":"true","reason":""}')
        assert ask(endpoint, "/health?serializable=true")[0] == 200
        assert ask(endpoint, "/livez") == (200, "ok\n")
        assert ask(endpoint, "/readyz") == (200, "ok\n")


def test_verbose_probes(cluster: LocalCluster) -> None:
    endpoint = cluster.endpoints()[0]
    assert ask(endpoint, "/readyz?verbose") == (
        200,
        "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n",
    )
    assert ask(endpoint, "/readyz/linearizable_read?verbose")[0] == 200
    assert "linearizable" not in ask(endpoint, "/readyz?verbose&exclude=linearizable_read")[1]


def test_version(cluster: LocalCluster) -> None:
    status, body = ask(cluster.endpoints()[0], "/version")
    assert status == 200
    versions = json.loads(body)
    assert versions["etcdserver"].startswith("3.6.")
    assert versions["etcdcluster"].startswith("3.6.")


def test_metrics(cluster: LocalCluster) -> None:
    status, body = ask(cluster.endpoints()[0], "/metrics")
    assert status == 200
    line = re.compile(r'[a-zA-Z_:][\w:]*(\{([a-z_]+="[^"]*",?)*\})? \S+')
    samples = [each for each in body.splitlines() if not each.startswith("#")]
    assert samples
    assert [each for each in samples if line.fullmatch(each) is None] == []


def test_what_is_not_there(cluster: LocalCluster) -> None:
    endpoint = cluster.endpoints()[0]
    assert ask(endpoint, "/v3/kv/range", "POST") == (404, "404 page not found\n")
    assert ask(endpoint, "/") == (404, "404 page not found\n")
    assert ask(endpoint, "/health", "POST")[0] == 405
