"""Transactions of stock etcdctl, typed as one types them: compares, then, else."""

from __future__ import annotations

import pytest

from tests.e2e.etcdctl import Both

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def seeded(both: Both) -> Both:
    both.play("put a 1\nput b 2\nput b 3")
    return both


def typed(compares: str, then: str = "get a", otherwise: str = "get b") -> bytes:
    """The three paragraphs that etcdctl reads, each ended by an empty line."""
    first = f"{compares}\n\n" if compares else "\n"
    return f"{first}{then}\n\n{otherwise}\n\n".encode()


# No lease compares: etcdctl 3.5.1 itself panics on them. tests/compat sends such calls.
@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        ('value("a") = "1"', True),
        ('val("a") = "2"', False),
        ('value("a") < "2"', True),
        ('value("a") > "1"', False),
        ('version("b") = "2"', True),
        ('ver("b") > "1"', True),
        ('ver("b") < "2"', False),
        ('create("b") = "@2"', True),
        ('c("b") > "@2"', False),
        ('mod("b") = "@3"', True),
        ('m("b") < "@3"', False),
        ('version("missing") = "0"', True),
        ('create("missing") = "0"', True),
        ('mod("missing") = "0"', True),
        ('value("missing") = ""', False),
        ('value("a") = "1"\nmod("b") > "@2"', True),
        ('value("a") = "1"\nmod("b") > "@3"', False),
    ],
)
def test_compares(seeded: Both, compare: str, holds: bool) -> None:
    out = seeded.run("txn", typed(compare)).out
    assert out == ("SUCCESS\n\na\n1\n" if holds else "FAILURE\n\nb\n3\n")


@pytest.mark.parametrize("form", ["simple", "json", "fields", "protobuf"])
def test_operations_see_each_other_and_share_a_revision(seeded: Both, form: str) -> None:
    steps = "put x 1\nget x\nput y 2\ndel b --prev-kv\nget a y\nget a --rev=@1\ndel none"
    seeded.run(f"txn -w {form}", typed("", steps))
    seeded.run(f"get '' --prefix -w {form}")


def test_prompts_of_the_interactive_mode(seeded: Both) -> None:
    out = seeded.run("txn -i", typed('mod("a") > "0"', "put a 2")).out
    assert out.endswith("SUCCESS\n\nOK\n")
    out = seeded.run("txn --interactive", typed('mod("a") = "0"', "put a 3", "del a")).out
    assert out.endswith("FAILURE\n\n1\n")


def test_a_transaction_that_changes_nothing_takes_no_revision(seeded: Both) -> None:
    seeded.run("txn", typed('mod("a") = "0"', "put a 2"))
    seeded.run("txn", typed("", "del nothing"))
    assert seeded.run("get a -w json").out["header"]["revision"] == 3


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ("put x 1\nput x 2", "etcdserver: duplicate key given in txn request"),
        ("put x 1\ndel x --prefix", "etcdserver: duplicate key given in txn request"),
        ('put "" 1', "etcdserver: key is not provided"),
        ("put x 1\nget a --rev=@99", "etcdserver: mvcc: required revision is a future revision"),
        (
            "\n".join(f"put k{i} v" for i in range(129)),
            "etcdserver: too many operations in txn request",
        ),
    ],
    ids=["duplicate", "put in deleted range", "empty key", "future revision", "129 puts"],
)
def test_what_the_server_refuses(seeded: Both, steps: str, told: str) -> None:
    assert seeded.run("txn", typed("", steps), code=1).error() == f"Error: {told}"
    assert seeded.run("get '' --prefix -w json").out["header"]["revision"] == 3


def test_128_operations_pass(seeded: Both) -> None:
    steps = "\n".join(f"put k{i:03} v" for i in range(128))
    assert seeded.run("txn", typed("", steps)).out.count("OK") == 128
    seeded.run("get k --prefix -w json")
