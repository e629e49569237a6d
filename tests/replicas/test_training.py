"""Every replica is the fit it would be alone, on every route."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.compiled.test_kernel import needs_compiler
from tests.conftest import plain_loop
from toyml import optim
from toyml.engine import Block
from toyml.errors import UserError
from toyml.models import MLP
from toyml.replicas import Replicated, seeded_parameters, train_replicas

DOUBLE = torch.float64
Make = Callable[[], nn.Module]
XOR = (
    torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]], dtype=DOUBLE),
    torch.tensor([[0.0], [1], [1], [0]], dtype=DOUBLE),
)


def cloud(n: int = 23) -> tuple[Tensor, Tensor]:
    """Points and a smooth function of them: nothing to memorize, so rounding is not amplified."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=generator, dtype=DOUBLE)
    return x, torch.sigmoid(x[:, :1] * x[:, 1:])


class Skipping(nn.Module):
    """A net that is no chain."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.outer = nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner(x)
        output: Tensor = self.outer(h + torch.tanh(self.norm(h)))
        return output


NETS: dict[str, tuple[Make, Make]] = {
    "xor": (lambda: MLP([2, 5, 1], nn.Sigmoid(), nn.Sigmoid()), nn.MSELoss),
    "probabilities": (lambda: MLP([2, 3, 1], nn.Tanh(), nn.Sigmoid()), nn.BCELoss),
    "logits": (lambda: MLP([2, 3, 1], nn.Tanh()), nn.BCEWithLogitsLoss),
    "deep relu": (lambda: MLP([2, 6, 4, 1], nn.ReLU()), nn.BCEWithLogitsLoss),
    "no bias": (lambda: MLP([2, 4, 3, 1], nn.Tanh(), bias=False), nn.L1Loss),
    "linear": (lambda: nn.Linear(2, 1), lambda: nn.HuberLoss(delta=0.3)),
    "elu": (lambda: MLP([2, 4, 1], nn.ELU()), nn.SmoothL1Loss),
    "skipping": (Skipping, nn.BCEWithLogitsLoss),
}
SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
RULES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(SGD, lr=0.1),
    "every parameter": partial(SGD, lr=0.03, momentum=0.9, dampening=0.2, weight_decay=0.01),
    "nesterov": partial(SGD, lr=0.03, momentum=0.8, nesterov=True, weight_decay=0.01),
    "adam": partial(ADAM, lr=0.005, weight_decay=0.02),
    "adamw": partial(ADAMW, lr=0.003),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.003),
}
ROUTES = [pytest.param(None, marks=needs_compiler, id="C"), pytest.param(False, id="eager")]


def stack_of(build: Make, seeds: range) -> Replicated:
    initial = seeded_parameters(build, seeds)
    return Replicated(build(), initial).to(DOUBLE)


def deviation(stack: Replicated, i: int, net: nn.Module) -> float:
    mine = stack.replica(i)
    return max(float((p.detach() - mine[name]).abs().max()) for name, p in net.named_parameters())


def alone(
    build: Make, seed: int, loss: nn.Module, rule: Any, batches: Any, steps: int
) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(seed)
    net = build().to(DOUBLE)
    return net, plain_loop(net, loss, rule, batches, steps)


CHAINS = [
    ("xor", "sgd"),
    ("xor", "nesterov"),
    ("probabilities", "every parameter"),
    ("logits", "adam"),
    ("deep relu", "every parameter"),
    ("deep relu", "adamw"),
    ("no bias", "nesterov"),
    ("linear", "every parameter"),
]
"""Nets, losses and rules that have a C form and a derivative written down."""

CASES = [pytest.param(*case, None, marks=needs_compiler) for case in CHAINS] + [
    pytest.param(*case, False)
    for case in (
        *CHAINS,
        ("linear", "rmsprop"),
        ("elu", "every parameter"),
        ("elu", "adam"),
        ("skipping", "nesterov"),
        # No Adam: a LayerNorm leaves it directions in which the gradient is rounding alone.
        ("skipping", "every parameter"),
    )
]


@pytest.mark.parametrize(("name", "rule", "compiled"), CASES)
def test_replicas_equal_separate_fits_after_500_steps(
    name: str, rule: str, compiled: bool | None
) -> None:
    (build, make_loss), steps = NETS[name], 500
    x, y = XOR if name == "xor" else cloud()
    stack = stack_of(build, range(3, 5))
    outcome = train_replicas(
        stack, make_loss(), RULES[rule](stack.parameters()), x, y, steps,
        noted=[0, 7, 499, steps], recorded=[0, 123, steps], compiled=compiled,
    )  # fmt: skip
    expected_route = {
        True: "C kernel" if compiled is None else "batched chain, derivative written down",
        False: "vmap(functional_call)" if name == "skipping" else "batched chain, autograd",
    }[(name, rule) in CHAINS]
    assert outcome.route.startswith(expected_route)
    for i in range(2):
        net, losses = alone(build, 3 + i, make_loss(), RULES[rule], lambda _: (x, y), steps)
        assert deviation(stack, i, net) < 1e-12
        with torch.no_grad():
            last = float(make_loss()(net(x), y))
        expected = [losses[0], losses[7], losses[499], last]
        assert outcome.losses[:, i].tolist() == pytest.approx(expected, abs=1e-12)
    for key, p in stack.named_parameters():
        start, _, end = outcome.snapshots[key]
        assert torch.equal(start, stack_of(build, range(3, 5)).get_parameter(key))
        assert torch.equal(end, p)
    assert (outcome.diverged == -1).all()


@pytest.mark.parametrize("compiled", ROUTES)
@pytest.mark.parametrize("name", ["logits", "elu"])
def test_a_recorded_step_is_where_a_shorter_fit_ends(name: str, compiled: bool | None) -> None:
    build, make_loss = NETS[name]
    x, y = cloud()

    def run(steps: int, recorded: list[int]) -> tuple[Replicated, Any]:
        stack = stack_of(build, range(3))
        optimizer = RULES["every parameter"](stack.parameters())
        loss = make_loss()
        return stack, train_replicas(
            stack, loss, optimizer, x, y, steps, recorded=recorded, compiled=compiled
        )

    _, outcome = run(40, [17, 25])
    assert outcome.recorded == [17, 25]
    for row, steps in enumerate(outcome.recorded):
        shorter, _ = run(steps, [])
        for key, p in shorter.named_parameters():
            assert torch.equal(outcome.snapshots[key][row], p)


@pytest.mark.parametrize("compiled", ROUTES)
@pytest.mark.parametrize("name", ["logits", "elu", "skipping"])
def test_every_replica_sees_the_batches_of_its_own_fit(name: str, compiled: bool | None) -> None:
    build, make_loss = NETS[name]
    x, y = cloud()
    batch = Block(x, y, 100, 5, True, 7)
    stack = stack_of(build, range(2))
    rule = RULES["every parameter"]
    train_replicas(
        stack, make_loss(), rule(stack.parameters()), x, y, 150, batch=batch, compiled=compiled
    )
    own = Block(x, y, 100, 5, True, 7)
    for i in range(2):
        net, _ = alone(build, i, make_loss(), rule, lambda s: next(own.batches(s, s + 1)), 150)
        assert deviation(stack, i, net) < 1e-12


@pytest.mark.parametrize("compiled", ROUTES)
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_settings_per_replica_equal_separate_fits(kind: str, compiled: bool | None) -> None:
    build, make_loss = NETS["logits"]
    x, y = cloud()
    lrs, decays = [0.002, 0.01, 0.005], [0.0, 0.1, 0.02]
    shares = [0.0, 0.9, 0.5] if kind == "SGD" else [0.7, 0.9, 0.8]
    settings: dict[str, Any] = {"lr": lrs, "weight_decay": decays}
    settings |= (
        {"momentum": shares, "dampening": 0.1} if kind == "SGD" else {"betas": (shares, 0.99)}
    )
    stack = stack_of(build, range(3))
    optimizer = getattr(optim, kind)(stack.parameters(), **settings)
    train_replicas(stack, make_loss(), optimizer, x, y, 500, compiled=compiled)
    for i in range(3):
        own: dict[str, Any] = {"lr": lrs[i], "weight_decay": decays[i]}
        own |= (
            {"momentum": shares[i], "dampening": 0.1}
            if kind == "SGD"
            else {"betas": (shares[i], 0.99)}
        )
        rule = partial(getattr(torch.optim, kind), **own)
        net, _ = alone(build, i, make_loss(), rule, lambda _: (x, y), 500)
        assert deviation(stack, i, net) < 1e-12


@pytest.mark.parametrize("compiled", ROUTES)
@pytest.mark.parametrize("name", ["xor", "elu"])
def test_a_diverged_replica_stays_alone(name: str, compiled: bool | None) -> None:
    build = (lambda: MLP([2, 3, 1], nn.ReLU())) if name == "xor" else NETS["elu"][0]
    x, y = cloud()
    loss, steps = nn.MSELoss(), 60
    lrs = [0.05, 50.0, 0.1]
    stack = stack_of(build, range(3))
    optimizer = optim.SGD(stack.parameters(), lr=lrs)
    outcome = train_replicas(
        stack, loss, optimizer, x, y, steps,
        noted=range(steps + 1), recorded=range(steps + 1), compiled=compiled,
    )  # fmt: skip
    torch.manual_seed(1)
    net = build().to(DOUBLE)
    losses = plain_loop(net, loss, partial(SGD, lr=50.0), lambda _: (x, y), steps)
    first = next(i for i, value in enumerate(losses) if not value < float("inf"))
    assert outcome.diverged.tolist() == [-1, first, -1]
    assert outcome.losses[:first, 1].isfinite().all()
    assert outcome.losses[first + 1 :, 1].isnan().all()
    assert all(p[1].isnan().all() for p in stack.parameters())
    assert all(s[: first + 1, 1].isfinite().all() for s in outcome.snapshots.values())
    assert all(s[first + 1 :, 1].isnan().all() for s in outcome.snapshots.values())
    for i in (0, 2):
        rule = partial(SGD, lr=lrs[i])
        assert deviation(stack, i, alone(build, i, loss, rule, lambda _: (x, y), steps)[0]) < 1e-12


@pytest.mark.parametrize("compiled", ROUTES)
@pytest.mark.parametrize("name", ["logits", "elu", "skipping"])
def test_chunks_and_portions_change_nothing(
    name: str, compiled: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, make_loss = NETS[name]
    x, y = cloud()

    def run(memory: int) -> tuple[Replicated, Any]:
        stack = stack_of(build, range(7))
        lrs = torch.linspace(0.01, 0.1, 7)
        optimizer = optim.SGD(stack.parameters(), lr=lrs, momentum=0.9, dampening=0.3)
        outcome = train_replicas(
            stack, make_loss(), optimizer, x, y, 40,
            noted=[0, 20], recorded=range(0, 41, 3), compiled=compiled, memory=memory,
        )  # fmt: skip
        return stack, outcome

    whole, expected = run(2**30)
    monkeypatch.setattr("toyml.replicas.eager.FEWEST", 1)
    monkeypatch.setattr("toyml.replicas.training.PORTION", 11)
    parts, found = run(20_000)
    for p, q in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-13)
    torch.testing.assert_close(expected.losses, found.losses, rtol=0, atol=1e-13)
    for key, value in expected.snapshots.items():
        torch.testing.assert_close(value, found.snapshots[key], rtol=0, atol=1e-13)


@needs_compiler
def test_two_threads_give_the_same_bits() -> None:
    def run(threads: int) -> Replicated:
        torch.set_num_threads(threads)
        stack = stack_of(NETS["logits"][0], range(9))
        optimizer = optim.Adam(stack.parameters(), lr=torch.linspace(0.001, 0.1, 9))
        outcome = train_replicas(stack, nn.BCEWithLogitsLoss(), optimizer, *cloud(), 100)
        assert outcome.route.startswith("C kernel")
        return stack

    one, two = run(1), run(2)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


class Peeking(nn.Module):
    """A layer that takes a number out of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean().item()


class Branching(nn.Module):
    """A layer that does one thing or another."""

    def forward(self, x: Tensor) -> Tensor:
        return -x if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Dropout(0.5), r"layer 1 \(Dropout\) .*draws random numbers"),
        (nn.BatchNorm1d(3), r"layer 1 \(BatchNorm1d\) .*statistics of one replica"),
        (Peeking(), r"layer 1 \(Peeking\) .*takes a number out"),
        (Branching(), r"layer 1 \(Branching\) .*depends on the data"),
    ],
)
def test_a_layer_that_cannot_be_mapped_is_named(layer: nn.Module, words: str) -> None:
    net = nn.Sequential(nn.Linear(2, 3), layer, nn.Linear(3, 1)).to(DOUBLE)
    before = {name: b.clone() for name, b in net.named_buffers()}
    stack = Replicated(
        net, {name: p[None].expand(2, *p.shape) for name, p in net.named_parameters()}
    )
    with pytest.raises(UserError, match=words) as error:
        train_replicas(stack, nn.MSELoss(), optim.SGD(stack.parameters()), *cloud(), 3)
    assert "\n" not in str(error.value)
    assert all(torch.equal(b, before[name]) for name, b in net.named_buffers())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_what_normalizes_within_a_batch_is_mapped() -> None:
    def build() -> nn.Module:
        norm = nn.BatchNorm1d(3, track_running_stats=False)
        return nn.Sequential(nn.Linear(2, 3), norm, nn.Tanh(), nn.Linear(3, 1))

    stack, loss, (x, y) = stack_of(build, range(2)), nn.MSELoss(), cloud()
    train_replicas(stack, loss, SGD(stack.parameters(), lr=0.1), x, y, 100)
    for i in range(2):
        net, _ = alone(build, i, loss, partial(SGD, lr=0.1), lambda _: (x, y), 100)
        assert deviation(stack, i, net) < 1e-12


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.Adafactor, torch.optim.Muon])
def test_what_couples_replicas_is_refused(kind: Any) -> None:
    build = lambda: MLP([2, 3, 1], bias=False)  # noqa: E731
    stack = stack_of(build, range(2))
    flat = [nn.Parameter(p.detach()[0]) for p in stack.parameters()]
    optimizer = kind(flat)
    with pytest.raises(UserError, match=kind.__name__):
        train_replicas(stack, nn.MSELoss(), optimizer, *cloud(), 1)


def test_steps_out_of_range_are_named() -> None:
    stack = stack_of(NETS["linear"][0], range(2))
    optimizer = optim.SGD(stack.parameters())
    with pytest.raises(ValueError, match=r"steps \[11\]"):
        train_replicas(stack, nn.MSELoss(), optimizer, *cloud(), 10, noted=[0, 11])
    with pytest.raises(ValueError, match="not built on"):
        train_replicas(stack, nn.MSELoss(), optim.SGD(nn.Linear(1, 1).parameters()), *cloud(), 1)


@pytest.mark.parametrize("compiled", ROUTES)
def test_rows_that_do_not_fit_are_named(compiled: bool | None) -> None:
    stack = stack_of(lambda: MLP([2, 3, 2]), range(2))
    optimizer = optim.SGD(stack.parameters())
    x, y = cloud()
    run = partial(train_replicas, stack, nn.MSELoss(), optimizer, steps=1, compiled=compiled)
    with pytest.raises(UserError, match=r"\[23, 2\] but y has \[23, 1\]"):
        run(x=x, y=y)
    with pytest.raises(ValueError, match="float32"):
        run(x=x.float(), y=y)
    with pytest.raises(ValueError, match="as many rows"):
        run(x=x, y=y[:5])
