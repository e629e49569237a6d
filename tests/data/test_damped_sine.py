from __future__ import annotations

import numpy as np
import pytest

from toyml.data import DampedSine, damped_sine


def test_the_curve_is_the_lectures() -> None:
    x = np.arange(-10, 10, 0.1)
    found_x, found_y = DampedSine().arrays()
    assert np.array_equal(found_x[:, 0].numpy(), x)
    assert np.array_equal(found_y[:, 0].numpy(), np.sin(3 * x) * np.exp(-x / 8))
    assert float(found_y.abs().min()) == pytest.approx(1.1e-13, abs=5e-15)


def test_flipped_reverses_the_values_over_the_same_points() -> None:
    x, y = damped_sine()
    other_x, other_y = damped_sine(flipped=True)
    assert np.array_equal(x, other_x)
    assert np.array_equal(y[::-1], other_y)


def test_the_control_is_odd_on_a_symmetric_grid() -> None:
    x, y = damped_sine(symmetric=True)
    np.testing.assert_allclose(x, -x[::-1], atol=1e-14)
    np.testing.assert_allclose(y, -y[::-1], atol=1e-13)
    assert np.diff(x[:, 0]) == pytest.approx(0.1)


@pytest.mark.parametrize("n", [2, 7, 50, 333])
def test_a_number_of_points_is_kept(n: int) -> None:
    x, _ = DampedSine(n=n, length=3.0).arrays()
    assert len(x) == n
    assert float(x[0]) == -3.0


def test_noise_is_that_of_the_seed() -> None:
    clean, one, same, other = (
        DampedSine(noise=noise, seed=seed).arrays()[1]
        for noise, seed in ((0, 0), (0.3, 1), (0.3, 1), (0.3, 2))
    )
    assert float((one - clean).std()) == pytest.approx(0.3, rel=0.2)
    assert bool((one == same).all())
    assert not bool((one == other).any())


@pytest.mark.parametrize(
    "wrong", [{"length": 0.0}, {"step": -1.0}, {"step": 50.0}, {"n": 1}, {"noise": -1.0}]
)
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"is -?\d"):
        DampedSine(**wrong)  # type: ignore[arg-type]
