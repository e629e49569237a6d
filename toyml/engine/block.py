"""Blocks: K optimizer steps as one object that a loader hands over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


class Block:
    """K optimizer steps on data that is already where it is needed.

    Args:
        x: Inputs [n, d].
        y: Targets [n, k].
        steps: K, the number of optimizer steps the block stands for.
        batch_size: Rows per step; ``None`` is the full batch, one step per pass.
        shuffle: Draw a new order of the rows for every pass.
        seed: Seed of the order; pass e of the data uses ``batch_order(n, seed, e)``.
    """

    def __init__(
        self, x: Tensor, y: Tensor, steps: int, batch_size: int | None, shuffle: bool, seed: int
    ) -> None:
        self.x, self.y, self.steps = x, y, steps
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self._pass: tuple[int, Sequence[Tensor], Sequence[Tensor]] | None = None

    def to(self, device: torch.device, **_: object) -> Block:
        """Move the data; Lightning calls this once per block and it costs nothing when there."""
        self.x, self.y = self.x.to(device), self.y.to(device)
        return self

    @property
    def full(self) -> bool:
        """Whether every step sees all rows in their own order."""
        return self.batch_size is None

    def batches(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of steps ``first`` to ``last - 1`` (the step counts updates done before)."""
        if self.batch_size is None:
            for _ in range(first, last):
                yield self.x, self.y
            return
        per_pass = math.ceil(len(self.x) / self.batch_size)
        for step in range(first, last):
            number, index = divmod(step, per_pass)
            if self._pass is None or self._pass[0] != number:
                x, y = self.x, self.y
                if self.shuffle:
                    order = batch_order(len(x), self.seed, number).to(x.device)
                    x, y = x[order], y[order]
                self._pass = (number, x.split(self.batch_size), y.split(self.batch_size))  # type: ignore[no-untyped-call]
            yield self._pass[1][index], self._pass[2][index]

    def rows(self, first: int, last: int) -> Tensor | None:
        """Row indices of those batches [(last - first) * batch_size]; ``None`` for the full batch.

        The last batch of a pass may be short; -1 fills it up.
        """
        if self.batch_size is None:
            return None
        n, size = len(self.x), self.batch_size
        per_pass = math.ceil(n / size)
        passes = range(first // per_pass, (last - 1) // per_pass + 1)
        rows = torch.full((len(passes), per_pass * size), -1)
        for row, number in zip(rows, passes, strict=True):
            row[:n] = batch_order(n, self.seed, number) if self.shuffle else torch.arange(n)
        start = (first - passes[0] * per_pass) * size
        return rows.view(-1)[start : start + (last - first) * size]


def batch_order(n: int, seed: int, number: int) -> Tensor:
    """Order of the n rows in pass ``number`` (counted from 0) over the data.

    Every pass has a generator of its own, seeded by (seed, number), so that the order of any step
    follows from the step alone: a resumed fit needs no generator state to be bit-equal.
    """
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state) >> 1)
    return torch.randperm(n, generator=generator)
