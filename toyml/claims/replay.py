"""The same start and data trained once more with other settings."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from toyml.claims.claim import Claim, NotApplicable, deterministic, snapshot
from toyml.comparison import first_difference
from toyml.data import InMemory
from toyml.engine import Block
from toyml.engine.chain import differentiate
from toyml.engine.update import Update
from toyml.run import Run
from toyml.tasks import Supervised
from toyml.trajectory import TrajectoryWriter


@contextmanager
def replayed(
    run: Run,
    steps: int,
    *,
    optimizer: OptimizerCallable | None = None,
    loss: nn.Module | None = None,
    dtype: torch.dtype | None = None,
) -> Iterator[Run]:
    """The run as it would have been, trained by the plain loop: a Run in a temporary folder.

    It starts from the run's own initial parameters, on its own rows in its own order. With nothing
    changed its snapshots are those of the run, bit for bit.

    Args:
        run: The run.
        steps: Number of updates.
        optimizer: Another optimizer, without the run's scheduler; ``None`` keeps both.
        loss: Another loss.
        dtype: Another precision, of data and parameters.

    Yields:
        The other run, with task, data and every snapshot until the loss stopped being finite; it
        has no config.

    Raises:
        NotApplicable: The run is not a supervised one on data in memory, or its start was not
            recorded.
    """
    task, data = run.task, run.datamodule
    if not isinstance(task, Supervised) or not isinstance(data, InMemory):
        raise NotApplicable("only supervised training on data in memory can be replayed")
    deterministic(run)
    start = run.trajectory.points([snapshot(run, 0)])
    dtype = dtype or next(iter(start.values())).dtype
    net = copy.deepcopy(task.net).to(dtype)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(start[name][0])
    other = Supervised(
        net,
        loss or task.loss,
        optimizer or task.optimizer,
        lr_scheduler=task.lr_scheduler if optimizer is None else None,
        decay_bias=task.decay_bias,
    )
    x, y = run.rows(dtype)
    whole = data.batch_size is None or data.batch_size >= len(x)
    block = Block(x, y, steps, None if whole else data.batch_size, data.shuffle, data.seed)
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    with tempfile.TemporaryDirectory(prefix="toyml-") as folder:
        values = np.dtype("float64" if dtype == torch.float64 else "float32")
        writer = TrajectoryWriter(Path(folder) / "trajectory", shapes, values)
        parameters = [p.detach().reshape(-1) for p in net.parameters()]
        try:
            writer.append(0, parameters=parameters)
            with torch.random.fork_rng(devices=[]):  # a net with dropout draws
                for step, _ in enumerate(updates(other, block.batches(0, steps)), start=1):
                    writer.append(step, parameters=parameters)
        finally:
            writer.close()
        yield Run(folder, other, data)


def updates(task: Supervised, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[float]:
    """The loop that a user writes, by the engine's bit-equal steps: the loss before each update.

    It ends with the batches, or before the first update whose loss is not finite.

    Args:
        task: What is trained, in place.
        batches: Rows and targets of each update.

    Raises:
        NotApplicable: The optimizer needs a closure.
    """
    configured = task.configure_optimizers()
    scheduled = isinstance(configured, dict)
    optimizer = configured["optimizer"] if scheduled else configured
    scheduler: Any = configured["lr_scheduler"]["scheduler"] if scheduled else None
    if task.needs_closure:
        raise NotApplicable(f"{type(optimizer).__name__} is not replayed")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    update = Update(optimizer, parameters)
    evaluate = differentiate(task.net, task.loss, parameters, update.gradients)
    for x, y in batches:
        with torch.no_grad():  # not around the yield: the consumer has a mode of its own
            loss, _, gradients = evaluate(x, y)
            value = loss.item()
            if not math.isfinite(value):
                return
            update(gradients)
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(loss)
        elif scheduler is not None:
            scheduler.step()
        yield value


class SameTraining(Claim):
    """Training with another loss or optimizer goes through the same parameters, bit for bit.

    Args:
        statement: The claim in words.
        loss: The other loss; ``null`` keeps the run's own.
        optimizer: The other optimizer; ``null`` keeps the run's own.
        most_steps: Steps compared at most.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: Fewer than one step.
    """

    def __init__(
        self,
        statement: str,
        loss: nn.Module | None = None,
        optimizer: OptimizerCallable | None = None,
        most_steps: int = 1000,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        if most_steps < 1:
            raise ValueError(f"most_steps is {most_steps}; compare at least 1")
        self.loss, self.optimizer, self.most_steps = loss, optimizer, most_steps

    @property
    def predicted(self) -> str:
        """The same bits."""
        return "identical"

    def measure(self, run: Run) -> str:
        """Train with the other setting and compare every snapshot that both have."""
        last = min(int(run.trajectory.steps[-1]), self.most_steps)
        with replayed(run, last, optimizer=self.optimizer, loss=self.loss) as other:
            parted = first_difference(run, other)
        if parted is None:
            return "identical"
        return f"differs from step {parted[0]:,} on, first in {parted[1]}"
