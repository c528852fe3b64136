"""The language of the plays: a text of comments, commands and what came of each.

    # A story.                       kept
    > propose 0 hello                a command
      0 writes PAY r0.l0 ...         what happened: indented lines, compared or rewritten

Commands (R is a replica, numbered as its lane; A and B may be `*`):

    cluster n=3 f=1 k=2 [window=16] [off_after=5000]
                                     a new cluster, reservations made; lanes are switched off after
                                     so many ms of suspicion
    queue n=3 f=1 k=1                a new cluster of the queue engine
    propose R NAME [inline]          coded unless inline
    deliver|drop [A->B] [KIND]       of what is in flight now, in order
    sync [R]                         make the log durable
    tick 300ms                       time passes, in steps of 10 ms
    crash R.. | restart R..          what was not synced is lost; `all` for R
    wipe R [fresh]                   the disk of one that has crashed is lost; `fresh`: the new one
                                     does not show that there was another
    cut A->B | mend                  lose everything from A to B; undo all cuts
    rebuild                          gather fragments and rebuild what was wanted
    settle [300ms]                   deliver, sync and rebuild everything; only outcomes are told
    read R                           a linearizable read
    log R | show [R] | flight        look at the durable log, the slots, the messages under way
    count                            from here on decisions tell their cost
"""

from __future__ import annotations

import re
from collections.abc import Callable

from racos.core.effects import Chunk
from racos.core.messages import Message
from tests.scenarios.queue_stage import QueueStage
from tests.scenarios.stage import Stage

INDENT = "  "


class Play:
    """Runs one text, command by command."""

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._commands: dict[str, Callable[[list[str]], None]] = {
            "propose": self._propose,
            "deliver": self._deliver,
            "drop": self._drop,
            "sync": self._sync,
            "tick": self._tick,
            "crash": self._crash,
            "restart": self._restart,
            "wipe": self._wipe,
            "cut": self._cut,
            "mend": self._mend,
            "rebuild": self._rebuild,
            "settle": self._settle,
            "read": self._read,
            "log": self._log,
            "show": self._show,
            "flight": self._flight,
            "count": self._count,
        }

    @property
    def stage(self) -> Stage:
        assert self._stage is not None, "a play begins with `cluster`"
        return self._stage

    def run(self, text: str) -> str:
        """The text with what happened in the place of what it says has happened."""
        result: list[str] = []
        for line in text.splitlines():
            if line.startswith(INDENT):
                continue
            result.append(line)
            if line.startswith("> "):
                result.extend(INDENT + said for said in self.command(line[2:]))
        return "\n".join(result) + "\n"

    def command(self, line: str) -> list[str]:
        """Carry out one command; what happened."""
        name, *words = line.split()
        if name in ("cluster", "queue"):
            self._cluster(words, QueueStage if name == "queue" else Stage)
        else:
            self._commands[name](words)
        lines, self.stage.lines = self.stage.lines, []
        return lines

    def _cluster(self, words: list[str], kind: type[Stage]) -> None:
        value = {key: int(number) for key, number in (word.split("=") for word in words)}
        window, off_after_ms = value.get("window", 16), value.get("off_after", 5000)
        self._stage = kind(value["n"], value["f"], value["k"], window, off_after_ms / 1000)

    def _replicas(self, words: list[str]) -> list[int]:
        if words in ([], ["all"]):
            return list(range(self.stage.quorum.total))
        return [int(word) for word in words]

    def _propose(self, words: list[str]) -> None:
        lane = int(words[0])
        if self.stage.propose(lane, words[1].encode(), coded="inline" not in words) is None:
            self.stage.say(f"{lane} finds no round")
        self.stage.finish(lane)

    def _chosen(self, words: list[str]) -> list[tuple[int, int, Message | Chunk]]:
        sender = receiver = -1
        name = ""
        for word in words:
            match = re.fullmatch(r"(\d|\*)->(\d|\*)", word)
            if match:
                sender, receiver = (-1 if end == "*" else int(end) for end in match.groups())
            else:
                name = word
        chosen = self.stage.take(self.stage.matching(sender, receiver, name))
        if not chosen:
            self.stage.say("(no such message)")
        return chosen

    def _deliver(self, words: list[str]) -> None:
        for entry in self._chosen(words):
            self.stage.carry(entry)

    def _drop(self, words: list[str]) -> None:
        for sender, receiver, message in self._chosen(words):
            text = self.stage.text(message)
            self.stage.say(f"lost {sender}->{receiver} {text}")

    def _sync(self, words: list[str]) -> None:
        for lane in self._replicas(words):
            self.stage.sync_one(lane)

    def _tick(self, words: list[str]) -> None:
        self.stage.pass_time(_seconds(words[0]))

    def _crash(self, words: list[str]) -> None:
        for lane in self._replicas(words):
            node = self.stage.nodes[lane]
            for record in node.log[node.synced :]:
                text = self.stage.record_text(record)
                if text is not None:
                    self.stage.say(f"{lane} forgets {text}")
            node.crash()

    def _restart(self, words: list[str]) -> None:
        for lane in self._replicas(words):
            self.stage.forget(lane)
            self.stage.nodes[lane].start()
        for lane in range(self.stage.quorum.total):
            self.stage.finish(lane)

    def _wipe(self, words: list[str]) -> None:
        self.stage.nodes[int(words[0])].wipe(fresh="fresh" in words)

    def _cut(self, words: list[str]) -> None:
        sender, receiver = words[0].split("->")
        self.stage.cut.add((int(sender), int(receiver)))

    def _mend(self, _words: list[str]) -> None:
        self.stage.cut.clear()

    def _rebuild(self, _words: list[str]) -> None:
        self.stage.rebuild_all()

    def _settle(self, words: list[str]) -> None:
        self.stage.settle(_seconds(words[0]) if words else 0.3)

    def _read(self, words: list[str]) -> None:
        ticket = self.stage.nodes[int(words[0])].read()
        self.stage.say(f"read {ticket} arrives at {words[0]}")
        self.stage.finish(int(words[0]))

    def _log(self, words: list[str]) -> None:
        node = self.stage.nodes[int(words[0])]
        for index, record in enumerate(node.log):
            text = self.stage.record_text(record)
            if text is not None:
                self.stage.say(text if index < node.synced else f"{text} (not synced)")

    def _show(self, words: list[str]) -> None:
        for lane in self._replicas(words):
            self.stage.show(lane)

    def _flight(self, _words: list[str]) -> None:
        for sender, receiver, message in self.stage.flight:
            text = self.stage.text(message)
            self.stage.say(f"{sender}->{receiver} {text}")

    def _count(self, _words: list[str]) -> None:
        self.stage.count()


def _seconds(word: str) -> float:
    assert word.endswith("ms"), f"{word}: times are given as 300ms"
    return int(word.removesuffix("ms")) / 1000
