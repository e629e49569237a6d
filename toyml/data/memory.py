"""Data that fits in memory, handed over whole."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toyml.engine import Block, in_blocks

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
        """Draw the rows: x [n, d] and y [n, k], or numbers of classes [n], as NumPy arrays.

        Held-out rows use another stream.
        """

    def arrays(self, held_out: bool = False) -> tuple[Tensor, Tensor]:
        """The rows as float64 tensors x [n, d] and y [n, k] or [n]; drawn once."""
        key = "held-out" if held_out else "training"
        if key not in self._drawn:
            x, y = self.sample(held_out)
            x, y = (np.ascontiguousarray(a, dtype=np.float64) for a in (x, y))
            if x.ndim < 2 or y.ndim not in (1, 2) or len(x) != len(y) or len(x) == 0:
                raise ValueError(
                    f"{type(self).__name__} drew x {list(x.shape)} and y {list(y.shape)}; they "
                    "have to be [n, d] and [n, k] (or classes [n]) with the same n >= 1"
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
        dtypes = {
            "64-true": torch.float64,
            "16-true": torch.float16,
            "bf16-true": torch.bfloat16,
        }
        dtype = dtypes.get(str(self.trainer.precision) if self.trainer else "", torch.float32)
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
        steps = self.steps_per_pass if has_epochs(trainer) else self.block_size
        shuffle = self.shuffle and not trainer.overfit_batches  # type: ignore[attr-defined]
        block = Block(x, y, steps, batch_size, shuffle, self.seed)
        return Blocks(block) if in_blocks(trainer.lightning_module) else Batches(trainer, block)

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
    """Ordinary batches (x, y), in the same order as blocks would take them.

    An epoch lasts as long as a block would, so that validation and early stopping come at the same
    steps; with ``trainer.max_epochs`` or a limit on the batches it is one pass over the data.

    Under a distributed strategy with R processes each takes its R-th of every batch, so that the
    mean of the gradients is the gradient of the whole batch. A batch that does not divide evenly
    is given to every process whole, which leaves the mean unchanged too.
    """

    def __init__(self, trainer: pl.Trainer, block: Block) -> None:
        self.trainer, self.block = trainer, block
        n = len(block.x)
        self.per_pass = math.ceil(n / (block.batch_size or n))
        limit: Any = trainer.limit_train_batches
        overfit: Any = trainer.overfit_batches  # type: ignore[attr-defined]
        self.overfit = bool(overfit)
        by_pass = limit not in (None, 1.0) or self.overfit or has_epochs(trainer)
        self.length = self.per_pass if by_pass else block.steps

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first, last = self._place()
        for x, y in self.block.batches(first, last):
            share = self._share(len(x))
            yield x[share], y[share]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: where a continued fit goes on follows from the trainer's count of batches."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take over; Lightning asks for it in the middle of a pass."""

    def _place(self) -> tuple[int, int]:
        """The batches of this epoch, counted from the start of the fit."""
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        # Batches completed, not begun: one that Ctrl-C broke off comes again.
        done = progress.total.completed
        if self.overfit:
            return progress.current.completed, self.length
        limit = self.trainer.num_training_batches  # trainer.limit_train_batches shortens a pass
        if 0 < limit < self.length:
            number, start = divmod(done, int(limit))
            return number * self.length + start, (number + 1) * self.length
        return done, done - done % self.length + self.length

    def _share(self, n: int) -> slice:
        world = self.trainer.world_size
        return slice(None) if n % world else slice(self.trainer.global_rank, None, world)


def has_epochs(trainer: pl.Trainer) -> bool:
    """Whether the user counts in passes over the data."""
    return trainer.max_epochs is not None and trainer.max_epochs >= 0
