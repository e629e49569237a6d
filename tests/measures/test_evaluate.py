from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from tests.measures.nets import Branched, Wrapped, data, looped, mlp, random_stack
from toyml.measures import forward as forward_module
from toyml.measures import gradients, losses, outputs, snapshot
from toyml.measures.chain import ELEMENTWISE, read_chain
from toyml.models import MLP, Linear

NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(2, 1).double(),
    "no bias": lambda: nn.Sequential(
        nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)
    ).double(),
    "in place": lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(True), nn.Linear(3, 1)).double(),
    "nested": lambda: nn.Sequential(mlp(2, 3), nn.Sigmoid(), nn.Sequential(mlp(3, 4, 2))),
    "package's": lambda: MLP([2, 3, 3, 1], output_activation=nn.Sigmoid()).double(),
    "package's linear": lambda: Linear(2, 1, output_activation=nn.Sigmoid()).double(),
    "branched": lambda: Branched().double(),
    "softmax": lambda: nn.Sequential(nn.Linear(2, 3), nn.Softmax(dim=1)).double(),
    "batch norm": lambda: nn.Sequential(
        nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)
    ).double(),
    "dropout": lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1)).double(),
}
LOSSES: dict[str, nn.Module] = {
    "mse": nn.MSELoss(),
    "sum": nn.MSELoss(reduction="sum"),
    "l1": nn.L1Loss(),
    "huber": nn.HuberLoss(delta=0.7),
    "smooth": nn.SmoothL1Loss(beta=0.3),
    "bce": nn.BCEWithLogitsLoss(),
    "weighted": nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0], dtype=torch.float64)),
    "soft margin": nn.SoftMarginLoss(),
}


@pytest.mark.parametrize("name", NETS)
def test_outputs_are_those_of_a_loop_and_the_chunk_does_not_matter(name: str) -> None:
    net = NETS[name]()
    stack, (x, _) = random_stack(net, 7), data(11)
    expected = looped(copy.deepcopy(net).eval(), stack, x)
    for chunk in (None, 1, 2, 7, 100):
        torch.testing.assert_close(
            outputs(net, stack, x, chunk=chunk), expected, rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize("name", ["linear", "nested", "package's", "in place", "no bias"])
def test_chains_are_recognised_and_agree_with_the_general_route(name: str) -> None:
    net = NETS[name]()
    assert read_chain(net) is not None
    assert read_chain(Wrapped(net)) is None
    stack, (x, _) = random_stack(net, 5), data(6)
    wrapped = {f"inner.{key}": p for key, p in stack.items()}
    torch.testing.assert_close(
        outputs(net, stack, x), outputs(Wrapped(net), wrapped, x), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("activation", sorted(ELEMENTWISE, key=str))
def test_every_activation_of_a_chain_treats_all_numbers_alike(activation: type[nn.Module]) -> None:
    net = nn.Sequential(nn.Linear(2, 3), activation(), nn.Linear(3, 2)).double()
    stack, (x, _) = random_stack(net, 3), data(5)
    torch.testing.assert_close(
        outputs(net, stack, x), looped(net, stack, x), rtol=1e-12, atol=1e-13
    )


def test_what_may_compute_something_else_is_not_taken_for_a_chain() -> None:
    class Twice(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for module in self:
                x = module(x)
            return 2 * x

    class Scaled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * super().forward(x)

    hooked = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).double()
    hooked[0].register_forward_hook(lambda module, args, output: output + 1)
    parametrized = nn.Sequential(nn.Linear(2, 1)).double()
    nn.utils.parametrize.register_parametrization(parametrized[0], "weight", nn.Tanh())
    for net in (Twice(nn.Linear(2, 1)).double(), Scaled(2, 1).double(), hooked, parametrized):
        assert read_chain(net) is None
        stack, (x, _) = random_stack(net, 3), data(4)
        torch.testing.assert_close(outputs(net, stack, x), looped(net, stack, x))


def test_shared_weights_keep_one_name() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)).double()
    net[2].weight = net[0].weight
    stack, (x, _) = random_stack(net, 3), data(4)
    assert list(stack) == ["0.weight", "0.bias", "2.bias"]
    torch.testing.assert_close(outputs(net, stack, x), looped(net, stack, x))


@settings(max_examples=40, deadline=None)
@given(
    t=st.integers(1, 6),
    n=st.integers(1, 5),
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    chunk=st.none() | st.integers(1, 8),
)
def test_outputs_of_any_shape(t: int, n: int, widths: list[int], chunk: int | None) -> None:
    net = mlp(*widths)
    stack, (x, _) = random_stack(net, t), data(n, widths[0])
    got = outputs(net, stack, x, chunk=chunk)
    assert got.shape == (t, n, widths[-1])
    assert got.is_contiguous()
    torch.testing.assert_close(got, looped(net, stack, x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("wrap", [False, True])
def test_losses_and_gradients_are_those_of_a_loop(name: str, wrap: bool) -> None:
    loss = LOSSES[name]
    net = Wrapped(mlp(2, 3, 1)) if wrap else mlp(2, 3, 1)
    stack, (x, y) = random_stack(net, 4), data(9)
    got = gradients(net, loss, stack, x, y, chunk=3)
    for s in range(4):
        leaves = {k: p[s].clone().requires_grad_() for k, p in stack.items()}
        value = loss(functional_call(net, leaves, x), y)
        torch.testing.assert_close(
            losses(net, loss, stack, x, y)[s], value.detach(), rtol=1e-12, atol=0
        )
        for key, g in zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True):
            torch.testing.assert_close(got[key][s], g, rtol=1e-11, atol=1e-14)


def test_losses_that_are_not_elementwise() -> None:
    class Hinge(nn.Module):
        def forward(self, output: Tensor, y: Tensor) -> Tensor:
            return torch.relu(1 - (2 * y - 1) * output).mean()

    net, (x, y) = mlp(2, 3, 4), data(9)
    stack, classes = random_stack(net, 5), torch.arange(9) % 4
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    expected = torch.stack([weighted(o, classes) for o in looped(net, stack, x)])
    torch.testing.assert_close(losses(net, weighted, stack, x, classes, chunk=2), expected)
    net = mlp(2, 1)
    stack = random_stack(net, 5)
    expected = torch.stack([Hinge()(o, y) for o in looped(net, stack, x)])
    torch.testing.assert_close(losses(net, Hinge(), stack, x, y), expected)


def test_a_snapshot_that_is_not_finite_does_not_touch_the_others() -> None:
    net, (x, y) = mlp(2, 3, 1), data(9)
    stack = random_stack(net, 3)
    clean = losses(net, nn.MSELoss(), stack, x, y), gradients(net, nn.MSELoss(), stack, x, y)
    stack["0.weight"][1, 0, 0] = torch.nan
    values, slopes = (
        losses(net, nn.MSELoss(), stack, x, y),
        gradients(net, nn.MSELoss(), stack, x, y),
    )
    assert values.isnan().tolist() == [False, True, False]
    for name in slopes:
        torch.testing.assert_close(slopes[name][[0, 2]], clean[1][name][[0, 2]])


def test_a_parameter_the_loss_ignores_has_gradient_zero() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.used(x)
            return result

    net, (x, y) = Lazy().double(), data(4)
    got = gradients(net, nn.MSELoss(), random_stack(net, 2), x, y)
    assert not got["unused.weight"].any()
    assert got["used.weight"].all()


@pytest.mark.parametrize("name", ["batch norm", "dropout", "branched", "package's"])
def test_nothing_is_written_to_the_module(name: str) -> None:
    net = NETS[name]()
    next(iter(net.children())).eval()  # A mixture of flags, each of which has to come back.
    flags = [module.training for module in net.modules()]
    before = copy.deepcopy(net.state_dict())
    rng = torch.get_rng_state()
    stack, (x, y) = random_stack(net, 3), data(5)
    outputs(net, stack, x)
    losses(net, nn.MSELoss(), stack, x, y)
    gradients(net, nn.MSELoss(), stack, x, y)
    assert [module.training for module in net.modules()] == flags
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_a_module_that_writes_to_its_buffers_writes_to_copies() -> None:
    class Counting(nn.Linear):
        calls: Tensor

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            return nn.functional.linear(x, self.weight, self.bias)

    net = Counting(2, 1).double()
    net.register_buffer("calls", torch.zeros((), dtype=torch.float64))
    stack, (x, y) = random_stack(net, 3), data(4)
    outputs(net, stack, x, chunk=1)
    gradients(net, nn.MSELoss(), stack, x, y)
    assert net.calls == 0


def test_the_training_flag_comes_back_after_an_error() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken")

    net = Broken(2, 1).double()
    with pytest.raises(RuntimeError, match="broken"):
        outputs(net, random_stack(net, 2), data(3)[0])
    assert net.training


def test_a_float32_module_can_be_looked_at_in_float64() -> None:
    net = Branched()
    stack = {name: p.double() for name, p in random_stack(net, 3).items()}
    got = outputs(net, stack, data(4)[0])
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, looped(copy.deepcopy(net).double(), stack, data(4)[0]))


def test_chunks_hold_no_more_than_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_module, "CHAIN_BYTES", 8 * 300)
    monkeypatch.setattr(forward_module, "MAPPED_BYTES", 8 * 300)
    x = torch.zeros(10, 2, dtype=torch.float64)
    for net in (mlp(2, 6, 1), Wrapped(mlp(2, 6, 1))):
        stack = random_stack(net, 3)
        assert forward_module.Forward(net, x).widest(stack) == 60
        assert forward_module.Forward(net, x).chunk(stack) == 5


def test_a_snapshot_of_a_net_is_a_copy() -> None:
    net = nn.Linear(2, 1)
    before, taken = net.bias.item(), snapshot(net)
    with torch.no_grad():
        net.bias.add_(1.0)
    assert taken["bias"].shape == (1, 1)
    assert taken["bias"].item() == before


def test_refusals_say_what_to_do() -> None:
    net, (x, y) = mlp(2, 3, 1), data(4)
    stack, mse = random_stack(net, 2), nn.MSELoss()
    with pytest.raises(
        ValueError, match=r"x is torch.float32 but 0.weight is torch.float64; cast x"
    ):
        outputs(net, stack, x.float())
    with pytest.raises(ValueError, match=r"y is torch.float32 but x is torch.float64; cast y"):
        losses(net, mse, stack, x, y.float())
    with pytest.raises(ValueError, match=r"the net has 0.weight.*give exactly those"):
        outputs(net, {"0.weight": stack["0.weight"]}, x)
    with pytest.raises(ValueError, match=r"0.weight has shape \[3, 2\].*unsqueeze\(0\)"):
        outputs(
            net,
            {name: p[0].expand(p.shape[1:]) for name, p in stack.items()}
            | {
                "0.bias": torch.zeros(3, dtype=torch.float64),
                "2.weight": torch.zeros(3, 3, dtype=torch.float64),
                "2.bias": torch.zeros(3, dtype=torch.float64),
            },
            x,
        )
    with pytest.raises(ValueError, match="same number of snapshots"):
        outputs(net, stack | {"2.bias": stack["2.bias"][:1]}, x)
    with pytest.raises(ValueError, match="same number of snapshots"):
        outputs(net, {name: p[:0] for name, p in stack.items()}, x)
    with pytest.raises(ValueError, match="chunk is 0"):
        outputs(net, stack, x, chunk=0)
    with pytest.raises(ValueError, match=r"output has shape \[4, 1\] but y has \[4\]"):
        losses(net, mse, stack, x, y[:, 0])
    with pytest.raises(ValueError, match="reduction 'none'"):
        losses(net, nn.MSELoss(reduction="none"), stack, x, y)


def test_class_weights_of_a_fit_in_float32_are_measured_in_float64() -> None:
    net, weight = nn.Linear(2, 3), torch.tensor([1.0, 3.3, 0.2])
    x, y = torch.randn(9, 2).double(), torch.arange(9) % 3
    stack = {name: p.double() for name, p in snapshot(net).items()}
    found = losses(net, nn.CrossEntropyLoss(weight=weight), stack, x, y)
    output = x @ stack["weight"][0].T + stack["bias"][0]
    exact = nn.functional.cross_entropy(output, y, weight=weight.double())
    assert found[0].item() == pytest.approx(exact.item(), rel=1e-12)
    assert found.dtype == torch.float64
