from __future__ import annotations

import numpy as np
import pytest

from toyml.data import LogisticRows, TwoRows, Xor, logistic_rows, two_rows, xor


def test_xor_is_the_exclusive_or() -> None:
    x, y = xor()
    assert y[:, 0].tolist() == [float(int(a) ^ int(b)) for a, b in x]
    twice = xor(2)
    assert twice[0].shape == (8, 2)
    assert np.array_equal(twice[1][4:], y)
    assert Xor(repeats=3).arrays()[0].shape == (12, 2)
    with pytest.raises(ValueError, match="repeats is 0"):
        Xor(repeats=0)


def test_two_rows_are_columns() -> None:
    x, y = TwoRows().arrays()
    assert (x.tolist(), y.tolist()) == ([[2.0], [4.0]], [[7.0], [11.0]])
    with pytest.raises(ValueError, match="one number each"):
        two_rows([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        two_rows([1.0], [float("inf")])


def test_labels_follow_the_logistic_model() -> None:
    weights, bias, n = np.array([1.0, -2.0]), 0.5, 40_000
    x, y = logistic_rows(n, weights, bias, np.random.default_rng(1))
    p = 1 / (1 + np.exp(-(x @ weights + bias)))
    # The score of the true model, y - p against (1, x), is a sum of n independent errors.
    score = np.column_stack([np.ones(n), x]).T @ (y[:, 0] - p)
    assert np.abs(score).max() < 4 * np.sqrt(n)
    assert set(np.unique(y)) == {0.0, 1.0}


def test_logistic_rows_of_the_data_set() -> None:
    data = LogisticRows(validation=7)
    x, y = data.arrays()
    assert (x.shape, y.shape) == ((1096, 4), (1096, 1))
    assert data.arrays(held_out=True)[0].shape == (7, 4)
    assert not np.array_equal(data.arrays(held_out=True)[0], x[:7])
    assert np.array_equal(LogisticRows().arrays()[0], x)
    assert not np.array_equal(LogisticRows(seed=1).arrays()[0], x)
    with pytest.raises(ValueError, match="n is 0"):
        LogisticRows(n=0)
    with pytest.raises(ValueError, match="finite numbers"):
        LogisticRows(weights=[])
