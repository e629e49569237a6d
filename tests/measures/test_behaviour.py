from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toyml.measures import behaviour
from toyml.models import MLP

X = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))


class Noise(nn.Module):
    """Noise of one's own, from a generator that is not torch's, in both modes."""

    def forward(self, x: Tensor) -> Tensor:
        return x + float(np.random.normal())  # noqa: NPY002 - what users write


class Doubled(nn.Module):
    """Something of one's own that training does otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if self.training else x


def silent(*layers: nn.Module) -> nn.Sequential:
    """A net whose last layer is 0 at the start, which hides the layers before it."""
    last = nn.Linear(2, 1)
    nn.init.zeros_(last.weight)
    return nn.Sequential(*layers, last)


@pytest.mark.parametrize(
    ("net", "on", "layers"),
    [
        (MLP([2, 3, 1], nn.Tanh()), "", ()),
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), "", ()),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)), "", ()),
        (nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.2)), "chance", ("Dropout",)),
        (silent(nn.Dropout(0.5)), "chance", ("Dropout",)),
        (nn.Sequential(nn.Linear(2, 8), nn.RReLU()), "chance", ("RReLU",)),
        (nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8)), "the mode", ("BatchNorm1d",)),
        (Noise(), "chance", ()),
        (nn.Sequential(nn.Linear(2, 1), Doubled()), "the mode", ()),
    ],
)
def test_nets_are_known_by_what_they_do(net: nn.Module, on: str, layers: tuple[str, ...]) -> None:
    found = behaviour(net, X)
    assert found.on == on
    assert found.layers == layers
    assert bool(found.why) == bool(on)


def test_buffers_that_training_changes_are_named() -> None:
    class Net(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.BatchNorm1d(2), nn.Linear(2, 1))
            self.register_buffer("fixed", torch.ones(3))

    assert behaviour(Net(), X).buffers == (
        "0.running_mean",
        "0.running_var",
        "0.num_batches_tracked",
    )
    assert behaviour(MLP([2, 3, 1], nn.Tanh()), X).buffers == ()


def test_nothing_is_changed_and_no_generator_moves() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), Noise())
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    behaviour(net, X)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [m.training for m in net] == [True, False, True, True]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


class Careful(nn.Module):
    """Refuses parameters that are larger than those of its start."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.001))

    def forward(self, x: Tensor) -> Tensor:
        if abs(self.scale) > 0.01:
            raise ValueError("too large")
        return x * self.scale


def test_a_net_that_refuses_larger_parameters_is_known_by_its_own() -> None:
    assert behaviour(Careful(), X) == ("", (), ())
