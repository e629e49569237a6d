"""The checkpoint that a fit can be continued from."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from toyml.engine import AtOnceError, TogetherError, at_its_end
from toyml.errors import DivergedError, UnwrittenError
from toyml.files import replace, writing
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

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """See that a checkpoint is written whole or not at all."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()

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
        """Save when the last checkpoint is old enough, and there is something to go on to.

        The end is saved once the recording is closed: a fit killed before that goes on from the
        checkpoint before, does what was missing, and ends as it should have.
        """
        old = time.monotonic() - self._saved_at > self.every_seconds and not at_its_end(trainer)
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
        With several processes only where all stop together: saving takes all of them.
        """
        moved = self._saved_at > 0 and trainer.global_step > self._saved_step
        spoiled = isinstance(exception, DivergedError | UnwrittenError | AtOnceError)
        together = trainer.world_size == 1 or isinstance(exception, TogetherError)
        if moved and together and not spoiled:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(run_folder(trainer) / "checkpoints" / "last.ckpt")
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step


class WholeFiles(TorchCheckpointIO):
    """Write checkpoints beside their place and rename them.

    Lightning moves a file there from the system's folder for temporary files: where that is
    another disk, a kill or a full disk on the way leaves half a checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write one.

        Raises:
            UnwrittenError: The disk is full, or the folder cannot be written.
        """
        path = Path(path)
        memory = io.BytesIO()
        torch.save(checkpoint, memory)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, memory.getvalue())
