"""Record the weights while they change."""

from __future__ import annotations

import functools
import math
import os
import platform
import time
from contextlib import suppress
from importlib import metadata
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor, nn

from toyml.engine import in_blocks
from toyml.errors import DivergedError, UnwrittenError, UserError
from toyml.logger import run_folder, run_logger
from toyml.optim import SGD, Adam
from toyml.run import Run, network
from toyml.trajectory import Trajectory, TrajectoryWriter

KEPT = 4_000_000
"""Most numbers that wait on a GPU before they are handed over."""


class Recorder(Callback):
    """Append every parameter to the run's trajectory, at every n-th step or on a log schedule.

    Step 0 (before any update) and the last step are always recorded. Each snapshot reaches the
    file as soon as it is taken on the CPU, so a killed process loses none of them; the compiled
    route and a GPU hand over one block of steps at a time.

    Args:
        every: Record each step that is a multiple of this.
        per_decade: Record about this many steps per factor of ten instead.
        gradients: Also record the gradient that led to each snapshot (NaN at step 0).
        optimizer_state: Also record the optimizer's tensors, such as ``momentum_buffer``.

    Raises:
        ValueError: A schedule that is not positive.
    """

    def __init__(
        self,
        every: int = 1,
        per_decade: int | None = None,
        gradients: bool = False,
        optimizer_state: bool = False,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every}; it has to be at least 1")
        if per_decade is not None and per_decade < 1:
            raise ValueError(f"per_decade is {per_decade}; it has to be at least 1, or null")
        self.every, self.per_decade = every, per_decade
        self.gradients, self.optimizer_state = gradients, optimizer_state
        self._writer: TrajectoryWriter | None = None
        self._last = -1
        self._rows: list[tuple[int, dict[str, Tensor]]] = []

    @property
    def needs_gradients(self) -> bool:
        """Whether the engine has to leave gradients and optimizer state to look at."""
        return self.gradients or self.optimizer_state

    def wanted(self, first: int, last: int) -> NDArray[np.int64]:
        """Steps of the schedule in ``first..last``, inclusive, and the last step of the fit."""
        steps = self.scheduled(first, last)
        if first <= self._last <= last and self._last not in steps[-1:]:
            steps = np.append(steps, self._last)
        return steps

    def scheduled(self, first: int, last: int) -> NDArray[np.int64]:
        """Steps of the schedule in ``first..last``, inclusive."""
        if self.per_decade is None:
            return np.arange(first + -first % self.every, last + 1, self.every, dtype=np.int64)
        low = math.floor(math.log10(max(first, 1)) * self.per_decade)
        high = math.ceil(math.log10(max(last, 1)) * self.per_decade)
        spread = np.round(10.0 ** (np.arange(low, high + 1) / self.per_decade))
        steps: NDArray[np.int64] = np.unique(np.concatenate([[0], spread])).astype(np.int64)
        return steps[(steps >= first) & (steps <= last)]

    # -- hooks -------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the trajectory and record the state before the first step."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = run_folder(trainer)
        if not trainer.is_global_zero:
            return
        self._last = trainer.max_steps
        net = network(pl_module)
        named = dict(net.named_parameters())
        self._flat = [p.detach().view(-1) for p in named.values()]
        optimizer = trainer.optimizers[0] if trainer.optimizers else None
        extras = ["gradients"] if self.gradients else []
        if self.optimizer_state and optimizer is not None:
            extras += state_names(optimizer)
        self._extras = extras
        self._on_cpu = self._flat[0].device.type == "cpu"
        dtype = np.dtype("<f8" if self._flat[0].dtype == torch.float64 else "<f4")
        shapes = {name: tuple(p.shape) for name, p in named.items()}
        changing = changing_buffers(net, pl_module)
        buffers = dict(net.named_buffers())
        self._buffers = [b for name, b in buffers.items() if name in changing]
        writer = TrajectoryWriter(
            folder / "trajectory",
            shapes,
            dtype,
            extras,
            {name: b for name, b in buffers.items() if name in changing},
            {name: b for name, b in buffers.items() if name not in changing},
        )
        try:
            refuse_another_run(writer, trainer.global_step, torch.cat(self._flat))
            self._refuse_a_hole(writer, trainer.global_step)
        except UserError:
            writer.close()
            raise
        self._run, self._writer = Run(folder, trust=True), writer
        step = trainer.global_step
        self._writer.cut_after(step)
        logger = run_logger(trainer)
        if logger is not None and trainer.global_step:
            logger.cut_after(trainer.global_step)
        if self._writer.last_step < 0:
            # A schedule goes on from here: the page would not know from the settings alone.
            rates = [group["lr"] for group in optimizer.param_groups] if optimizer else []
            if all(isinstance(rate, float | int) for rate in rates):
                self._run.update_summary(start={"step": trainer.global_step, "lr": rates})
        begins = self._writer.last_step < 0  # else only what is due: the whole fit has no more
        if step > self._writer.last_step and (begins or len(self.wanted(step, step))):
            self.observe(trainer.global_step, pl_module)
            self._flush()
        self._began, self._first_step = time.perf_counter(), trainer.global_step
        self._run.update_summary(status="running", environment=environment(trainer))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Record an ordinary step; inside a block the engine has already called ``observe``."""
        step = trainer.global_step
        if not in_blocks(pl_module) and len(self.wanted(step, step)):
            self.observe(step, pl_module)
        self._flush()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the last step whatever the schedule."""
        if self._writer is not None:
            self._flush()
            self.observe(trainer.global_step, pl_module)
            self._close()
            seconds = time.perf_counter() - self._began
            steps = trainer.global_step - self._first_step
            self._run.update_summary(
                status="finished",
                steps=trainer.global_step,
                seconds=seconds,
                seconds_per_step=seconds / max(steps, 1),
                route=getattr(pl_module, "route", "training_step of the task's own"),
            )

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep what was seen before the exception."""
        if self._writer is None:
            return
        status = "diverged" if isinstance(exception, DivergedError) else "interrupted"
        # On a full disk the summary goes on saying "running", which reads as unfinished too.
        with suppress(UnwrittenError):
            self._close()
            self._run.update_summary(status=status, steps=trainer.global_step)

    def _close(self) -> None:
        if self._writer is not None:
            try:
                self._flush()
            finally:
                self._writer.close()
                self._writer = None

    def _refuse_a_hole(self, writer: TrajectoryWriter, step: int) -> None:
        """See that no step of the schedule is missing before the one that a fit continues from.

        Raises:
            UserError: The trajectory ends before the checkpoint.
        """
        due = self.scheduled(writer.last_step + 1, step - 1)
        if writer.continued and len(due):
            raise UserError(
                f"{writer.folder} ends at step {writer.last_step}, before the checkpoint of step "
                f"{step}: it was cut; record into a new run folder (give the checkpoint's file "
                "as --ckpt_path)"
            )

    # -- observing ---------------------------------------------------------------------------

    def observe(self, step: int, task: pl.LightningModule) -> None:
        """Record the live parameters after ``step`` updates."""
        if self._writer is None:
            return
        state = {}
        if self._buffers:
            state["buffers"] = torch.cat([b.detach().reshape(-1).double() for b in self._buffers])
        if self._on_cpu and not self._extras:
            self._writer.append(
                step, parameters=self._flat, **{name: [b] for name, b in state.items()}
            )
            return
        fields = {"parameters": torch.cat(self._flat), **state}
        parameters = list(network(task).parameters())
        for name in self._extras:
            fields[name] = torch.cat([self._extra(name, task, step, p) for p in parameters])
        self._rows.append((step, fields))
        if self._on_cpu or len(self._rows) * len(fields["parameters"]) >= KEPT:
            self._flush()

    def _extra(self, name: str, task: pl.LightningModule, step: int, p: Tensor) -> Tensor:
        if name == "gradients":
            value = p.grad if step and p.grad is not None else torch.full_like(p, math.nan)
        else:
            value = task.trainer.optimizers[0].state.get(p, {}).get(name, torch.zeros_like(p))
        return value.detach().reshape(-1).to(p)

    def observe_rows(self, steps: NDArray[np.int64], rows: NDArray[np.floating]) -> None:
        """Record several snapshots [t, p]."""
        if self._writer is not None:
            self._writer.append_rows(steps, rows)

    def _flush(self) -> None:
        if self._writer is None:
            return
        for step, fields in self._rows:
            self._writer.append(step, **{name: [value.cpu()] for name, value in fields.items()})
        self._rows.clear()


def changing_buffers(net: nn.Module, task: pl.LightningModule) -> tuple[str, ...]:
    """Names of the buffers that training changes; all of them where the net cannot be tried."""
    names = tuple(name for name, _ in net.named_buffers())
    if not names:
        return ()
    found = getattr(task, "behaviour", None)
    return names if found is None else tuple(name for name in names if name in found.buffers)


def refuse_another_run(writer: TrajectoryWriter, step: int, live: Tensor) -> None:
    """See that a trajectory which is already there is the one this fit continues.

    Raises:
        UserError: It belongs to another run; recording would mix the two.
    """
    if writer.last_step < 0:
        return
    trajectory = Trajectory(writer.folder)
    recorded = trajectory.parameters.flat[trajectory.steps == step]
    if step and (not len(recorded) or np.array_equal(recorded[0], live.cpu().numpy())):
        return
    raise UserError(
        f"{writer.folder.parent} already holds another recorded run; nothing is overwritten: "
        "record into a new folder (leave trainer.logger.version out)"
    )


def state_names(optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the tensors per parameter that an optimizer keeps (shape of the parameter)."""
    kinds: dict[type[torch.optim.Optimizer], list[str]] = {
        torch.optim.Adam: ["exp_avg", "exp_avg_sq"],
        torch.optim.AdamW: ["exp_avg", "exp_avg_sq"],
        torch.optim.NAdam: ["exp_avg", "exp_avg_sq"],
        torch.optim.RAdam: ["exp_avg", "exp_avg_sq"],
        torch.optim.Adamax: ["exp_avg", "exp_inf"],
        torch.optim.SGD: ["momentum_buffer"],
        torch.optim.RMSprop: ["square_avg", "momentum_buffer"],
        torch.optim.Adagrad: ["sum"],
        torch.optim.Adadelta: ["square_avg", "acc_delta"],
        torch.optim.Rprop: ["prev", "step_size"],
        Adam: ["exp_avg", "exp_avg_sq"],  # toyml.optim's, and AdamW with it
        SGD: ["momentum_buffer"],
    }
    return next((names for kind, names in kinds.items() if isinstance(optimizer, kind)), [])


version = functools.cache(metadata.version)  # it reads files at every call


def environment(trainer: pl.Trainer) -> dict[str, str | int | None]:
    """What a result depends on besides the config: versions, seed, device, threads."""
    packages = ("toyml", "torch", "lightning", "numpy")
    seed = os.environ.get("PL_GLOBAL_SEED")
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "seed": int(seed) if seed else None,
        "device": f"{device} ({name})",
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
        "threads": torch.get_num_threads(),
    }
