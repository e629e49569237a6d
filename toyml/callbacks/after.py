"""What happens when training is over: every figure, verdict and page is made from the Run."""

from __future__ import annotations

from abc import abstractmethod

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from toyml.logger import run_folder
from toyml.run import Run


class AfterFit(Callback):
    """A callback that works on the finished run, and again on ``toyml report``."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the run and work on it, in the first process only."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = run_folder(trainer)
        if not trainer.is_global_zero:
            return
        if (folder / "trajectory").is_dir():
            self.finish(Run(folder, pl_module, trainer.datamodule))  # type: ignore[attr-defined]

    @abstractmethod
    def finish(self, run: Run) -> None:
        """Work on a run."""
