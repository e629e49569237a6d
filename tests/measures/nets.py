"""Nets, snapshots and slow oracles that the tests of measures share."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call


class Wrapped(nn.Module):
    """The same function, which only the general route can evaluate."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x)
        return result


class Branched(nn.Module):
    """A skip connection, a buffer and a parameter that is a scalar: no chain."""

    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("shift", torch.tensor([[0.25, -0.5]]))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.tanh(self.inside(x)) * self.scale + x + self.shift
        return result.sum(1, keepdim=True)


def mlp(*widths: int, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """A chain in float64."""
    layers: list[nn.Module] = []
    for d, h in pairwise(widths):
        layers += [nn.Linear(d, h), activation()]
    return nn.Sequential(*layers[:-1]).double()


def random_stack(net: nn.Module, t: int, seed: int = 0) -> dict[str, Tensor]:
    """Snapshots drawn from a normal distribution, in the net's dtype."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn((t, *p.shape), generator=generator, dtype=p.dtype)
        for name, p in net.named_parameters()
    }


def data(n: int, d: int = 2, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Inputs [n, d] and targets [n, 1] of 0 and 1, float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, (torch.rand(n, 1, generator=generator) > 0.4).double()


def looped(net: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """Outputs one snapshot at a time."""
    t = len(next(iter(parameters.values())))
    with torch.no_grad():
        return torch.stack(
            [functional_call(net, {k: p[s] for k, p in parameters.items()}, x) for s in range(t)]
        )


def parabola() -> tuple[Tensor, Tensor]:
    """Fifty points of a noisy parabola, to which a line is fitted: least squares by hand."""
    generator = np.random.RandomState(20240215)
    x = generator.randn(50).astype("float32")
    y = (0.75 * x**2 + x + 2 + 0.3 * generator.randn(50)).astype("float32")
    return torch.tensor(x).double()[:, None], torch.tensor(y).double()[:, None]
