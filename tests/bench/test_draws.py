"""Are the draws what their names say: counted over many, against the exact probabilities."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from bench.draws import DISTRIBUTIONS, EXPONENT, Zipf, drawer

_DRAWS = 40_000


def counts(distribution: str, count: int, seed: int = 5) -> Counter[int]:
    draw = drawer(distribution, count, random.Random(seed))
    return Counter(draw() for _ in range(_DRAWS))


def chi_square(seen: list[int], expected: list[float]) -> float:
    return sum((got - want) ** 2 / want for got, want in zip(seen, expected, strict=True))


def zipf_expectation(count: int) -> list[float]:
    weights = [(rank + 1) ** -EXPONENT for rank in range(count)]
    return [_DRAWS * weight / sum(weights) for weight in weights]


# The 99.9th percentile of chi-square with 19 degrees of freedom; the seed is fixed.
_LIMIT_19 = 43.8


def test_uniform_is_uniform() -> None:
    seen = counts("uniform", 20)
    assert chi_square([seen[index] for index in range(20)], [_DRAWS / 20] * 20) < _LIMIT_19


def test_latest_counts_back_with_zipfs_law() -> None:
    seen = counts("latest", 20)
    assert chi_square([seen[back] for back in range(20)], zipf_expectation(20)) < _LIMIT_19


def test_zipfian_has_the_law_but_scattered_favourites() -> None:
    seen = counts("zipfian", 20)
    ranked = sorted(seen.values(), reverse=True)
    assert chi_square(ranked, zipf_expectation(20)) < _LIMIT_19
    assert [index for index, _ in seen.most_common(5)] != [0, 1, 2, 3, 4]


def test_a_tenth_of_the_keys_gets_three_quarters() -> None:
    seen = counts("zipfian", 10_000)
    share = sum(count for _, count in seen.most_common(1000)) / _DRAWS
    assert 0.7 < share < 0.82


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_draws_stay_within_and_follow_the_seed(distribution: str) -> None:
    assert all(0 <= index < 7 for index in counts(distribution, 7))
    assert counts(distribution, 50) == counts(distribution, 50)
    assert counts(distribution, 50) != counts(distribution, 50, seed=6)
    assert set(counts(distribution, 1)) == {0}


def test_refusals() -> None:
    with pytest.raises(ValueError, match="unknown distribution 'normal'"):
        drawer("normal", 3, random.Random(1))
    with pytest.raises(ValueError, match="at least one"):
        Zipf(0, random.Random(1))
