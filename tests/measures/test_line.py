from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from tests.measures.nets import Branched, data, mlp, random_stack
from toyml.measures import losses_along

LOSSES = {"MSE": nn.MSELoss(), "L1": nn.L1Loss()}


@pytest.mark.parametrize("net", [mlp(2, 3, 1), Branched().double()])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_losses_are_those_on_the_line(net: nn.Module, chunk: int | None) -> None:
    stack, (x, y) = random_stack(net, 2), data(9)
    first, second = ({name: p[i] for name, p in stack.items()} for i in range(2))
    ts = torch.tensor([-0.5, 0.0, 0.25, 1.0, 1.5]).double()
    got = losses_along(net, LOSSES, first, second, ts, x, y, chunk=chunk)
    for name, loss in LOSSES.items():
        assert got[name].shape == (5,)
        for t, value in zip(ts, got[name], strict=True):
            here = {k: p + t * (second[k] - p) for k, p in first.items()}
            expected = loss(functional_call(net, here, x), y)
            torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-13)


def test_refusals() -> None:
    net, (x, y) = mlp(2, 1), data(4)
    first = {name: p[0] for name, p in random_stack(net, 1).items()}
    ts = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="losses is empty"):
        losses_along(net, {}, first, first, ts, x, y)
    with pytest.raises(ValueError, match=r"give a vector of torch.float64"):
        losses_along(net, LOSSES, first, first, ts.float(), x, y)
    with pytest.raises(ValueError, match="give a vector"):
        losses_along(net, LOSSES, first, first, ts[:0], x, y)
    with pytest.raises(ValueError, match="give exactly those"):
        losses_along(net, LOSSES, first, {"w": ts}, ts, x, y)
