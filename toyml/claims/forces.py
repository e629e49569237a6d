"""What adds up to an update: gradient, momentum, weight decay and the rest."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toyml import measures
from toyml.claims.claim import Equals, NotApplicable, deterministic, plain_trainer
from toyml.claims.curvature import optimization
from toyml.claims.logistic import full_batch
from toyml.run import Run, network
from toyml.tasks import Supervised

NUMBERS = 2**23
"""Parameters of all snapshots together that are taken apart at once."""


class Updates(NamedTuple):
    """The updates of a run and their parts, in float64.

    Attributes:
        parts: Name of the part to its share of each update [t, p]; see ``measures.forces``.
        taken: The recorded updates, the difference of neighboring snapshots [t, p].
    """

    parts: dict[str, NDArray[np.float64]]
    taken: NDArray[np.float64]

    @property
    def residual(self) -> float:
        """Largest difference of an update from the sum of its parts, by the largest update."""
        whole = np.sum(list(self.parts.values()), axis=0)
        return float(np.abs(whole - self.taken).max() / np.abs(self.taken).max())


def updates(run: Run, most_steps: int = 10_000) -> Updates:
    """The first updates of a run, taken apart.

    Args:
        run: The run; every step from 0 on has to be recorded.
        most_steps: How many updates at most; of large nets fewer, to keep the memory bounded.

    Raises:
        NotApplicable: Steps that were not recorded, an optimizer that is not split, a schedule,
            mini-batches, gradients that are changed on the way, or a training that stands still.
    """
    if not isinstance(run.task, Supervised):
        raise NotApplicable(f"{type(run.task).__name__} is not supervised training")
    if run.task.lr_scheduler is not None:
        raise NotApplicable("an lr_scheduler changes the learning rate")
    plain_trainer(run)
    deterministic(run)
    full_batch(run)
    p = run.trajectory.parameters.flat.shape[1]
    count = min(len(run.trajectory), most_steps + 1, max(2, NUMBERS // p))
    finite = np.isfinite(run.trajectory.parameters.flat[:count]).all(1)
    count = count if finite.all() else int(finite.argmin())
    if count < 2 or not np.array_equal(run.trajectory.steps[:count], np.arange(count)):
        raise NotApplicable("updates are taken apart where every step from 0 on is recorded")
    twin, optimizer, _ = optimization(run.task)
    stack = {name: p.double() for name, p in run.trajectory.points(slice(0, count)).items()}
    x, y = run.rows()
    try:
        with torch.no_grad():
            theta = measures.flatten(stack).numpy()
        parts = measures.forces(network(twin), run.loss, optimizer, stack, x, y)
    except ValueError as error:
        raise NotApplicable(str(error)) from error
    taken = np.diff(theta, axis=0)
    if not np.abs(taken).max() > 0:
        raise NotApplicable("the training stands still")
    return Updates({name: part[:-1].numpy() for name, part in parts.items()}, taken)


class ForcesAddUp(Equals):
    """The parts of every update, computed from the parameters alone, add up to the update.

    Largest difference in any parameter, relative to the largest update.

    Args:
        statement: The claim in words.
        tolerance: Largest allowed difference.
        predicted: The predicted one.
        most_steps: Updates looked at, at most.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        tolerance: float,
        predicted: float = 0.0,
        most_steps: int = 10_000,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.most_steps = most_steps

    def measure(self, run: Run) -> float:
        """Take every update apart and add it up again."""
        return updates(run, self.most_steps).residual
