"""Seeded bugs: each patch under `patches` breaks one rule, and some test must notice.

`python -m tests.mutants` applies them one at a time to a copy of the tree and tells which test, or
which simulated seed, caught each. A rule whose bug survives is a rule that nothing tests.
"""
