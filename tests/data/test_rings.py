from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toyml.data import Rings, rings


def loop(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The points one after the other, as the lecture draws them."""
    stream = np.random.RandomState(100)
    x, y = [], []
    for _ in range(n):
        for label in (0, 1):
            r = 3 * label + stream.uniform()
            angle = stream.uniform(0, 2 * np.pi)
            x.append([r * np.cos(angle), r * np.sin(angle)])
            y.append([float(label)])
    return np.array(x), np.array(y)


def test_the_draws_are_the_lectures_bit_for_bit() -> None:
    x, y = Rings().arrays()
    expected = loop(1000)
    assert np.array_equal(x.numpy(), expected[0])
    assert np.array_equal(y.numpy(), expected[1])
    np.testing.assert_allclose(
        x[:2].numpy(), [[-0.09634987, 0.53479495], [1.92087852, -2.83505669]], atol=5e-9
    )


def test_the_global_generator_is_left_alone() -> None:
    before = str(np.random.get_state())  # noqa: NPY002
    Rings(noise=0.1, validation=5)
    assert str(np.random.get_state()) == before  # noqa: NPY002


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_radii_and_classes(n: int, seed: int) -> None:
    x, y = rings(n, 0.0, np.random.RandomState(seed))
    radius = np.hypot(*x.T)
    assert x.shape == (2 * n, 2)
    assert y.shape == (2 * n, 1)
    assert (radius[y[:, 0] == 0] < 1 + 1e-12).all()
    assert ((radius[y[:, 0] == 1] >= 3 - 1e-12) & (radius[y[:, 0] == 1] < 4 + 1e-12)).all()


def test_noise_moves_the_same_points() -> None:
    clean, _ = rings(500, 0.0, np.random.RandomState(1))
    noisy, _ = rings(500, 0.2, np.random.RandomState(1))
    assert np.std(noisy - clean) == pytest.approx(0.2, rel=0.1)


def test_held_out_points_are_others() -> None:
    data = Rings(n=10, validation=10)
    assert not np.array_equal(data.arrays()[0].numpy(), data.arrays(held_out=True)[0].numpy())


@pytest.mark.parametrize("wrong", [{"n": 0}, {"noise": -0.1}, {"noise": float("nan")}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        Rings(**wrong)  # type: ignore[arg-type]
