"""docs/transitions.md, from the code's own list of transitions."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from racos.core import transitions
from racos.core.transitions import ANY, TRANSITIONS, Transition

PATH: Final = Path(__file__).parents[2] / "docs" / "transitions.md"

# A play in which to read how it goes.
EXAMPLES: Final = {
    "stores": "healthy",
    "stores_late": "coin_one",
    "holds_more": "fast_and_slow",
    "asks_rebuild": "owner_dies_n3",
    "widened": "widened",
    "says_zero": "owner_dies_n3",
    "waits_rest": "coin",
    "waits_cover": "fast_and_slow",
    "votes_1_no_zero": "one_down",
    "votes_1_majority": "owner_dies_n5",
    "votes_0": "split_twice",
    "votes_unsure_split": "coin",
    "votes_unsure_cover": "cover_given_up",
    "votes_1_later": "coin_one",
    "votes_0_later": "coin",
    "votes_unsure_later": "split_twice",
    "follows_1": "unsure_then_restart",
    "follows_0": "split_twice",
    "coin_1": "coin_one",
    "coin_0": "coin",
    "coin_1_given_up": "owner_dies_n5",
    "fast": "healthy",
    "voted_one": "one_down",
    "voted_zero": "coin",
}

_NODES: Final = {
    transitions.SILENT: "silent",
    transitions.ONE: "one",
    transitions.ZERO: "zero",
    transitions.VOTED: "voted",
    transitions.LATER: "later",
    transitions.VOTED_LATER: "voted_later",
    transitions.DECIDED_ONE: "decided_one",
    transitions.DECIDED_ZERO: "decided_zero",
    ANY: "undecided",
}

_HEAD: Final = """# Transitions of a slot

Written by `python -m tests.transitions` from the list in `racos/core/transitions.py`, by whose
names the code counts what it does (`racos_agreement` on `/metrics`, and the last lines of `racos
sim`). The numbered rules are those of [the protocol](protocol.md); a play is a text under
`tests/scenarios` in which to read how it goes.

"""
_AFTER_DIAGRAM: Final = """
Besides, a slot may be told its decision (DECIDE, or decided history), or be passed over by a link
of its owner. What changes neither place nor promise is in the table only.

"""


def diagram() -> str:
    """Places and the transitions between them, as a mermaid flowchart."""
    edges: dict[tuple[str, str], list[Transition]] = {}
    for transition in TRANSITIONS:
        if transition.target != ANY:
            for source in transition.sources:
                edges.setdefault((source, transition.target), []).append(transition)
    lines = ["```mermaid", "flowchart TD", "    subgraph undecided"]
    lines += [
        f'        {node}["{place}"]'
        for place, node in _NODES.items()
        if place != ANY and not place.startswith("decided")
    ]
    lines.append("    end")
    lines += [
        f'    {node}(["{place}"])' for place, node in _NODES.items() if place.startswith("decided")
    ]
    for (source, target), group in edges.items():
        text = "<br>".join(f"{each.name} ({each.rule})" for each in group)
        lines.append(f'    {_NODES[source]} -->|"{text}"| {_NODES[target]}')
    return "\n".join([*lines, "```"]) + "\n"


def row(transition: Transition) -> str:
    """The part of a table row that the code alone decides."""
    sources = ", ".join(transition.sources)
    target = "the same" if transition.target == ANY else transition.target
    return (
        f"| {transition.name} | {transition.rule} | {sources} | {target} | {transition.when} "
        f"| `{EXAMPLES[transition.name]}` |"
    )


def document(counts: dict[str, dict[str, int]], plays: dict[str, int], note: str) -> str:
    """`counts`: how often, by suite and transition. `plays`: how many plays take it."""
    table = [
        "| transition | rule | from | to | when / what is said | read | plays | "
        + " | ".join(counts)
        + " |",
        "|---|---|---|---|---|---|" + "---|" * (len(counts) + 1),
    ]
    for transition in TRANSITIONS:
        taken = [plays[transition.name], *(suite[transition.name] for suite in counts.values())]
        table.append(f"{row(transition)} {' | '.join(f'{n:,}' for n in taken)} |")
    parts = [_HEAD, diagram(), _AFTER_DIAGRAM, "\n".join(table), "\n\n", note, "\n"]
    return "".join(parts)
