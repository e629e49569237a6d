"""The points around a parabola."""

from __future__ import annotations

import numpy as np
import pytest

from toyml.data import NoisyParabola, noisy_parabola


def test_the_draws_are_those_of_the_global_generator_bit_for_bit() -> None:
    x, y = NoisyParabola().arrays()
    # What the article's author ran, in float32 and under NumPy's global seed.
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(20240215)  # noqa: NPY002
    n = 50
    inputs = np.array(np.random.randn(n), dtype=np.float32)  # noqa: NPY002
    noise = 0.3 * np.random.randn(n)  # noqa: NPY002
    targets = np.array(0.75 * inputs**2 + 1.0 * inputs + 2.0 + noise, dtype=np.float32)
    np.random.set_state(state)  # noqa: NPY002
    assert np.array_equal(x.numpy()[:, 0], inputs)
    assert np.array_equal(y.numpy()[:, 0], targets)


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    NoisyParabola(seed=1)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002


def test_without_noise_the_points_lie_on_the_parabola() -> None:
    x, y = noisy_parabola(200, 0.0, np.random.RandomState(3))
    assert np.allclose(y, 0.75 * x**2 + x + 2, atol=1e-6)
    assert x.shape == y.shape == (200, 1)


def test_seed_noise_and_number_matter_and_the_held_out_rows_are_others() -> None:
    rows = [NoisyParabola(), NoisyParabola(seed=1), NoisyParabola(noise=1.0)]
    assert len({r.arrays()[1].sum().item() for r in rows}) == 3
    data = NoisyParabola(n=7, validation=7)
    assert len(data.arrays()[0]) == 7
    assert not np.array_equal(data.arrays()[0], data.arrays(held_out=True)[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 1}, "n is 1"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"seed": 2**32}, "below 2"),
        ({"seed": -1}, "seed is -1"),
        ({"validation": 1}, "validation is 1"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_settings_out_of_range_are_errors_of_one_line(settings, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message) as error:
        NoisyParabola(**settings)
    assert "\n" not in str(error.value)
