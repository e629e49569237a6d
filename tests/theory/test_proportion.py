from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.theory import wilson_interval

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
