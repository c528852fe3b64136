"""What etcdctl shows of the cluster, and what it is told of the services that are not built."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from cluster.find import find_program
from cluster.supervisor import LocalCluster

pytestmark = [pytest.mark.process, pytest.mark.slow]

TIMEOUT = 30.0  # seconds for one command


def etcdctl(cluster: LocalCluster, *words: str, code: int = 0) -> str:
    """stdout of a command to all nodes that ends with `code`; of a failing one stderr too."""
    named = any(word.startswith("--endpoints") for word in words)
    endpoints = [] if named else [f"--endpoints={','.join(cluster.endpoints())}"]
    done = subprocess.run(
        [find_program("etcdctl"), *endpoints, *words],
        env={"ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr if code else done.stdout


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_endpoint_status(cluster: LocalCluster) -> None:
    etcdctl(cluster, "put", "status", "x")
    answers: list[dict[str, Any]] = json.loads(etcdctl(cluster, "endpoint", "status", "-w", "json"))
    statuses = [answer["Status"] for answer in answers]
    assert [answer["Endpoint"] for answer in answers] == cluster.endpoints()
    for status in statuses:
        assert status["version"].startswith("3.6.")
        assert status["raftIndex"] > 0
        assert status["raftTerm"] > 0
        assert status["dbSize"] >= status["dbSizeInUse"] > 0
        assert "errors" not in status
    headers = [status["header"] for status in statuses]
    assert len({header["cluster_id"] for header in headers}) == 1
    assert len({header["member_id"] for header in headers}) == 3
    (leader,) = {status["leader"] for status in statuses}
    assert leader in {header["member_id"] for header in headers}


def test_endpoint_status_as_a_table(cluster: LocalCluster) -> None:
    head, *nodes = rows(etcdctl(cluster, "endpoint", "status", "-w", "table"))
    assert head[0] == "ENDPOINT"
    assert [row[0] for row in nodes] == cluster.endpoints()
    assert [row[head.index("IS LEADER")] for row in nodes].count("true") == 1
    assert [row[head.index("ERRORS")] for row in nodes] == [""] * 3


def test_every_form_of_status_and_of_the_members(cluster: LocalCluster) -> None:
    for form in ("simple", "json", "fields", "table"):
        assert etcdctl(cluster, "endpoint", "status", "--cluster", "-w", form)
        assert etcdctl(cluster, "endpoint", "health", "--cluster", "-w", form)
        assert etcdctl(cluster, "member", "list", "-w", form)


def test_endpoint_health(cluster: LocalCluster) -> None:
    answers = json.loads(etcdctl(cluster, "endpoint", "health", "-w", "json"))
    assert sorted(answer["endpoint"] for answer in answers) == sorted(cluster.endpoints())
    assert all(answer["health"] for answer in answers)


def test_member_list(cluster: LocalCluster) -> None:
    answer = json.loads(etcdctl(cluster, "member", "list", "-w", "json"))
    members = {member["name"]: member for member in answer["members"]}
    for node in cluster.spec.nodes:
        assert members[node.name]["peerURLs"] == [node.peer_url]
        assert members[node.name]["clientURLs"] == [f"http://{node.endpoint}"]
    for each in cluster.endpoints():
        again = etcdctl(cluster, f"--endpoints={each}", "member", "list", "-w", "json")
        assert json.loads(again)["members"] == answer["members"]


def test_member_list_as_a_table(cluster: LocalCluster) -> None:
    head, *members = rows(etcdctl(cluster, "member", "list", "-w", "table"))
    assert head == ["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"]
    assert sorted(row[2] for row in members) == list(cluster.names)
    assert {row[1] for row in members} == {"started"}


def test_no_alarms(cluster: LocalCluster) -> None:
    assert etcdctl(cluster, "alarm", "list") == ""
    assert etcdctl(cluster, "alarm", "disarm") == ""


@pytest.mark.parametrize(
    ("line", "code", "what"),
    [
        ("auth enable", 1, "Auth.AuthEnable"),
        ("user add root:pw", 1, "Auth.UserAdd"),
        ("role list", 1, "Auth.RoleList"),
        ("member add x --peer-urls=http://127.0.0.1:1", 1, "Cluster.MemberAdd"),
        ("member remove 1234", 1, "Cluster.MemberRemove"),
        ("move-leader 1234", 1, "Maintenance.MoveLeader"),
    ],
)
def test_what_is_not_built_says_so(cluster: LocalCluster, line: str, code: int, what: str) -> None:
    told = etcdctl(cluster, *line.split(), code=code).splitlines()[-1]
    assert f"{what} is not supported yet" in told
    assert "Unimplemented" in told


def test_hashes_are_equal_on_all_members(cluster: LocalCluster) -> None:
    etcdctl(cluster, "put", "hashed", "x")
    answers = json.loads(etcdctl(cluster, "endpoint", "hashkv", "-w", "json"))
    assert [answer["Endpoint"] for answer in answers] == cluster.endpoints()
    assert len({answer["HashKV"]["hash"] for answer in answers}) == 1


def test_defragmentation_answers_at_once(cluster: LocalCluster) -> None:
    told = etcdctl(cluster, "defrag")
    expected = [f"Finished defragmenting etcd member[{each}]" for each in cluster.endpoints()]
    assert told.splitlines() == expected
