from __future__ import annotations

from math import comb, sqrt
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.theory import binomial_test, fisher_test, wilson_interval

Z = NormalDist().inv_cdf(0.975)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bounds_are_the_chances_at_which_the_share_is_z_deviations_off(
    counts: tuple[int, int],
) -> None:
    s, n = counts
    low, high = wilson_interval(s, n)
    assert 0 <= low <= s / n <= high <= 1
    for p in (low, high):
        if 1e-9 < p < 1 - 1e-9:
            assert abs(s / n - p) == pytest.approx(Z * sqrt(p * (1 - p) / n), rel=1e-6)


def test_at_no_and_at_all_successes_it_is_closed() -> None:
    # p (1 + z²/n) = z²/n
    high = Z**2 / 10 / (1 + Z**2 / 10)
    assert wilson_interval(0, 10) == (0.0, pytest.approx(high, abs=1e-15))
    assert wilson_interval(10, 10) == (pytest.approx(1 - high, abs=1e-15), 1.0)


def test_known_values() -> None:
    # Newcombe (1998), table I: 81 of 263 and 15 of 148.
    assert wilson_interval(81, 263) == (
        pytest.approx(0.2553, abs=5e-5),
        pytest.approx(0.3662, abs=5e-5),
    )
    assert wilson_interval(15, 148) == (
        pytest.approx(0.0624, abs=5e-5),
        pytest.approx(0.1605, abs=5e-5),
    )


def test_more_confidence_is_wider() -> None:
    low, high = wilson_interval(18, 32, 0.5)
    assert (
        wilson_interval(18, 32, 0.99)[0] < low < 18 / 32 < high < wilson_interval(18, 32, 0.99)[1]
    )


@pytest.mark.parametrize(("s", "n"), [(-1, 3), (4, 3)])
def test_counts_out_of_range(s: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{s} successes of {n}"):
        wilson_interval(s, n)


def test_confidence_out_of_range() -> None:
    with pytest.raises(ValueError, match="confidence is 95"):
        wilson_interval(1, 2, 95)


def test_fisher_by_counting_all_tables() -> None:
    for s, n, r, m in ((3, 5, 1, 6), (0, 4, 4, 4), (2, 2, 0, 9), (5, 8, 5, 8)):
        whole = s + r
        tables = {k: comb(n, k) * comb(m, whole - k) for k in range(n + 1) if 0 <= whole - k <= m}
        expected = sum(w for w in tables.values() if w <= tables[s]) / comb(n + m, whole)
        assert fisher_test(s, n, r, m) == pytest.approx(expected, rel=1e-12)
        assert fisher_test(r, m, s, n) == pytest.approx(expected, rel=1e-12)
    # Fisher's lady tasting tea: 3 of 4 cups right.
    assert fisher_test(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert fisher_test(500, 1000, 500, 1000) == 1.0


def test_binomial_by_adding_up() -> None:
    weights = [comb(12, k) * 0.3**k * 0.7 ** (12 - k) for k in range(13)]
    for s in range(13):
        expected = sum(w for w in weights if w <= weights[s] * (1 + 1e-9))
        assert binomial_test(s, 12, 0.3) == pytest.approx(expected)
    assert (binomial_test(0, 9, 0.0), binomial_test(1, 9, 0.0)) == (1.0, 0.0)
    assert (binomial_test(9, 9, 1.0), binomial_test(8, 9, 1.0)) == (1.0, 0.0)


def test_tests_refuse_what_is_no_count() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        fisher_test(5, 4, 0, 4)
    with pytest.raises(ValueError, match="-1 successes"):
        binomial_test(-1, 4, 0.5)
    with pytest.raises(ValueError, match="chance is 50"):
        binomial_test(1, 4, 50)
