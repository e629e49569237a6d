"""Rows in memory: what is refused, which streams are drawn, in which order rows are seen."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Rows
from toyml import data
from toyml.data import InMemory
from toyml.data.memory import Batches
from toyml.engine import Block, batch_order

SAMPLERS = [
    name
    for name in data.__all__
    if name != "InMemory"
    and isinstance(getattr(data, name), type)
    and issubclass(getattr(data, name), InMemory)
]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0; give at least 1"),
        ({"batch_size": -3}, "batch_size is -3"),
        ({"block_size": 0}, "block_size is 0"),
        ({"validation": -1}, "validation is -1"),
        ({"seed": -1}, "data seed is -1"),
    ],
)
def test_sizes_out_of_range_are_refused(sizes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Rows([[0.0]], [[0.0]], **sizes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0.0, 1.0], [[0.0], [1.0]]),
        ([[0.0], [1.0]], [[[0.0]], [[1.0]]]),
        ([[0.0], [1.0]], [[0.0]]),
        ([[0.0], [1.0]], [[0.0], [1.0], [2.0]]),
        (np.zeros((0, 2)), np.zeros((0, 1))),
    ],
    ids=["x [n]", "y [n, k, 1]", "two n", "more y", "no rows"],
)
def test_shapes_other_than_n_d_and_n_k_are_refused(x: Any, y: Any) -> None:
    with pytest.raises(ValueError, match=r"Rows drew x .* and y .*\[n, d\] and \[n, k\]") as caught:
        Rows(x, y).arrays()
    for shape in (np.shape(x), np.shape(y)):
        assert str(list(shape)) in str(caught.value)


def test_rows_are_drawn_once_and_kept_in_float64() -> None:
    class Counting(Rows):
        drawn = 0

        def sample(self, held_out: bool) -> Any:
            self.drawn += 1
            return super().sample(held_out)

    rows = Counting([[1], [2]], [[0], [1]], validation=1)
    x, y = rows.arrays()
    assert x.dtype == y.dtype == torch.float64
    assert rows.arrays()[0] is x
    rows.example  # noqa: B018
    rows.rows_for_fit()
    assert rows.drawn == 1
    assert rows.arrays(held_out=True)[0].tolist() == [[1.0]]
    assert rows.drawn == 2


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_seed_is_a_draw_of_its_own_and_leaves_the_global_generators(name: str) -> None:
    make = getattr(data, name)
    np_before, torch_before = np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    first, again = make(seed=5), make(seed=5)
    for a, b in zip(first.arrays(), again.arrays(), strict=True):
        assert torch.equal(a, b)
    assert np.array_equal(np_before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch_before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["LogisticRows", "Moons", "NoisyParabola", "Rings"])
def test_another_seed_and_held_out_rows_are_other_points(name: str) -> None:
    make = getattr(data, name)
    seed5, seed6 = (make(seed=s, validation=40) for s in (5, 6))
    rows, held_out, other = (
        {tuple(row) for row in torch.cat(drawn, dim=1).tolist()}
        for drawn in (seed5.arrays(), seed5.arrays(held_out=True), seed6.arrays())
    )
    assert len(held_out) >= 40
    assert not rows & held_out, "a held-out row was trained on"
    assert not rows & other


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 10), st.booleans())
@settings(deadline=None, max_examples=60)
def test_every_pass_of_a_block_sees_every_row_once(
    n: int, size: int, seed: int, shuffle: bool
) -> None:
    x = torch.arange(float(n))[:, None]
    per_pass = math.ceil(n / size)
    block = Block(x, -x, 10, size, shuffle, seed)
    orders = []
    for number in range(3):
        batches = list(block.batches(number * per_pass, (number + 1) * per_pass))
        assert [len(b) for b, _ in batches[:-1]] == [size] * (per_pass - 1)
        assert all(torch.equal(b, -t) for b, t in batches), "targets go with their rows"
        rows = torch.cat([b for b, _ in batches]).flatten().tolist()
        assert sorted(rows) == list(range(n))
        orders.append(rows)
    if not shuffle:
        assert orders[0] == list(range(n))
    elif n > 12:
        assert orders[0] != orders[1] != orders[2], "each pass has an order of its own"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 30), st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_a_block_can_start_anywhere(n: int, size: int, first: int, count: int) -> None:
    x = torch.arange(float(n))[:, None]
    whole = list(Block(x, x, 10, size, True, 7).batches(0, first + count))[first:]
    part = Block(x, x, 10, size, True, 7).batches(first, first + count)
    for (a, _), (b, _) in zip(whole, part, strict=True):
        assert torch.equal(a, b)


def test_the_order_follows_from_seed_and_pass_alone() -> None:
    before = torch.get_rng_state()
    orders = {(seed, e): batch_order(50, seed, e).tolist() for seed in range(4) for e in range(4)}
    assert len({tuple(order) for order in orders.values()}) == 16
    assert batch_order(50, 2, 3).tolist() == orders[2, 3]
    assert torch.equal(before, torch.get_rng_state())


class Fake:
    """What Batches asks of a trainer, for one process of several in the middle of a fit."""

    def __init__(self, rank: int = 0, world: int = 1, done: int = 0, max_epochs: int = 1) -> None:
        self.global_rank, self.world_size, self.max_epochs = rank, world, max_epochs
        self.overfit_batches, self.limit_train_batches = 0.0, 1.0
        self.num_training_batches = math.inf
        progress = SimpleNamespace(total=SimpleNamespace(completed=done))
        self.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))


def batches(n: int, size: int | None, steps: int = 10, **fake: int) -> list[torch.Tensor]:
    """The batches of one epoch: a pass, or with max_epochs=-1 as many steps as a block has."""
    x = torch.arange(float(n))[:, None]
    loader = Batches(Fake(**fake), Block(x, x, steps, size, True, 7))  # type: ignore[arg-type]
    return [x.flatten() for x, _ in loader]


@pytest.mark.parametrize("size", [None, 4, 6, 5])
def test_two_processes_share_the_rows_of_every_batch(size: int | None) -> None:
    whole = batches(21, size)
    shares = [batches(21, size, rank=rank, world=2) for rank in (0, 1)]
    assert len(whole) == len(shares[0]) == len(shares[1])
    for batch, first, second in zip(whole, *shares, strict=True):
        if len(batch) % 2:
            assert torch.equal(first, batch)
            assert torch.equal(second, batch)
        else:
            assert len(first) == len(second) == len(batch) // 2
            assert sorted([*first.tolist(), *second.tolist()]) == sorted(batch.tolist())
        # What has to hold of either: the mean of the processes is the mean of the batch.
        mean = (first.double().mean() + second.double().mean()) / 2
        assert mean.item() == pytest.approx(batch.double().mean().item(), rel=1e-14)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 50))
@settings(deadline=None, max_examples=60)
def test_ordinary_batches_continue_where_blocks_would(n: int, size: int, done: int) -> None:
    x = torch.arange(float(n))[:, None]
    per_pass = math.ceil(n / size)
    end = (done // per_pass + 1) * per_pass
    blocks = [b.flatten() for b, _ in Block(x, x, 10, size, True, 7).batches(done, end)]
    for a, b in zip(batches(n, size, done=done), blocks, strict=True):
        assert torch.equal(a, b)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 50), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_without_epochs_they_come_in_the_rhythm_of_blocks(
    n: int, size: int, done: int, steps: int
) -> None:
    x = torch.arange(float(n))[:, None]
    end = (done // steps + 1) * steps
    blocks = [b.flatten() for b, _ in Block(x, x, steps, size, True, 7).batches(done, end)]
    found = batches(n, size, steps, done=done, max_epochs=-1)
    for a, b in zip(found, blocks, strict=True):
        assert torch.equal(a, b)


def test_a_batch_as_large_as_the_data_is_the_full_batch_in_its_own_order() -> None:
    whole = batches(9, None)
    assert [b.tolist() for b in whole] == [list(range(9))]
    assert Rows(np.zeros((9, 1)), np.zeros((9, 1)), batch_size=9).steps_per_pass == 1
    assert Rows(np.zeros((9, 1)), np.zeros((9, 1)), batch_size=4).steps_per_pass == 3
