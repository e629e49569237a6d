from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from toyml import reference


def data() -> tuple[reference.Array, reference.Array]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((1096, 4))
    y = (x @ np.array([1.0, -2.0, 0.5, 0.0]) + generator.standard_normal(1096) > 0).astype(float)
    return x, y


def pytorch(decay: float, decay_bias: bool, steps: int = 1000) -> reference.Array:
    """Weights and bias [steps + 1, 5] of a linear layer, sigmoid, BCE and SGD."""
    x, y = (torch.from_numpy(each) for each in data())
    linear = nn.Linear(4, 1, dtype=torch.float64)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    groups: list[dict[str, Any]] = [
        {"params": [linear.weight]},
        {"params": [linear.bias], "weight_decay": decay if decay_bias else 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.05, weight_decay=decay)
    states = []
    for step in range(steps + 1):
        states.append(np.append(linear.weight.detach().numpy(), linear.bias.detach().numpy()))
        if step < steps:
            loss = nn.functional.binary_cross_entropy(torch.sigmoid(linear(x)), y[:, None])
            parameters = [linear.weight, linear.bias]
            gradients = torch.autograd.grad(loss, parameters)
            linear.weight.grad, linear.bias.grad = gradients
            optimizer.step()
    return np.array(states)


@pytest.mark.parametrize("decay_bias", [True, False])
@pytest.mark.parametrize("decay", [0.1, reference.textbook_decay(0.1, 1096)])
def test_every_step_is_pytorchs_under_both_conventions(decay: float, decay_bias: bool) -> None:
    x, y = data()
    w, b = reference.LogisticRegression(0.05, decay, decay_bias).train(x, y[:, None], 1000)
    gap = np.abs(np.column_stack([w, b]) - pytorch(decay, decay_bias)).max()
    # A few roundings: 2.2e-16 is the spacing of numbers in [1, 2).
    assert gap <= 2e-15


def test_conventions_part_at_step_two() -> None:
    x, y = data()
    w, b = reference.LogisticRegression(0.05, 0.1).train(x, y, 10)
    v, c = reference.LogisticRegression(0.05, reference.textbook_decay(0.1, 1096)).train(x, y, 10)
    differ = np.abs(np.column_stack([w - v, b - c])).max(1) > 0
    assert differ.tolist() == [False, False] + [True] * 9


def test_one_step_of_both_conventions_by_hand() -> None:
    x, y = np.array([[2.0], [4.0]]), np.array([[7.0], [11.0]])
    ends = []
    for decay in (1.0, reference.textbook_decay(1.0, rows=2)):
        net = reference.MLP([np.ones((1, 1))], [np.ones(1)], [reference.Identity()])
        gradients = net.gradients(x, y, reference.MSE())
        assert [float(g.item()) for g in gradients] == [-32.0, -10.0]
        reference.SGD(0.1, weight_decay=decay).step(net.parameters, gradients)
        ends += [p.item() for p in net.parameters]
    assert ends == pytest.approx([4.1, 1.9, 4.15, 1.95], abs=1e-14)


def test_start_is_kept_and_not_changed() -> None:
    x, y = data()
    w = np.array([1.0, 2.0, 3.0, 4.0])
    weights, biases = reference.LogisticRegression(0.1).train(x, y, 3, w, 0.5)
    assert weights[0].tolist() == w.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert biases[0] == 0.5
    assert (weights.shape, biases.shape) == ((4, 4), (4,))


def test_refusals() -> None:
    x, y = data()
    with pytest.raises(ValueError, match=r"lr is -1\.0"):
        reference.LogisticRegression(-1.0)
    with pytest.raises(ValueError, match=r"penalty is -1\.0"):
        reference.textbook_decay(-1.0, 3)
    with pytest.raises(ValueError, match=r"give \[m, d\]"):
        reference.LogisticRegression(1.0).train(x, y[:-1], 1)
