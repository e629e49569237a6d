from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toyml import reference

ACTIVATIONS: list[tuple[reference.Activation, nn.Module]] = [
    (reference.Sigmoid(), nn.Sigmoid()),
    (reference.Tanh(), nn.Tanh()),
    (reference.ReLU(), nn.ReLU()),
    (reference.Identity(), nn.Identity()),
]
LOSSES: list[tuple[reference.Loss, nn.Module, bool]] = [
    (reference.MSE(), nn.MSELoss(), False),
    (reference.BCEWithLogits(), nn.BCEWithLogitsLoss(), False),
    (reference.BCE(), nn.BCELoss(), True),
    (reference.L1(), nn.L1Loss(), False),
    (reference.Huber(), nn.HuberLoss(), False),
]


def pair(
    widths: list[int],
    kinds: list[int],
    bias: bool,
    seed: int = 0,
) -> tuple[reference.MLP, nn.Sequential]:
    """The same net twice."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for (before, after), kind in zip(pairwise(widths), kinds, strict=True):
        layers += [nn.Linear(before, after, bias, dtype=torch.float64), ACTIVATIONS[kind][1]]
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    net = reference.MLP(
        [layer.weight.detach().numpy() for layer in linears],
        [layer.bias.detach().numpy() for layer in linears] if bias else None,
        [ACTIVATIONS[kind][0] for kind in kinds],
    )
    return net, nn.Sequential(*layers)


def pytorch_run(
    net: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, x: Any, y: Any, steps: int
) -> list[list[reference.Array]]:
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    states = [[p.detach().numpy().copy() for p in net.parameters()]]
    for _ in range(steps):
        parameters = list(net.parameters())
        gradients = torch.autograd.grad(loss(net(x), y), parameters)
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g
        optimizer.step()
        states.append([p.detach().numpy().copy() for p in parameters])
    return states


def largest_gap(mine: Any, other: Any) -> float:
    return max(
        float(np.abs(p - q).max())
        for ps, qs in zip(mine, other, strict=True)
        for p, q in zip(ps, qs, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=5),
    st.data(),
    st.booleans(),
    st.sampled_from(LOSSES),
)
def test_gradients_are_autograds(
    widths: list[int], data: st.DataObject, bias: bool, loss: tuple[Any, Any, bool]
) -> None:
    mine, other, probability = loss
    kinds = [data.draw(st.integers(0, 3)) for _ in widths[2:]]
    net, torch_net = pair(widths, [*kinds, 0 if probability else 3], bias)
    generator = np.random.default_rng(1)
    x = generator.standard_normal((7, widths[0]))
    y = (generator.random((7, widths[-1])) > 0.5).astype(float)
    output = torch_net(torch.from_numpy(x))
    np.testing.assert_allclose(net.forward(x), output.detach().numpy(), rtol=1e-12, atol=1e-15)
    expected = torch.autograd.grad(other(output, torch.from_numpy(y)), [*torch_net.parameters()])
    for g, e in zip(net.gradients(x, y, mine), expected, strict=True):
        assert g.shape == tuple(e.shape)
        np.testing.assert_allclose(g, e.numpy(), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda each: type(each[0]).__name__)
def test_training_is_pytorchs_step_by_step(loss: tuple[Any, Any, bool], bias: bool) -> None:
    mine, other, probability = loss
    net, torch_net = pair([2, 4, 3, 1], [1, 0, 0 if probability else 3], bias)
    generator = np.random.default_rng(2)
    x = generator.standard_normal((20, 2))
    y = (x[:, :1] * x[:, 1:] > 0).astype(float)
    options: dict[str, Any] = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}
    run = reference.train(net, reference.SGD(**options), mine, x, y, 300)
    expected = pytorch_run(
        torch_net, other, torch.optim.SGD(torch_net.parameters(), **options), x, y, 300
    )
    assert largest_gap(run, expected) <= 1e-13


def test_adam_run_is_pytorchs() -> None:
    net, torch_net = pair([2, 3, 1], [0, 0], True)
    generator = np.random.default_rng(2)
    x = generator.standard_normal((20, 2))
    y = (x[:, :1] > 0).astype(float)
    run = reference.train(net, reference.Adam(0.01), reference.BCE(), x, y, 300)
    adam = torch.optim.Adam(torch_net.parameters(), lr=0.01)
    assert largest_gap(run, pytorch_run(torch_net, nn.BCELoss(), adam, x, y, 300)) <= 1e-13


def test_the_callers_arrays_stay_as_they_were() -> None:
    w, b = np.ones((1, 2)), np.zeros(1)
    net = reference.MLP([w], [b], [reference.Identity()])
    states = list(
        reference.train(
            net, reference.SGD(1.0), reference.MSE(), np.ones((1, 2)), np.zeros((1, 1)), 2
        )
    )
    assert w.tolist() == [[1.0, 1.0]]
    assert len(states) == 3
    assert states[0][0].tolist() == [[1.0, 1.0]]
    assert states[1][0].tolist() != states[2][0].tolist()


@pytest.mark.parametrize(
    ("weights", "biases", "activations", "message"),
    [
        ([], None, 0, r"weights have shapes \[\]"),
        ([(3, 2), (1, 4)], None, 2, "each in the out before"),
        ([(3,)], None, 1, "each in the out before"),
        ([(3, 2)], None, 2, "1 weights and 2 activations"),
        ([(3, 2)], [(2,)], 1, r"need \[\(3,\)\]"),
    ],
)
def test_layers_are_checked(
    weights: list[Any], biases: list[Any] | None, activations: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        reference.MLP(
            [np.ones(shape) for shape in weights],
            None if biases is None else [np.ones(shape) for shape in biases],
            [reference.Identity()] * activations,
        )


def test_targets_that_would_broadcast_are_refused() -> None:
    net = reference.MLP([np.ones((1, 2))], None, [reference.Identity()])
    with pytest.raises(ValueError, match="the difference broadcasts"):
        net.gradients(np.ones((4, 2)), np.ones(4), reference.MSE())
    with pytest.raises(ValueError, match="steps is -1"):
        next(
            reference.train(
                net, reference.SGD(1.0), reference.MSE(), np.ones((1, 2)), np.ones((1, 1)), -1
            )
        )
