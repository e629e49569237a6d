"""Whether a fit can run in blocks, where a block ends, and how Lightning is told."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch import callbacks as stock
from lightning.pytorch.plugins import DoublePrecision
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from numpy.typing import NDArray

# Hooks that Lightning calls once per optimizer step; a block would call them once per K.
STEP_HOOKS = (
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_start",
    "on_train_batch_end",
)
# Lightning's own callbacks that are right when a batch is a block: they look at the clock, at
# global_step (blocks end where ModelCheckpoint wants to save) or at the end of an epoch.
BLOCKWISE_CALLBACKS = (
    stock.Checkpoint,
    stock.EarlyStopping,
    stock.ProgressBar,
    stock.Timer,
    stock.ModelSummary,
)
# Hooks at the end of a block, which is Lightning's epoch.
EPOCH_HOOKS = ("on_train_epoch_start", "on_train_epoch_end")
MODULE_HOOKS = (
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "optimizer_step",
    "optimizer_zero_grad",
    *STEP_HOOKS,
)


@runtime_checkable
class StepObserver(Protocol):
    """A callback that looks at single steps, also inside a block."""

    needs_gradients: bool

    def wanted(self, first: int, last: int) -> NDArray[np.int64]:
        """Steps in ``first..last`` (inclusive) to look at, increasing, int64."""

    def observe(self, step: int, task: pl.LightningModule) -> None:
        """Look at the live parameters after ``step`` updates."""

    def observe_rows(self, steps: NDArray[np.int64], rows: NDArray[np.floating]) -> None:
        """The same for several steps at once: ``rows`` [t, p] in parameter order."""


def in_blocks(task: pl.LightningModule) -> bool:
    """Whether this task's ``training_step`` runs blocks in the current fit."""
    blocks = getattr(task, "training_blocks", None)
    return callable(blocks) and blocks() is not None


def obstacle(task: pl.LightningModule) -> str | None:
    """Why this fit cannot run in blocks, in words; ``None`` when it can."""
    trainer = task.trainer
    strategy, precision = trainer.strategy, trainer.precision_plugin
    for method in ("training_step", "forward"):
        if not getattr(getattr(type(task), method), "takes_blocks", False):
            return f"{type(task).__name__} has a {method} of its own"
    if not getattr(trainer.datamodule, "hands_over_blocks", False):  # type: ignore[attr-defined]
        return "the data does not come from a toyml.data module"
    if type(strategy) is not SingleDeviceStrategy:
        return f"strategy {type(strategy).__name__} needs Lightning's own backward"
    if type(precision) not in (Precision, DoublePrecision):
        return f"precision {trainer.precision} needs Lightning's own backward"
    for key, neutral in (
        ("gradient_clip_val", (None, 0)),
        ("accumulate_grad_batches", (1,)),
        ("overfit_batches", (0, 0.0)),
        ("_detect_anomaly", (False,)),
    ):
        if getattr(trainer, key) not in neutral:
            return f"trainer.{key.lstrip('_')} is {getattr(trainer, key)}"
    if not trainer.fast_dev_run and trainer.limit_train_batches not in (1.0, None):  # type: ignore[attr-defined]
        return f"trainer.limit_train_batches is {trainer.limit_train_batches}"
    if getattr(task, "needs_closure", False):
        return "the optimizer evaluates the loss several times per step"
    for hook in MODULE_HOOKS:
        if is_overridden(hook, task, pl.LightningModule):
            return f"{type(task).__name__} overrides {hook}"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, stock.LearningRateFinder):
            return "callback LearningRateFinder tries a learning rate on each batch"
        if isinstance(callback, (*BLOCKWISE_CALLBACKS, StepObserver)) or getattr(
            callback, "blockwise", False
        ):
            continue
        for hook in STEP_HOOKS:
            if is_overridden(hook, callback, stock.Callback):
                return f"callback {type(callback).__name__} uses {hook}"
    return None


def block_end(trainer: pl.Trainer, first: int, steps: int) -> int:
    """Where a block that starts at ``first`` ends.

    At the next multiple of ``steps``, of every ``ModelCheckpoint(every_n_train_steps=n)`` (which
    saves only when ``global_step % n == 0``), or at ``max_steps``, whichever comes first.
    """
    every = [steps]
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, stock.ModelCheckpoint):
            every.append(callback._every_n_train_steps)
    ends = [first - first % n + n for n in every if n]
    if trainer.max_steps >= 0:
        ends.append(trainer.max_steps)
    return min(ends)


def at_its_end(trainer: pl.Trainer) -> bool:
    """Whether a batch that is done, with all steps of its block, is the last one of the fit."""
    epochs = trainer.max_epochs
    last_epoch = epochs is not None and 0 < epochs <= trainer.current_epoch + 1
    return 0 < trainer.max_steps <= trainer.global_step or (last_epoch and trainer.is_last_batch)


def between_updates(trainer: pl.Trainer) -> bool:
    """Whether a batch has just begun with no update under way, nor gradients of one accumulated.

    All that belongs to the batch before is done: validation, schedules, the end of its epoch.
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress
    total: Any = progress.total
    begun = total.ready == total.completed + 1 and total.started == total.completed
    return begun and (progress.current.ready - 1) % trainer.accumulate_grad_batches == 0


def watched_between_blocks(task: pl.LightningModule) -> bool:
    """Whether somebody looks at a fit whenever a block ends, so that its length matters.

    Validation, early stopping, ``ModelCheckpoint`` every so many epochs and whatever else acts at
    the end of an epoch do; what acts at steps of its own (:func:`block_end`) or at times does not,
    nor one whose ``between_blocks`` is false: its epochs are those of the ordinary loop.
    With ``max_epochs`` an epoch is a pass over the data, and so is a block.
    """
    trainer = task.trainer
    callbacks = [
        callback
        for callback in trainer.callbacks  # type: ignore[attr-defined]
        if getattr(callback, "between_blocks", True)
        and (not isinstance(callback, stock.ModelCheckpoint) or callback._every_n_epochs)
    ]
    return (
        (trainer.max_epochs is not None and trainer.max_epochs >= 0)
        or sum(trainer.num_val_batches) > 0
        or any(is_overridden(hook, task, pl.LightningModule) for hook in EPOCH_HOOKS)
        or any(is_overridden(hook, c, stock.Callback) for c in callbacks for hook in EPOCH_HOOKS)
    )


def count_steps(trainer: pl.Trainer, steps: int) -> None:
    """Tell Lightning that ``steps`` updates were done.

    The one private touch of the engine: ``trainer.global_step`` is this counter, and
    ``LightningOptimizer.step``, which would have advanced it, costs 17 microseconds a step.
    """
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
    progress.ready += steps
    progress.completed += steps
