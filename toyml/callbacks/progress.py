"""A progress bar whose cost does not show."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


class Progress(ProgressBar):
    """Steps done, steps per second, loss and time left; drawn at most a few times per second.

    Args:
        refresh_seconds: Least time between two drawings.

    Raises:
        ValueError: A time that is not positive.
    """

    def __init__(self, refresh_seconds: float = 0.2) -> None:
        super().__init__()
        if refresh_seconds <= 0:
            raise ValueError(f"refresh_seconds is {refresh_seconds}; it has to be positive")
        self.refresh_seconds = refresh_seconds
        self._bar: RichProgress | None = None
        self._task = TaskID(0)
        self._enabled = True

    def disable(self) -> None:
        """Lightning calls this on every process but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put up the bar."""
        if not self._enabled:
            return
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        total = trainer.max_steps if trainer.max_steps > 0 else None
        self._task = self._bar.add_task("fit", total=total, note="")
        self._bar.start()
        self._began = self._drawn = time.monotonic()
        self._first = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Redraw when it is time."""
        if self._bar is not None and time.monotonic() - self._drawn > self.refresh_seconds:
            self._draw(trainer)

    def _draw(self, trainer: pl.Trainer) -> None:
        assert self._bar is not None
        self._drawn = time.monotonic()
        done = trainer.global_step
        rate = (done - self._first) / max(self._drawn - self._began, 1e-9)
        values = [
            f"{name} {float(value):.4g}" for name, value in trainer.progress_bar_metrics.items()
        ]
        note = "  ".join([f"{rate:,.0f}/s", *values])
        self._bar.update(self._task, completed=done, note=note, refresh=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the end and leave the bar."""
        if self._bar is not None:
            self._draw(trainer)
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
