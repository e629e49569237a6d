"""Seeds are drawn to the bit as each would draw alone, fast where that is possible."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from toyml.models import MLP, Linear
from toyml.replicas import Replicated, seeded_parameters


class Scaled(nn.Module):
    """An initialization that computes with what it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3) * 0.1)


def mixed() -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 20), nn.LayerNorm(20), nn.Conv1d(4, 3, 2), nn.GRU(2, 3))
    nn.init.normal_(net[0].weight, std=0.3)  # drawn twice: the second draw counts
    return net


BUILDS = {
    "mlp": lambda: MLP([2, 5, 1]),
    "filled": lambda: Linear(3, 2, initial={"linear.bias": [1.0, 2.0]}),
    "mixed": mixed,
    "embedding": lambda: nn.Embedding(4, 3, padding_idx=1),
    "scaled": Scaled,
}


@pytest.mark.parametrize("name", BUILDS)
def test_every_seed_has_the_bits_of_its_own_net(name: str) -> None:
    build, seeds = BUILDS[name], [7, 0, 123_456_789, 2**40, 3, 11]
    before = torch.get_rng_state()
    stack = seeded_parameters(build, seeds)
    assert torch.equal(torch.get_rng_state(), before)
    for i, seed in enumerate(seeds):
        torch.manual_seed(seed)
        for key, p in build().named_parameters():
            assert torch.equal(stack[key][i], p), (key, seed)


def test_nets_are_built_for_three_seeds_only_where_draws_can_be_repeated() -> None:
    built: list[int] = []

    def counted(make: object) -> nn.Module:
        built.append(1)
        return make()  # type: ignore[operator, no-any-return]

    seeded_parameters(lambda: counted(BUILDS["mlp"]), range(50))
    assert len(built) == 4
    built.clear()
    told: list[tuple[int, int]] = []
    seeded_parameters(lambda: counted(Scaled), range(50), lambda *done: told.append(done))
    assert len(built) >= 50
    assert told[-1] == (50, 50)


def test_a_net_that_is_handed_over_is_not_written_to() -> None:
    net = nn.Linear(2, 2)
    before = [p.detach().clone() for p in net.parameters()]

    def again() -> nn.Module:
        net.reset_parameters()
        return net

    torch.manual_seed(9)
    again()
    after = [p.detach().clone() for p in net.parameters()]
    stack = seeded_parameters(again, [9, 5, 9])
    assert all(not torch.equal(p, q) for p, q in zip(before, after, strict=True))
    assert torch.equal(stack["weight"][0], after[0])
    assert torch.equal(stack["weight"][2], after[0])


def test_wrong_seeds_are_named() -> None:
    with pytest.raises(ValueError, match="none below 0"):
        seeded_parameters(lambda: nn.Linear(1, 1), [3, -1])
    with pytest.raises(ValueError, match="at least one"):
        seeded_parameters(lambda: nn.Linear(1, 1), [])
    with pytest.raises(ValueError, match="no parameters"):
        seeded_parameters(nn.Tanh, [0])


def test_the_stack_computes_what_each_net_computes() -> None:
    build = BUILDS["mlp"]
    stack = Replicated(build(), seeded_parameters(build, range(4)))
    x = torch.randn(6, 2)
    outputs: Tensor = stack(x)
    for i in range(4):
        net = build()
        net.load_state_dict(stack.replica(i))
        torch.testing.assert_close(outputs[i], net(x))
    with pytest.raises(IndexError, match="replica 4 of 4"):
        stack.replica(4)


def test_wrong_starting_points_are_named() -> None:
    net = nn.Linear(2, 1)
    with pytest.raises(ValueError, match="parameters are weight, bias"):
        Replicated(net, {"weight": torch.zeros(3, 1, 2)})
    with pytest.raises(ValueError, match=r"initial weight has shape \[3, 2, 1\]"):
        Replicated(net, {"weight": torch.zeros(3, 2, 1), "bias": torch.zeros(3, 1)})
