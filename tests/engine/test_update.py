"""One vector per group gives the very bits of ``torch.optim``, step by step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from toyml.engine.update import Update

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
Make = Callable[..., torch.optim.Optimizer]

RATES = st.sampled_from([1e-3, 0.01, 0.3])
SHARES = st.sampled_from([0.0, 0.3, 0.5, 0.9, 0.999])
DECAYS = st.sampled_from([0.0, 0.01, 0.3])
OPTIMIZERS = st.one_of(
    st.builds(partial, st.just(SGD), lr=RATES, weight_decay=DECAYS),
    st.builds(
        partial, st.just(SGD), lr=RATES, momentum=SHARES, dampening=SHARES, weight_decay=DECAYS
    ),
    st.builds(
        partial,
        st.just(SGD),
        lr=RATES,
        momentum=st.sampled_from([0.5, 0.9]),
        nesterov=st.just(True),
        weight_decay=DECAYS,
    ),
    st.builds(
        partial,
        st.sampled_from([ADAM, ADAMW]),
        lr=RATES,
        betas=st.tuples(SHARES, SHARES),
        eps=st.sampled_from([1e-8, 1e-3]),
        weight_decay=DECAYS,
    ),
)
# Sizes on both sides of what the processor takes at once, 8 or 16 numbers.
SHAPES = st.lists(
    st.lists(st.integers(1, 9), max_size=2).map(tuple) | st.integers(1, 70).map(lambda n: (n,)),
    min_size=1,
    max_size=5,
)
DTYPES = st.sampled_from([torch.float32, torch.float64])


def draws(shapes: list[tuple[int, ...]], seed: int, dtype: torch.dtype, scale: float = 1.0) -> Any:
    """Tensors whose sizes differ by factors of thousands, some zeros among them."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for shape in shapes:
        values = torch.randn(shape, generator=generator, dtype=dtype)
        spread = torch.randn(shape, generator=generator, dtype=dtype)
        zeros = torch.rand(shape, generator=generator) < 0.1
        found.append((scale * values * (2 * spread).exp()).masked_fill(zeros, 0))
    return found


class Pair:
    """The same parameters, one set updated by torch, the other by ``Update``."""

    def __init__(self, make: Make, values: list[Tensor], groups: int = 1) -> None:
        self.theirs = [v.clone().requires_grad_() for v in values]
        self.ours = [v.clone().requires_grad_() for v in values]
        self.torch, self.optimizer = (
            make([{"params": parameters[i::groups]} for i in range(groups)])
            for parameters in (self.theirs, self.ours)
        )
        self.order = [
            i for g in range(groups) for i in range(len(values))[g::groups]
        ]  # of the groups, one after the other
        self.parameters = [self.ours[i] for i in self.order]

    def update(self) -> Update:
        return Update(self.optimizer, self.parameters)

    def step(self, update: Update, gradients: list[Tensor], in_place: bool = True) -> None:
        """One step on both sides."""
        for parameter, gradient in zip(self.theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        self.torch.step()
        with torch.no_grad():
            found = [gradients[i] for i in self.order]
            if in_place and update.gradients[0] is not None:
                for place, gradient in zip(update.gradients, found, strict=True):
                    assert place is not None
                    place.copy_(gradient)
                update(update.gradients)
            else:
                update(found)

    def check(self) -> None:
        """Everything the same, bit for bit."""
        for a, b in zip(self.theirs, self.ours, strict=True):
            assert torch.equal(a, b)
            one, two = self.torch.state.get(a, {}), self.optimizer.state.get(b, {})
            assert {k for k, v in one.items() if v is not None} == set(two)
            for name, value in two.items():
                assert torch.equal(one[name], value), name
                assert one[name].dtype == value.dtype
                assert one[name].shape == value.shape


@given(OPTIMIZERS, SHAPES, DTYPES, st.integers(0, 10**6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_step_has_torchs_bits(
    make: Make, shapes: list[tuple[int, ...]], dtype: torch.dtype, seed: int, in_place: bool
) -> None:
    pair = Pair(make, draws(shapes, seed, dtype))
    update = pair.update()
    for step in range(6):
        pair.step(update, draws(shapes, seed + step + 1, dtype, 10.0 ** (step - 3)), in_place)
        update.finish()
        pair.check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [ADAM, partial(SGD, momentum=0.9)])
def test_a_long_vector_has_torchs_bits(kind: Any, dtype: torch.dtype) -> None:
    """Thousands of numbers at once: what a processor does with eight, and with the rest."""
    shapes = [(31, 17), (31,), (7, 31), (7,), (1,)] * 5
    pair = Pair(partial(kind, lr=0.01), draws(shapes, 0, dtype))
    update = pair.update()
    for step in range(40):
        pair.step(update, draws(shapes, step + 1, dtype))
    update.finish()
    pair.check()


@given(OPTIMIZERS, DTYPES, st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_blocks_continue_where_the_last_one_ended(make: Make, dtype: torch.dtype, n: int) -> None:
    """A new Update per block, torch's own step between two, and groups of parameters."""
    shapes = [(3, 2), (3,), (1, 3), (20,)]
    pair = Pair(make, draws(shapes, 1, dtype), groups=n)
    for block in range(3):
        update = pair.update()
        for step in range(2):
            pair.step(update, draws(shapes, 10 * block + step, dtype))
        update.finish()
        gradients = draws(shapes, 100 + block, dtype)
        for side, optimizer in ((pair.theirs, pair.torch), (pair.ours, pair.optimizer)):
            for parameter, gradient in zip(side, gradients, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
        pair.check()


@pytest.mark.parametrize("kind", [ADAM, partial(SGD, momentum=0.9), SGD])
def test_a_saved_state_is_torchs_own(kind: Any, tmp_path: Any) -> None:
    """What is saved loads into the other optimizer, and both go on with the same bits."""
    shapes = [(3, 2), (3,)]
    pair = Pair(partial(kind, lr=0.1), draws(shapes, 0, torch.float32))
    update = pair.update()
    for step in range(3):
        pair.step(update, draws(shapes, step, torch.float32))
    update.finish()
    torch.save(pair.optimizer.state_dict(), tmp_path / "ours")
    torch.save(pair.torch.state_dict(), tmp_path / "theirs")
    pair.optimizer.load_state_dict(torch.load(tmp_path / "theirs", weights_only=True))
    pair.torch.load_state_dict(torch.load(tmp_path / "ours", weights_only=True))
    update = pair.update()
    for step in range(3):
        pair.step(update, draws(shapes, step, torch.float32))
    update.finish()
    pair.check()


@pytest.mark.parametrize("kind", [ADAM, partial(SGD, momentum=0.9)])
def test_a_scheduler_may_change_more_than_the_rate(kind: Any) -> None:
    """OneCycleLR also moves momentum, or Adam's first beta, at every step."""
    shapes = [(5, 2), (5,)]
    pair = Pair(partial(kind, lr=0.1), draws(shapes, 0, torch.float64))
    schedulers = [
        OneCycleLR(optimizer, max_lr=0.5, total_steps=20)
        for optimizer in (pair.torch, pair.optimizer)
    ]
    update = pair.update()
    for step in range(15):
        pair.step(update, draws(shapes, step, torch.float64))
        for scheduler in schedulers:
            scheduler.step()
    update.finish()
    pair.check()


@pytest.mark.parametrize("kind", [ADAM, partial(SGD, momentum=0.9)])
def test_a_parameter_without_gradient_is_left_out(kind: Any) -> None:
    shapes = [(5, 2), (5,)]
    pair = Pair(partial(kind, lr=0.1), draws(shapes, 0, torch.float32))
    update = pair.update()
    pair.step(update, draws(shapes, 1, torch.float32))
    for block in range(2):
        for step in range(3):
            found = draws(shapes, 10 * block + step, torch.float32)
            pair.theirs[0].grad, pair.theirs[1].grad = found[0], None
            pair.torch.step()
            update([found[0].clone(), None])
        update.finish()
        pair.check()
        update = pair.update()
        pair.step(update, draws(shapes, 5, torch.float32), in_place=False)
        update.finish()
        pair.check()


def test_plain_sgd_leaves_no_trace_in_the_state() -> None:
    pair = Pair(partial(SGD, lr=0.1), draws([(3,)], 0, torch.float32))
    update = pair.update()
    pair.step(update, draws([(3,)], 1, torch.float32))
    update.finish()
    assert pair.optimizer.state_dict()["state"] == {}


def test_published_gradients_stay(tmp_path: Any) -> None:
    """Whoever keeps ``.grad`` keeps the gradient of that step."""
    pair = Pair(partial(SGD, lr=0.1), draws([(3, 2), (3,)], 0, torch.float32))
    update = pair.update()
    pair.step(update, draws([(3, 2), (3,)], 1, torch.float32))
    update.publish(update.gradients)
    kept = [p.grad for p in pair.ours if p.grad is not None]
    assert len(kept) == 2
    before = copy.deepcopy(kept)
    pair.step(update, draws([(3, 2), (3,)], 2, torch.float32))
    for gradient, value in zip(kept, before, strict=True):
        assert torch.equal(gradient, value)


@pytest.mark.parametrize(
    "make",
    [
        partial(ADAM, amsgrad=True),
        partial(ADAM, fused=True),
        partial(SGD, lr=0.1, maximize=True),
        partial(torch.optim.RMSprop),
    ],
)
def test_other_optimizers_take_their_own_step(make: Any) -> None:
    shapes = [(3, 2), (3,)]
    pair = Pair(make, draws(shapes, 0, torch.float32))
    update = pair.update()
    assert update.gradients == [None, None]
    for step in range(4):
        pair.step(update, draws(shapes, step, torch.float32))
    update.finish()
    pair.check()


def test_groups_of_mixed_precision_take_torchs_step() -> None:
    values = [*draws([(3,)], 0, torch.float32), *draws([(4,)], 0, torch.float64)]
    pair = Pair(partial(ADAM, lr=0.1), values)
    update = pair.update()
    pair.step(update, [torch.ones_like(v) for v in values])
    assert update.gradients == [None, None]
    pair.check()
