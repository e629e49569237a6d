"""The checkpoint that a fit can be continued from."""

from __future__ import annotations

import io
import random
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities.data import _set_sampler_epoch
from lightning.pytorch.callbacks import Callback, Checkpoint, GradientAccumulationScheduler
from lightning.pytorch.plugins.io import TorchCheckpointIO

from toyml.engine import AtOnceError, TogetherError, between_updates, in_blocks
from toyml.errors import DivergedError, UnwrittenError
from toyml.files import replace, writing
from toyml.logger import run_folder, run_logger

STANDING = "toyml_standing"
"""Where a checkpoint says what Lightning leaves out of how far a fit has come."""


class LastCheckpoint(Checkpoint):
    """Keep ``checkpoints/last.ckpt``: at the end, on an exception, and every few seconds between.

    It is written where a batch begins and none of an update is under way: what belongs to the
    batch before (validation, schedules, the end of an epoch) is done, and no gradient is
    accumulated. There a continued fit goes on as if it had not been stopped: with the random
    generators as they were, the same rows in the same order, and the rows of ``metrics.csv``.

    Args:
        every_seconds: Least time between two checkpoints while training.

    Raises:
        ValueError: A time that is not positive.
    """

    between_blocks = False

    def __init__(self, every_seconds: float = 10.0) -> None:
        if every_seconds <= 0:
            raise ValueError(f"every_seconds is {every_seconds}; it has to be positive")
        self.every_seconds = every_seconds
        self._saved_at = 0.0
        self._saved_step = 0
        self._epoch: dict[str, Any] | None = None  # generators before the loader of this epoch
        self._loaded: dict[str, Any] | None = None
        self._saving = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """See that a checkpoint is written whole or not at all, and before a batch is begun."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()
        self._epoch = self._loaded = None
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        others = [c for c in callbacks if not (isinstance(c, BeforeBatch) and c.owner is self)]
        trainer.callbacks = [BeforeBatch(self), *others]  # type: ignore[attr-defined]

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what the fit goes on with until Lightning has restored its part."""
        self._loaded = checkpoint.get(STANDING, {})
        logger = run_logger(trainer)
        if logger is not None:
            logger.rows_to_keep = self._loaded.get("rows")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what Lightning leaves out, where the checkpoint is this one."""
        if not self._saving:
            return
        logger = run_logger(trainer)
        metrics = {k: torch.as_tensor(v).cpu() for k, v in trainer.callback_metrics.items()}
        over = see_the_epoch_over(trainer, checkpoint["loops"]["fit_loop"])
        checkpoint[STANDING] = {
            "rows": None if logger is None else logger.rows,
            "generators": generators(trainer),
            "epoch": generators(trainer) if over else self._epoch,
            "metrics": metrics,
        }

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and bring the loader to the batch that comes next."""
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step
        if self._loaded is not None:
            self._epoch = self._loaded.get("epoch")
            keepers = [c for c in trainer.callbacks if isinstance(c, LastCheckpoint)]  # type: ignore[attr-defined]
            if keepers[0] is self and not in_blocks(pl_module):
                bring_loader(trainer, self._loaded)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the generators that the order of a loader of one's own comes from.

        In the first pass they are those of the start, which every start of the fit brings about.
        """
        if trainer.current_epoch and self._loaded is None and not in_blocks(pl_module):
            self._epoch = generators(trainer)

    def before_batch(self, trainer: pl.Trainer) -> None:
        """Save when the last checkpoint is old enough, and there is something to go on to.

        The end is saved once the recording is closed: a fit killed before that goes on from the
        checkpoint before, does what was missing, and ends as it should have.
        """
        if self._loaded is not None:
            settle(trainer, self._loaded)
            self._loaded = None
        if trainer.global_step <= self._saved_step or not between_updates(trainer):
            return
        old = time.monotonic() - self._saved_at > self.every_seconds
        if trainer.world_size > 1:
            old = trainer.strategy.broadcast(old)  # all processes save, or none
        if old:
            self._save(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save what an interrupted fit can go on from.

        A diverged one has nothing to go on from, and one broken off within an update, or before
        all that belongs to it is done, is at no step: the checkpoint before is kept, as where the
        recording failed (a full disk). With several processes only where all stop together: saving
        takes all of them.
        """
        moved = self._saved_at > 0 and trainer.global_step > self._saved_step
        moved = moved and (
            between_updates(trainer) or within_block(trainer) or at_epoch_end(trainer)
        )
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
        self._saving = True
        try:
            trainer.save_checkpoint(run_folder(trainer) / "checkpoints" / "last.ckpt")
        finally:
            self._saving = False
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


class BeforeBatch(Callback):
    """Stands before all other callbacks: what they do at the start of a batch is part of it."""

    blockwise = True

    def __init__(self, owner: LastCheckpoint) -> None:
        self.owner = owner

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let the checkpoint be written."""
        self.owner.before_batch(trainer)


def within_block(trainer: pl.Trainer) -> bool:
    """Whether a block is under way: its engine stops between two of its steps."""
    total: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    begun = total.processed == total.completed < total.ready
    return bool(begun) and in_blocks(trainer.lightning_module)


def settle(trainer: pl.Trainer, standing: dict[str, Any]) -> None:
    """Put right, before the first batch, what Lightning does not restore as it was.

    It counts a batch that was begun twice, goes on as "restarting" to the end of the epoch (which
    leaves out schedules), and forgets metrics and random generators.
    """
    trainer.fit_loop._restarting = False  # its setter would say True where max_steps ends a fit
    loop = trainer.fit_loop.epoch_loop
    total: Any = loop.batch_progress.total
    total.ready = total.completed + 1
    total.started = total.processed = total.completed
    if trainer.lightning_module.automatic_optimization:
        loop._batches_that_stepped = trainer.global_step
    for name, value in standing.get("metrics", {}).items():
        trainer.callback_metrics.setdefault(name, value)
    if trainer.world_size == 1:
        set_generators(trainer, standing.get("generators"))


def bring_loader(trainer: pl.Trainer, standing: dict[str, Any]) -> None:
    """Skip the batches of this pass that are done; Lightning would begin the loader anew.

    A loader with a ``state_dict`` of its own, as those of :mod:`toyml.data`, does it by itself.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):  # acts at the start of an epoch
            callback.on_train_epoch_start(trainer)
    loop = trainer.fit_loop
    fetcher, loader = loop._data_fetcher, loop._combined_loader
    assert fetcher is not None
    assert loader is not None
    if all(hasattr(part, "load_state_dict") for part in loader.flattened):
        return
    done = loop.epoch_loop.batch_progress.current.completed
    if standing.get("epoch") is not None and trainer.world_size == 1:
        set_generators(trainer, standing["epoch"])
        for part in loader.flattened:
            _set_sampler_epoch(part, trainer.current_epoch)
        iter(fetcher)
    elif not standing and trainer.current_epoch + done:
        print(
            f"toyml: the checkpoint of step {trainer.global_step} does not hold the state of the "
            "random generators: a loader that shuffles goes on in another order"
        )
    for _ in range(done):
        next(fetcher)
    fetcher.fetched = 0  # Lightning adds those of the counter


def see_the_epoch_over(trainer: pl.Trainer, loop: dict[str, Any]) -> bool:
    """Let a fit whose last batch is done go on, given more steps, as if it had not ended.

    At the end Lightning calls the epoch complete, wherever ``max_steps`` fell into it, and the
    counter of its batches goes on in the next one.

    Returns:
        Whether the fit goes on with a new epoch.
    """
    batches, epochs = loop["epoch_loop.batch_progress"], loop["epoch_progress"]
    if batches["total"]["ready"] != batches["total"]["completed"]:
        return False  # before a batch, or within a block
    over = bool(batches["current"]["completed"] >= trainer.num_training_batches)
    for count in epochs.values():
        count["processed"] = count["completed"] = count["ready"] - (0 if over else 1)
    if over:
        batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["total"]["ready"] += 1  # as before the next batch
    batches["is_last_batch"] = False
    return over


def at_epoch_end(trainer: pl.Trainer) -> bool:
    """Whether an epoch is over, but for the hooks at its end."""
    loop = trainer.fit_loop
    total: Any = loop.epoch_progress.total
    schedules = trainer.lr_scheduler_configs
    waiting = any(s.reduce_on_plateau and s.interval == "epoch" for s in schedules)
    return bool(total.processed == total.started == total.completed + 1) and not waiting


def generators(trainer: pl.Trainer) -> dict[str, Any]:
    """States of Python's, NumPy's and torch's generators, and of those of the loaders."""
    numpy: Any = np.random.get_state()  # noqa: NPY002 - kept, not used
    device = trainer.strategy.root_device
    return {
        "python": random.getstate(),
        "numpy": (numpy[0], numpy[1].tolist(), *numpy[2:]),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "loaders": [generator.get_state() for generator in loader_generators(trainer)],
    }


def set_generators(trainer: pl.Trainer, states: dict[str, Any] | None) -> None:
    """Put them back."""
    if states is None:
        return
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    device = trainer.strategy.root_device
    if states["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    for generator, state in zip(loader_generators(trainer), states["loaders"], strict=False):
        generator.set_state(state)


def loader_generators(trainer: pl.Trainer) -> list[torch.Generator]:
    """Generators that loaders of one's own, or their samplers, were given."""
    loader = trainer.fit_loop._combined_loader
    parts = [] if loader is None else loader.flattened
    places = [place for part in parts for place in (part, getattr(part, "sampler", None))]
    found = [getattr(place, "generator", None) for place in places]
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())
