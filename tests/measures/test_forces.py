from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.measures.nets import data, mlp
from toyml.measures import flatten, forces

MSE = nn.MSELoss()


def train(
    net: nn.Module, optimizer: torch.optim.Optimizer, steps: int, x: Tensor, y: Tensor
) -> dict[str, Tensor]:
    """Every snapshot of a training by PyTorch."""
    kept = [{name: p.detach().clone() for name, p in net.named_parameters()}]
    for _ in range(steps):
        optimizer.zero_grad()
        MSE(net(x), y).backward()
        optimizer.step()
        kept.append({name: p.detach().clone() for name, p in net.named_parameters()})
    return {name: torch.stack([each[name] for each in kept]) for name in kept[0]}


def check_sum(
    make: Callable[..., torch.optim.Optimizer], groups: Callable[[nn.Module], Any], rtol: float
) -> dict[str, Tensor]:
    torch.manual_seed(1)
    net, (x, y) = mlp(2, 3, 1), data(6)
    optimizer = make(groups(net))
    path = train(net, optimizer, 8, x, y)
    parts = forces(net, MSE, optimizer, path, x, y)
    rows = flatten(path)
    total = torch.stack(list(parts.values())).sum(0)
    assert total.shape == rows.shape
    step = rows.diff(dim=0)

    def known(steps: Tensor, parameters: Tensor) -> float:
        # A difference of recorded parameters is known to the rounding of the parameters.
        return rtol * float(steps.abs().max()) + 2**-52 * float(parameters.abs().max())

    torch.testing.assert_close(total[:-1], step, rtol=0, atol=known(step, rows))
    # The row after the last snapshot is the update that would come next.
    extended = {
        name: torch.cat([p, q[-1:]])
        for (name, p), q in zip(path.items(), train(net, optimizer, 1, x, y).values(), strict=True)
    }
    longer = flatten(extended)
    following = longer.diff(dim=0)[-1]
    atol = 2 * max(known(step, rows), known(following, longer))
    torch.testing.assert_close(total[-1], following, rtol=0, atol=atol)
    return parts


def everything(net: nn.Module) -> Any:
    return net.parameters()


@settings(max_examples=80, deadline=None)
@given(
    lr=st.floats(1e-3, 0.5),
    momentum=st.sampled_from([0.0, 0.3, 0.9]),
    dampening=st.sampled_from([0.0, 0.2, 0.9, -0.5]),
    weight_decay=st.sampled_from([0.0, 0.1, 1.0]),
    nesterov=st.booleans(),
    maximize=st.booleans(),
)
def test_the_parts_of_sgd_add_up_to_the_step_pytorch_took(
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    nesterov = nesterov and momentum > 0
    dampening = 0.0 if nesterov else dampening
    make = partial(
        torch.optim.SGD,
        lr=lr / 20 if maximize else lr,
        momentum=momentum,
        dampening=dampening,
        weight_decay=weight_decay,
        nesterov=nesterov,
        maximize=maximize,
    )
    parts = check_sum(make, everything, 1e-13)
    expected = {
        "gradient": True,
        "weight decay": weight_decay,
        "momentum": momentum,
        "dampening": momentum and dampening,
        "look-ahead": nesterov,
    }
    assert list(parts) == [name for name, has in expected.items() if has]


@settings(max_examples=40, deadline=None)
@given(
    make=st.sampled_from([torch.optim.Adam, torch.optim.AdamW]),
    lr=st.floats(1e-3, 0.3),
    beta1=st.sampled_from([0.0, 0.5, 0.9]),
    beta2=st.sampled_from([0.0, 0.9, 0.999]),
    eps=st.sampled_from([1e-8, 0.1]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    amsgrad=st.booleans(),
    maximize=st.booleans(),
)
def test_the_parts_of_adam_add_up_too(
    make: type[torch.optim.Adam], beta1: float, beta2: float, **rest: Any
) -> None:
    parts = check_sum(partial(make, betas=(beta1, beta2), **rest), everything, 1e-11)
    assert set(parts) == {"gradient", "momentum"} | (
        {"weight decay"} if rest["weight_decay"] else set()
    )


def test_groups_have_settings_of_their_own_and_the_rest_stays() -> None:
    def groups(net: nn.Module) -> Any:
        first, last = net[0], net[2]  # type: ignore[index]
        return [
            {"params": [last.weight], "weight_decay": 0.5, "lr": 0.02},
            {"params": [first.weight, first.bias], "momentum": 0.9, "nesterov": True},
        ]

    parts = check_sum(partial(torch.optim.SGD, lr=0.1), groups, 1e-13)
    assert set(parts) == {"gradient", "weight decay", "momentum", "look-ahead"}
    assert not parts["weight decay"][:, :9].any()
    assert not parts["momentum"][:, 9:].any()
    assert all(not part[:, 12].any() for part in parts.values())


def test_each_part_of_sgd_is_its_formula() -> None:
    net = nn.Linear(1, 1, bias=False).double()
    x, y = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    path = {"weight": torch.tensor([2.0, 1.0, -1.0]).double()[:, None, None]}
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.5, momentum=0.25, dampening=0.5, weight_decay=4.0
    )
    parts = {k: v[:, 0].tolist() for k, v in forces(net, MSE, optimizer, path, x, y).items()}
    # Gradients 2w are 4, 2, -2; with decay 12, 6, -6; velocities 12, 6, -1.5.
    assert parts == {
        "gradient": [-2.0, -1.0, 1.0],
        "weight decay": [-4.0, -2.0, 2.0],
        "momentum": [0.0, -1.5, -0.75],
        "dampening": [0.0, 1.5, -1.5],
    }
    ahead = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.25, nesterov=True)
    parts = {k: v[:, 0].tolist() for k, v in forces(net, MSE, ahead, path, x, y).items()}
    # Velocities 4, 3, -1.25.
    assert parts["momentum"] == [0.0, -0.5, -0.375]
    assert parts["look-ahead"] == [-0.5, 0.125, 0.53125]


def test_neither_the_net_nor_the_optimizer_is_touched() -> None:
    net, (x, y) = mlp(2, 1), data(4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    before = {name: p.clone() for name, p in net.state_dict().items()}
    forces(net, MSE, optimizer, {name: p[None] for name, p in before.items()}, x, y)
    assert all(torch.equal(p, before[name]) for name, p in net.state_dict().items())
    assert not optimizer.state
    assert all(p.grad is None for p in net.parameters())


def test_refusals() -> None:
    net, (x, y) = mlp(2, 1), data(4)
    path = {name: p[None].detach() for name, p in net.named_parameters()}
    with pytest.raises(ValueError, match="update of RMSprop is not split; take SGD"):
        forces(net, MSE, torch.optim.RMSprop(net.parameters()), path, x, y)
    with pytest.raises(ValueError, match="parameters of another net"):
        forces(net, MSE, torch.optim.SGD(mlp(2, 1).parameters(), lr=0.1), path, x, y)
