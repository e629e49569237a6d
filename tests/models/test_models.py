"""Nets: names, initial values by name, and PyTorch's own draws."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toyml.models import MLP, Linear

MAKE: list[tuple[Callable[..., nn.Module], dict[str, list[int]]]] = [
    (lambda **s: Linear(2, 3, **s), {"linear.weight": [3, 2], "linear.bias": [3]}),
    (
        lambda **s: MLP([2, 4, 3, 1], **s),
        {
            "hidden1.weight": [4, 2],
            "hidden1.bias": [4],
            "hidden2.weight": [3, 4],
            "hidden2.bias": [3],
            "output.weight": [1, 3],
            "output.bias": [1],
        },
    ),
]


def shapes(net: nn.Module) -> dict[str, list[int]]:
    return {name: list(p.shape) for name, p in net.named_parameters()}


@pytest.mark.parametrize(("make", "expected"), MAKE, ids=["Linear", "MLP"])
def test_parameters_have_readable_names(
    make: Callable[..., nn.Module], expected: dict[str, list[int]]
) -> None:
    assert shapes(make()) == expected
    assert list(shapes(make())) == list(expected), "in the order of the layers"
    weights = {name: shape for name, shape in expected.items() if name.endswith("weight")}
    assert shapes(make(bias=False)) == weights


def test_the_seed_gives_the_figures_of_the_experiments() -> None:
    torch.manual_seed(0)
    net = Linear(2, 1)
    assert net.linear.weight.tolist()[0] == pytest.approx([-0.0052940, 0.3793229], abs=5e-8)
    assert net.linear.bias.item() == pytest.approx(-0.5819808, abs=5e-8)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(0, 2**31), st.booleans())
@settings(deadline=None, max_examples=40)
def test_an_mlp_draws_what_plain_layers_draw(widths: list[int], seed: int, bias: bool) -> None:
    torch.manual_seed(seed)
    net = MLP(widths, nn.Tanh(), nn.Sigmoid(), bias=bias)
    after = torch.get_rng_state()
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for d, h in pairwise(widths):
        layers += [nn.Linear(d, h, bias=bias), nn.Tanh()]
    plain = nn.Sequential(*layers[:-1], nn.Sigmoid())
    assert torch.equal(after, torch.get_rng_state()), "as many draws, no more"
    for p, q in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, q)
    x = torch.linspace(-2, 2, 3 * widths[0]).view(3, -1)
    assert torch.equal(net(x), plain(x))


def test_initial_values_go_where_their_name_says() -> None:
    initial: dict[str, Any] = {"output.weight": [[1.5, -2.0, 0.25]], "hidden1.bias": [7.0, 8, 9]}
    torch.manual_seed(4)
    net = MLP([2, 3, 1], initial=initial)
    torch.manual_seed(4)
    drawn = MLP([2, 3, 1])
    for name, p in net.named_parameters():
        expected = torch.tensor(initial[name]) if name in initial else drawn.get_parameter(name)
        assert torch.equal(p, expected), name
        assert p.requires_grad
        assert p.is_leaf
        assert p.dtype == torch.float32


def test_initial_values_keep_float64_digits_in_a_float64_net() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        net = Linear(1, 1, initial={"linear.weight": [[0.1]]})
    finally:
        torch.set_default_dtype(torch.float32)
    assert net.linear.weight.item() == 0.1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Linear(0, 1), "inputs and outputs are 0 and 1"),
        (lambda: Linear(2, -1), "inputs and outputs are 2 and -1"),
        (lambda: MLP([3]), r"widths are \[3\]"),
        (lambda: MLP([]), r"widths are \[\]"),
        (lambda: MLP([2, 0, 1]), r"widths are \[2, 0, 1\]"),
        (lambda: MLP([2, 2, 1], nn.PReLU()), "activation PReLU has parameters of its own"),
        (
            lambda: Linear(2, 1, initial={"weight": [[1.0, 2.0]]}),
            "'weight', but the parameters are linear.weight, linear.bias",
        ),
        (
            lambda: Linear(2, 1, bias=False, initial={"linear.bias": [1.0]}),
            "'linear.bias', but the parameters are linear.weight$",
        ),
        (
            lambda: Linear(2, 1, initial={"linear.weight": [1.0, 2.0]}),
            r"'linear.weight' has shape \[2\], the parameter has \[1, 2\]",
        ),
        (
            lambda: Linear(2, 1, initial={"linear.bias": [1.0, 2.0]}),
            r"'linear.bias' has shape \[2\], the parameter has \[1\]",
        ),
    ],
)
def test_what_cannot_be_built_is_one_clear_line(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_ragged_initial_values_name_their_parameter() -> None:
    with pytest.raises(ValueError, match=r"linear\.weight"):
        Linear(2, 1, initial={"linear.weight": [[1.0, 2.0], [3.0]]})
