"""The written-down derivative gives the very bits of autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from toyml.engine.chain import differentiate

ACTIVATIONS = st.sampled_from([nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Identity])
LOSSES = st.sampled_from(
    [
        nn.MSELoss(),
        nn.L1Loss(),
        nn.HuberLoss(delta=0.3),
        nn.SmoothL1Loss(beta=0.3),
        nn.BCELoss(),
        nn.BCEWithLogitsLoss(),
    ]
)


@st.composite
def nets(draw: st.DrawFn) -> nn.Sequential:
    """Chains of linear layers and activations in any order, two in a row among them."""
    width = draw(st.integers(1, 5))
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        layers += [kind() for kind in draw(st.lists(ACTIVATIONS, max_size=2))]
        following = draw(st.integers(1, 5))
        layers.append(nn.Linear(width, following, bias=draw(st.booleans())))
        width = following
    layers += [kind() for kind in draw(st.lists(ACTIVATIONS, max_size=2))]
    return nn.Sequential(*layers)


def first_width(net: nn.Sequential) -> int:
    return next(m.in_features for m in net if isinstance(m, nn.Linear))


def last_width(net: nn.Sequential) -> int:
    return [m.out_features for m in net if isinstance(m, nn.Linear)][-1]


@given(nets(), LOSSES, st.booleans(), st.integers(1, 70), st.booleans(), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_loss_and_gradients_have_autograds_bits(
    net: nn.Sequential, loss: nn.Module, double: bool, n: int, in_place: bool, seed: int
) -> None:
    if isinstance(loss, nn.BCELoss):
        net.append(nn.Sigmoid())
    dtype = torch.float64 if double else torch.float32
    net = net.to(dtype)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, first_width(net), dtype=dtype, generator=generator)
    y = torch.rand(n, last_width(net), dtype=dtype, generator=generator)
    for values in net.parameters():
        nn.init.normal_(values, generator=generator)
    before = x.clone()
    parameters: list[Tensor] = list(net.parameters())
    into = [torch.full_like(p, 7.0) if in_place else None for p in parameters]
    expected = loss(net(x), y)
    expected.backward()
    evaluate = differentiate(net, loss, parameters, into)
    for _ in range(2):
        with torch.no_grad():
            value, output, gradients = evaluate(x, y)
        assert torch.equal(x, before), "the data were written to"
        assert torch.equal(value, expected)
        assert torch.equal(output, net(x))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            assert gradient is not None
            assert parameter.grad is not None
            assert torch.equal(gradient, parameter.grad)
    if in_place:
        assert all(a is b for a, b in zip(gradients, into, strict=True))


def test_parameters_changed_in_place_are_seen() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    parameters: list[Tensor] = list(net.parameters())
    evaluate = differentiate(net, nn.MSELoss(), parameters)
    x, y = torch.randn(5, 2), torch.randn(5, 1)
    with torch.no_grad():
        for p in parameters:
            p.mul_(2)
        assert torch.equal(evaluate(x, y)[1], net(x))


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU()])
def test_a_frozen_layer_has_no_gradient(activation: nn.Module) -> None:
    net = nn.Sequential(nn.Linear(2, 3), activation, nn.Linear(3, 1))
    net[0].requires_grad_(False)
    parameters: list[Tensor] = list(net.parameters())
    x, y = torch.randn(5, 2), torch.randn(5, 1)
    nn.MSELoss()(net(x), y).backward()
    with torch.no_grad():
        _, _, gradients = differentiate(net, nn.MSELoss(), parameters)(x, y)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.grad is None:
            assert gradient is None
        else:
            assert gradient is not None
            assert torch.equal(gradient, parameter.grad)
