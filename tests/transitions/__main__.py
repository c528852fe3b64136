"""`python -m tests.transitions`: which suite takes which transition; writes docs/transitions.md.

Exit code 1 if a transition is taken nowhere.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from textwrap import fill

from racos.core.transitions import NAMES
from tests.transitions.collect import SCHEDULES, SEEDS, SUITES, plays
from tests.transitions.document import PATH, document


def main() -> int:
    by_play = plays()
    in_plays = Counter(name for counts in by_play.values() for name in counts if counts[name])
    counts: dict[str, dict[str, int]] = {name: suite() for name, suite in SUITES.items()}
    head = ("git", "rev-parse", "--short", "HEAD")
    commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    note = (
        f"Counted at {commit}: *plays*: how many of {len(by_play)} take it; *tables*: rows of"
        " `tests/core/test_slot.py` (verdicts only); *exploration*: verdicts asked for in all"
        f" states of n=3, inline and coded; *schedules*: {SCHEDULES} random schedules of the core;"
        f" *seeds*: {SEEDS} seeds of `racos sim`."
    )
    PATH.write_text(document(counts, in_plays, fill(note, 118)))
    nowhere = [name for name in NAMES if not in_plays[name]]
    print(PATH.read_text())
    for name in nowhere:
        print(f"no play takes {name}", file=sys.stderr)
    return bool(nowhere)


if __name__ == "__main__":
    sys.exit(main())
