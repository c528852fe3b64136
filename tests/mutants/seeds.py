"""Simulated seeds up to the first that fails: `python -m tests.mutants.seeds COUNT [FIRST]`."""

from __future__ import annotations

import sys

from racos.sim.campaign import Failure, run_seed


def main() -> int:
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for seed in range(first, first + count):
        result = run_seed(seed)
        if isinstance(result, Failure):
            print(f"seed {seed} ({result.invariant})")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
