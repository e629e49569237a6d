from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
)

from tests.conftest import cloud
from toyml.engine import all_rows
from toyml.errors import UserError

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10)


class Module(pl.LightningDataModule):
    """A data module as people bring them."""

    def __init__(self, train: Any, held: Any = None) -> None:
        super().__init__()
        self.train, self.held = train, held

    def train_dataloader(self) -> Any:
        return self.train

    def val_dataloader(self) -> Any:
        return self.held


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
def test_all_rows_come_in_their_order(shuffle: bool, drop_last: bool) -> None:
    loader = DataLoader(TensorDataset(X, Y), 3, shuffle=shuffle, drop_last=drop_last)
    state = torch.get_rng_state()
    for data in (loader, Module(loader), Module([loader])):
        x, y = all_rows(data)
        assert torch.equal(x, X)
        assert torch.equal(y, Y)
    assert torch.equal(torch.get_rng_state(), state), "no draw of the fit's is taken"


def test_a_random_data_set_draws_without_moving_the_generators() -> None:
    class Noisy(Dataset[Any]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, i: int) -> Any:
            return X[i] + torch.randn(2) + np.random.normal(), Y[i]  # noqa: NPY002

    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert len(all_rows(DataLoader(Noisy(), 2, shuffle=True))[0]) == 4
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


def test_a_subset_stays_one() -> None:
    sampler = SubsetRandomSampler([7, 2, 5])
    _, y = all_rows(DataLoader(TensorDataset(X, Y), 2, sampler=sampler))
    assert y.tolist() == [2, 5, 7]


def test_held_out_rows_and_our_own_data() -> None:
    data = Module(DataLoader(TensorDataset(X, Y)), DataLoader(TensorDataset(X[:3], Y[:3])))
    assert all_rows(data, held_out=True)[1].tolist() == [0, 1, 2]
    own = cloud(validation=4)
    assert len(all_rows(own)[0]) == 37
    assert len(all_rows(own, held_out=True)[0]) == 4


class Stream(IterableDataset[Any]):
    """Rows without an end."""

    def __iter__(self) -> Any:
        while True:
            yield X[0], Y[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (DataLoader(Stream(), 2), "stream without an end"),
        (DataLoader(TensorDataset(X), 2), "pairs"),
        (Module(None), "no loader"),
        (Module([]), "no rows"),
        (DataLoader([{"x": 1.0}], 1), "dict"),
    ],
)
def test_what_has_no_rows_says_so(data: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        all_rows(data)
    assert "\n" not in str(caught.value)
