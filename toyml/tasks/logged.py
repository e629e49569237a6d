"""What is logged of a fit on Lightning's ordinary loop, whoever wrote its training step."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from toyml import engine


class LossRows(Callback):
    """Log loss and metrics of all rows before a step, and the loss that the step itself saw.

    Blocks log for themselves, but for the end. The task has ``evaluate()``, which looks at all
    rows, and ``log_row(step, row)``.
    """

    blockwise = True

    def __init__(self) -> None:
        self._step = self._logged = -1
        self._row: dict[str, float] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the loggers that ``loss`` comes from here."""
        self._step, self._logged, self._row = -1, -1, None
        for logger in trainer.loggers:
            if hasattr(logger, "measured"):
                logger.measured = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at all rows where a row of the log is due."""
        step, every = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if step != self._step:
            # With accumulated gradients a step has several batches; the first one is logged.
            self._step, pl_module.batch_loss = step, None
        due = bool(every) and step % every == 0 and step != self._logged
        if due and not isinstance(batch, engine.Block):
            self._logged, self._row = step, pl_module.evaluate()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the row."""
        if self._row is None:
            return
        row, self._row = self._row, None
        seen = pl_module.batch_loss
        if pl_module.sees_all(batch):
            seen = None
        elif seen is None:  # a training step of the task's own
            loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
            if isinstance(loss, Tensor) and loss.numel() == 1:
                seen = float(loss) * trainer.accumulate_grad_batches
        pl_module.log_row(self._logged, row if seen is None else {**row, "batch_loss": seen})

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Log the last parameters, which no training step has seen, before the last checkpoint."""
        if not trainer.fast_dev_run and (row := pl_module.evaluate()):  # type: ignore[attr-defined]
            pl_module.log_row(trainer.global_step, row)
