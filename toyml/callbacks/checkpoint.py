"""The checkpoint that a fit can be continued from."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from toyml.errors import DivergedError
from toyml.logger import run_folder


class LastCheckpoint(Checkpoint):
    """Keep ``checkpoints/last.ckpt``: at the end, on an exception, and every few seconds between.

    Args:
        every_seconds: Least time between two checkpoints while training.

    Raises:
        ValueError: A time that is not positive.
    """

    def __init__(self, every_seconds: float = 10.0) -> None:
        if every_seconds <= 0:
            raise ValueError(f"every_seconds is {every_seconds}; it has to be positive")
        self.every_seconds = every_seconds
        self._saved_at = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when the last checkpoint is old enough."""
        old = time.monotonic() - self._saved_at > self.every_seconds
        if trainer.world_size > 1:
            old = trainer.strategy.broadcast(old)  # all processes save, or none
        if old:
            self._save(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save what an interrupted fit can go on from; a diverged one has nothing to go on from.

        Not with several processes: the others may already be gone, and saving takes all of them.
        """
        moved = self._saved_at > 0 and trainer.global_step > self._first_step
        if moved and trainer.world_size == 1 and not isinstance(exception, DivergedError):
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(run_folder(trainer) / "checkpoints" / "last.ckpt")
        self._saved_at = time.monotonic()
