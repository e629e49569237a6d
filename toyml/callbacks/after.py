"""What happens when training is over: every figure, verdict and page is made from the Run."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterable

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from toyml.callbacks.errands import errands, wait
from toyml.errors import UnwrittenError, UserError
from toyml.logger import run_folder
from toyml.run import Run
from toyml.terminal import plain


class AfterFit(Callback):
    """A callback that works on the finished run, and again on ``toyml report``.

    Attributes:
        essential: Whether there is no result at all without it.
        patient: Whether everything that the callbacks before it write has to be there first.
        closing: Whether it works when all others have, wherever it is listed.
    """

    essential = False
    patient = True
    closing = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Complain before the fit if nothing is going to be recorded.

        Raises:
            UserError: There is no Recorder among the callbacks.
        """
        names = [type(c).__name__ for c in trainer.callbacks]  # type: ignore[attr-defined]
        if stage == "fit" and "Recorder" not in names:
            raise UserError(
                f"{type(self).__name__} works on what was recorded, and nothing is: add "
                "toyml.callbacks.Recorder to the callbacks"
            )

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The first of them lets all work, on one Run, in the first process only."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = run_folder(trainer)
        callbacks = [c for c in trainer.callbacks if isinstance(c, AfterFit)]  # type: ignore[attr-defined]
        if self is not callbacks[0] or not trainer.is_global_zero:
            return
        if (folder / "trajectory").is_dir():
            work_through(Run(folder, pl_module, trainer.datamodule), callbacks)  # type: ignore[attr-defined]

    def work_on(self, run: Run) -> None:
        """``finish``; what one callback cannot do must not keep the others from their work.

        Raises:
            UnwrittenError: The disk is full, or the folder cannot be written.
            UserError: From a callback without which there is no result at all.
        """
        try:
            self.finish(run)
        except UnwrittenError:
            raise  # the others could not write either
        except UserError as error:
            if self.essential:
                raise
            print(f"toyml: {type(self).__name__} is left out: {plain(error)}", file=sys.stderr)

    @abstractmethod
    def finish(self, run: Run) -> None:
        """Work on a run."""


def work_through(run: Run, callbacks: Iterable[object]) -> None:
    """One pass over a run: every AfterFit among the callbacks works on it, in order.

    A page comes last: it shows what the others leave, also one that was appended behind it.
    They share the Run object: what one has read or computed from it, the next need not.

    Raises:
        UserError: From a callback without which there is no result at all.
    """
    with errands():
        working = [callback for callback in callbacks if isinstance(callback, AfterFit)]
        for callback in sorted(working, key=lambda callback: callback.closing):
            if callback.patient:
                wait()
            callback.work_on(run)
