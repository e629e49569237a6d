"""The checkpoint that a fit can be continued from."""

from __future__ import annotations

import os
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from toyml.engine import AtOnceError
from toyml.errors import DivergedError, UnwrittenError
from toyml.files import beside, writing
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
        self._saved_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step

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
        """Save what an interrupted fit can go on from.

        A diverged one has nothing to go on from, and one broken off within an update is at no
        step. Where the recording failed (a full disk) the last checkpoint that fits it is kept.
        Not with several processes: the others may already be gone, and saving takes all of them.
        """
        moved = self._saved_at > 0 and trainer.global_step > self._saved_step
        spoiled = isinstance(exception, DivergedError | UnwrittenError | AtOnceError)
        if moved and trainer.world_size == 1 and not spoiled:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        path = run_folder(trainer) / "checkpoints" / "last.ckpt"
        if not trainer.is_global_zero:
            trainer.save_checkpoint(path)  # takes part; the first process writes
            return
        # Lightning moves a file here from the system's folder for temporary files: where that is
        # another disk, a kill on the way would leave half a checkpoint.
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            with beside(path) as draft:
                trainer.save_checkpoint(draft)
                with draft.open("rb") as file:
                    os.fsync(file.fileno())
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
