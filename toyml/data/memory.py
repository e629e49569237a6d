"""Data that fits in memory, handed over whole."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toyml.engine import Block, batch_order, in_blocks

Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]


class InMemory(pl.LightningDataModule):
    """A data set drawn once and kept; a subclass says how it is drawn.

    The training loader hands over one :class:`~toyml.engine.Block` of ``block_size`` optimizer
    steps at a time (or, where the fit cannot run in blocks, ordinary batches (x, y)). Lightning
    sees a block as an epoch of one batch, so validation, early stopping and checkpoints happen
    between blocks; with ``trainer.max_epochs`` set, an epoch is one pass over the data instead.

    Args:
        batch_size: Rows per step; ``None`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        seed: Seed of every draw here: data, noise and order, each with a generator of its own.
        block_size: Optimizer steps per block. The C kernel takes up to 20 blocks as one where
            nothing acts between them: no validation, early stopping or other callback at the end
            of an epoch.
        validation: Number of held-out rows, drawn independently by the same sampler; 0 for none.

    Raises:
        ValueError: A size out of range.
    """

    hands_over_blocks = True

    def __init__(
        self,
        batch_size: int | None,
        shuffle: bool,
        seed: int,
        block_size: int,
        validation: int = 0,
    ) -> None:
        super().__init__()
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give at least 1, or null for all rows")
        if block_size < 1:
            raise ValueError(f"block_size is {block_size}; it has to be at least 1")
        if validation < 0:
            raise ValueError(f"validation is {validation}; it has to be 0 or more")
        if seed < 0:
            raise ValueError(f"data seed is {seed}; it has to be 0 or more")
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.block_size, self.validation = block_size, validation
        self._drawn: dict[str, tuple[Tensor, Tensor]] = {}

    @abstractmethod
    def sample(self, held_out: bool) -> Arrays:
        """Draw the rows: x [n, d] and y [n, k], float64. Held-out rows use another stream."""

    def arrays(self, held_out: bool = False) -> tuple[Tensor, Tensor]:
        """The rows as float64 tensors x [n, d], y [n, k]; drawn once."""
        key = "held-out" if held_out else "training"
        if key not in self._drawn:
            x, y = self.sample(held_out)
            x, y = (np.ascontiguousarray(a, dtype=np.float64) for a in (x, y))
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) == 0:
                raise ValueError(
                    f"{type(self).__name__} drew x {list(x.shape)} and y {list(y.shape)}; they "
                    "have to be [n, d] and [n, k] with the same n >= 1"
                )
            self._drawn[key] = (torch.from_numpy(x), torch.from_numpy(y))
        return self._drawn[key]

    @property
    def example(self) -> tuple[Tensor, Tensor]:
        """The first rows, for shape checks."""
        x, y = self.arrays()
        return x[:2], y[:2]

    def rows_for_fit(self, held_out: bool = False) -> tuple[Tensor, Tensor]:
        """The rows (or the held-out ones) in the precision of the fit."""
        precision = str(self.trainer.precision) if self.trainer else "32-true"
        dtype = torch.float64 if precision == "64-true" else torch.float32
        x, y = self.arrays(held_out)
        return x.to(dtype), y.to(dtype)

    @property
    def steps_per_pass(self) -> int:
        """Optimizer steps in one pass over the data."""
        n = len(self.arrays()[0])
        return 1 if self.batch_size is None else math.ceil(n / self.batch_size)

    def train_dataloader(self) -> Blocks | Batches:
        """Blocks of steps, or ordinary batches where blocks would not be right."""
        x, y = self.rows_for_fit()
        whole = self.batch_size is None or self.batch_size >= len(x)
        batch_size = None if whole else self.batch_size
        trainer = self.trainer
        assert trainer is not None
        if not in_blocks(trainer.lightning_module):
            shuffle = self.shuffle and not trainer.overfit_batches  # type: ignore[attr-defined]
            return Batches(trainer, x, y, batch_size, shuffle, self.seed)
        by_pass = trainer.max_epochs is not None and trainer.max_epochs >= 0
        steps = self.steps_per_pass if by_pass else self.block_size
        return Blocks(Block(x, y, steps, batch_size, self.shuffle, self.seed))

    def val_dataloader(self) -> Whole | list[Whole]:
        """Held-out rows; where there are none, ``validate`` looks at the training rows."""
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        return [] if fitting and not self.validation else self.test_dataloader()

    def test_dataloader(self) -> Whole:
        """Held-out rows, or the training rows where there are none."""
        return Whole(*self.rows_for_fit(held_out=self.validation > 0))

    def predict_dataloader(self) -> Whole:
        """The training rows."""
        return Whole(*self.rows_for_fit())


class Whole:
    """A loader of one batch: all rows."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.rows = (x, y)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter((self.rows,))


class Blocks:
    """A loader of one block: Lightning's epoch."""

    def __init__(self, block: Block) -> None:
        self.block = block

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Block]:
        return iter((self.block,))


class Batches:
    """Ordinary batches (x, y) of one pass, in the same order as blocks would take them.

    Under a distributed strategy with R processes each takes its R-th of every batch, so that the
    mean of the gradients is the gradient of the whole batch. A batch that does not divide evenly
    is given to every process whole, which leaves the mean unchanged too.
    """

    def __init__(
        self,
        trainer: pl.Trainer,
        x: Tensor,
        y: Tensor,
        batch_size: int | None,
        shuffle: bool,
        seed: int,
    ) -> None:
        self.trainer, self.x, self.y = trainer, x, y
        self.batch_size = batch_size or len(x)
        self.shuffle, self.seed = shuffle and batch_size is not None, seed

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        number, start = self._place()
        n = len(self.x)
        order = batch_order(n, self.seed, number) if self.shuffle else torch.arange(n)
        for rows in torch.split(order, self.batch_size)[start:]:
            share = self._share(rows)
            yield self.x[share], self.y[share]

    def _place(self) -> tuple[int, int]:
        """Which pass over the data this is, and how many of its batches were taken before."""
        if self.trainer.overfit_batches:  # type: ignore[attr-defined]
            return 0, 0
        limit = self.trainer.num_training_batches  # trainer.limit_train_batches shortens a pass
        per_pass = int(limit) if 0 < limit < len(self) else len(self)
        return divmod(self.trainer.fit_loop.total_batch_idx + 1, per_pass)

    def _share(self, rows: Tensor) -> Tensor:
        world = self.trainer.world_size
        return rows if len(rows) % world else rows[self.trainer.global_rank :: world]
