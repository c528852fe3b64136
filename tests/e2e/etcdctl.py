"""Runs stock etcdctl against stock etcd and against Racos, and compares what it prints.

Commands are written as one types them. `@N` in a command stands for the revision N after the one
at which the scenario began; printed revisions are compared, and returned, in the same count. Ids,
terms and addresses are left out.
"""

from __future__ import annotations

import json
import re
import select
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import Message

from cluster.find import find_program
from etcdshim.pb import rpc_pb2 as pb
from tests.compat.pair import Server, plain

PATIENCE = 30.0  # seconds for one command

_ENVIRON: Mapping[str, str] = {"ETCDCTL_API": "3"}
_REVISIONS = frozenset(("revision", "create_revision", "mod_revision"))
_FORGOTTEN = frozenset(("cluster_id", "member_id", "raft_term", "ts", "caller", "target", "logger"))
_FORGOTTEN_FIELDS = ("ClusterID", "MemberID", "RaftTerm")
_REVISION_FIELD = re.compile(r"(Prev)?(Create|Mod)?Revision$")
_FIELD = re.compile(r'^"(?P<name>\w+)" : (?P<value>\d+)$')
_PROSE = re.compile(r"(?P<words>revision|notify:) (?P<value>\d+)")
_PROTOBUF: Mapping[str, type[Message]] = {
    "get": pb.RangeResponse,
    "put": pb.PutResponse,
    "del": pb.DeleteRangeResponse,
    "txn": pb.TxnResponse,
}


class Answer(NamedTuple):
    """What a command printed, normalised; json and protobuf as what they hold."""

    code: int
    out: Any
    err: tuple[Any, ...]  # one entry per line; warnings of etcdctl's client are objects

    def error(self) -> str:
        """The last line on stderr, which is what a person reads."""
        return str(self.err[-1])


class Side:
    """One system behind etcdctl, with the revision at which the scenario began."""

    def __init__(self, name: str, endpoints: Sequence[str], channel: grpc.Channel) -> None:
        self.name = name
        self.endpoints = tuple(endpoints)
        self.base = 0
        self._program = find_program("etcdctl")
        self._server = Server(name, channel)

    def begin(self) -> None:
        """No keys from here on, and revisions counted from here."""
        self._server.begin()
        self.base = self._server.base

    def run(self, line: str, given: bytes = b"") -> Answer:
        """What a command prints when its input is `given`."""
        return self.finish(self.start(line), line, given)

    def start(self, line: str) -> subprocess.Popen[bytes]:
        line = re.sub(r"@(\d+)", lambda match: str(self.base + int(match[1])), line)
        words = shlex.split(line)
        named = any(word.startswith("--endpoints") for word in words)
        endpoints = [] if named else [f"--endpoints={','.join(self.endpoints)}"]
        return subprocess.Popen(
            [self._program, *endpoints, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRON,
        )

    def finish(self, process: subprocess.Popen[bytes], line: str, given: bytes) -> Answer:
        given = re.sub(rb"@(\d+)", lambda match: b"%d" % (self.base + int(match[1])), given)
        try:
            out, err = process.communicate(given, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        errors = tuple(self._error(each) for each in err.decode().splitlines())
        return Answer(process.returncode, self._output(line, out), errors)

    def _output(self, line: str, output: bytes) -> Any:
        words = shlex.split(line)
        form = words[words.index("-w") + 1] if "-w" in words else "simple"
        if form == "json":
            return self._json(json.loads(output)) if output else None
        if form == "protobuf" and words[0] in _PROTOBUF:
            return plain(_PROTOBUF[words[0]].FromString(output), self.base) if output else None
        return "".join(self.text(each) for each in output.decode().splitlines(keepends=True))

    def text(self, line: str) -> str:
        """A printed line with revisions counted from the scenario's begin."""
        if line.startswith("{"):
            return json.dumps(self._json(json.loads(line)))
        match = _FIELD.match(line)
        if match is None:
            return _PROSE.sub(
                lambda found: f"{found['words']} {self._relative(int(found['value']))}", line
            )
        if match["name"] in _FORGOTTEN_FIELDS:
            return f'"{match["name"]}" : _\n'
        if _REVISION_FIELD.match(match["name"]):
            return f'"{match["name"]}" : {self._relative(int(match["value"]))}\n'
        return line

    def _error(self, line: str) -> Any:
        return self._json(json.loads(line)) if line.startswith("{") else self.text(line)

    def _json(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._json(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: self._relative(each) if name in _REVISIONS else self._json(each)
            for name, each in value.items()
            if name not in _FORGOTTEN
        }

    def _relative(self, revision: int) -> int:
        return revision - self.base if revision > 0 else revision


class Both:
    """The same commands to both systems."""

    def __init__(self, etcd: Side, racos: Side) -> None:
        self.etcd = etcd
        self.racos = racos
        for side in (etcd, racos):
            side.begin()

    def run(self, line: str, given: bytes = b"", *, code: int = 0) -> Answer:
        """The answer that both gave; fails when they differ or end with another exit code."""
        sides = (self.etcd, self.racos)
        processes = [side.start(line) for side in sides]
        wanted, answer = (
            side.finish(process, line, given)
            for side, process in zip(sides, processes, strict=True)
        )
        assert answer == wanted, f"{line}\netcd:  {wanted}\nracos: {answer}"
        assert answer.code == code, answer
        return answer

    def play(self, script: str) -> list[Answer]:
        """Runs a script, a command a line; a line that begins with `!` has to fail."""
        answers = []
        for line in script.strip().splitlines():
            line = line.strip()
            fails = line.startswith("!")
            answers.append(self.run(line.removeprefix("!").strip(), code=1 if fails else 0))
        return answers

    def watch(self, line: str, *, lines: int, given: Sequence[bytes] = ()) -> Watching:
        return Watching(self, line, lines, given)


class Watching:
    """A watch on both, ended once both printed the lines expected; then they are compared."""

    def __init__(self, both: Both, line: str, lines: int, given: Sequence[bytes]) -> None:
        self._sides = (both.etcd, both.racos)
        self._line = line
        self._lines = lines
        self._given = given
        self.out: list[str] = []

    def __enter__(self) -> Watching:
        self._processes = [side.start(self._line) for side in self._sides]
        for process in self._processes:
            self.say(process, *self._given)
        return self

    @staticmethod
    def say(process: subprocess.Popen[bytes], *lines: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(b"".join(line + b"\n" for line in lines))
        process.stdin.flush()

    def until(self, lines: int) -> list[str]:
        """Waits until both printed that many more lines, which must be equal; returns them."""
        printed = [
            [side.text(line) for line in read_lines(process, lines)]
            for side, process in zip(self._sides, self._processes, strict=True)
        ]
        assert printed[0] == printed[1], f"etcd:  {printed[0]}\nracos: {printed[1]}"
        return printed[1]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.out = self.until(self._lines)
        finally:
            for process in self._processes:
                process.kill()
                process.communicate()


def read_lines(process: subprocess.Popen[bytes], count: int) -> list[str]:
    assert process.stdout is not None
    poller = select.poll()
    poller.register(process.stdout, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    lines: list[str] = []
    while len(lines) < count:
        line = b""
        while not line.endswith(b"\n"):
            assert poller.poll(max(0.0, deadline - time.monotonic()) * 1000), (
                f"only {lines} of {count} lines in {PATIENCE:g} s"
            )
            # One byte at a time from the descriptor: a buffered read would take what poll watches.
            piece = process.stdout.raw.read(1)  # type: ignore[attr-defined]
            assert piece, f"ended after {lines}: {process.communicate()[1].decode()}"
            line += piece
        lines.append(line.decode())
    return lines
