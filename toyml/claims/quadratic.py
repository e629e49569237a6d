"""Claims about SGD on the mean squared error of an affine map, a quadratic: limits and paths."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toyml import theory
from toyml.claims.claim import (
    START,
    UPDATES,
    Equals,
    NotApplicable,
    plain_trainer,
    snapshot,
    supervised,
)
from toyml.claims.minimum import affine_rows
from toyml.run import Run


class Settings(NamedTuple):
    """The settings of a ``torch.optim.SGD`` that never change during the training."""

    lr: float
    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool

    @property
    def dynamics(self) -> dict[str, Any]:
        """All but the learning rate, by name."""
        return {name: value for name, value in self._asdict().items() if name != "lr"}

    def words(self) -> str:
        """What differs from plain descent, such as "momentum 0.9, Nesterov"."""
        parts = [f"lr {self.lr:g}"]
        parts += [f"momentum {self.momentum:g}"] if self.momentum else []
        parts += ["Nesterov"] if self.nesterov else []
        parts += [f"dampening {self.dampening:g}"] if self.dampening else []
        parts += [f"weight decay {self.weight_decay:g}"] if self.weight_decay else []
        return ", ".join(parts)


class Quadratic(NamedTuple):
    """The loss of a run as a quadratic.

    Attributes:
        hessian: Second derivatives of the loss in (w..., b), without weight decay, [p, p].
        minimum: Its minimiser [p].
        settings: Those of the optimizer.
    """

    hessian: Tensor
    minimum: Tensor
    settings: Settings

    @property
    def largest(self) -> float:
        """Largest eigenvalue of the Hessian."""
        return float(torch.linalg.eigvalsh(self.hessian)[-1])

    @property
    def limit(self) -> float:
        """The learning rate from which on this optimizer diverges."""
        return theory.stability_limit(self.largest, **self.settings.dynamics)

    def radius(self, lr: float) -> float:
        """Spectral radius of one step at a learning rate."""
        return theory.spectral_radius(self.hessian, lr, **self.settings.dynamics)


def quadratic(run: Run) -> Quadratic:
    """The run's loss and optimizer in the form that theory has an answer for.

    Raises:
        NotApplicable: Not the mean squared error of one affine map under full-batch SGD with
            constant settings.
    """
    x, y = affine_rows(run)
    if not isinstance(run.loss, nn.MSELoss) or run.loss.reduction != "mean":
        raise NotApplicable(f"{type(run.loss).__name__} is not the mean squared error")
    size = getattr(run.datamodule, "batch_size", None)
    if size is not None and size < len(x):
        raise NotApplicable(f"batches of {size} rows: every step has another quadratic")
    settings = sgd_settings(run)
    try:
        w, b = theory.least_squares(x, y)
    except ValueError as error:
        raise NotApplicable(str(error)) from error
    return Quadratic(theory.mse_hessian(x), torch.cat([w, b.reshape(1)]), settings)


def sgd_settings(run: Run) -> Settings:
    """The settings of the run's SGD.

    Raises:
        NotApplicable: Another optimizer, or settings that theory here has no formula for.
    """
    task = supervised(run)
    if task.lr_scheduler is not None:
        raise NotApplicable("an lr_scheduler changes the learning rate")
    plain_trainer(run)
    try:
        optimizer = task.optimizer(task.net.parameters())
    except ValueError as error:
        raise NotApplicable(str(error)) from error
    if type(optimizer) is not torch.optim.SGD:
        raise NotApplicable(f"{type(optimizer).__name__} is not SGD")
    group = optimizer.param_groups[0]
    settings = Settings(
        lr=float(group["lr"]),
        momentum=float(group["momentum"]),
        dampening=float(group["dampening"]),
        weight_decay=float(group["weight_decay"]),
        nesterov=bool(group["nesterov"]),
    )
    if settings.weight_decay and not task.decay_bias:
        raise NotApplicable("weight decay spares the bias")
    if group["maximize"] or not 0 <= settings.momentum < 1 or not settings.dampening < 1:
        raise NotApplicable(f"no formula for SGD with {settings.words()} (or maximize)")
    return settings


def companion_path(run: Run, most: int | None = None) -> tuple[NDArray[np.int64], Tensor]:
    """Recorded steps [t] and the parameters [t, p] that the companion matrix predicts for them.

    Args:
        run: The run.
        most: Look at steps up to this one only.

    Raises:
        NotApplicable: What :func:`quadratic` says; or the start was not recorded.
    """
    problem = quadratic(run)
    start = torch.from_numpy(
        np.array(run.trajectory.parameters.flat[snapshot(run, 0)], dtype=np.float64)
    )
    steps = run.trajectory.steps
    if most is not None:
        steps = steps[steps <= most]
    predicted = theory.path(
        problem.hessian,
        problem.minimum,
        start,
        int(steps[-1]),
        problem.settings.lr,
        **problem.settings.dynamics,
    )
    return steps, predicted[torch.from_numpy(steps)]


class CompanionPath(Equals):
    r"""Largest deviation of the recorded path from powers of the companion matrix.

    .. math:: \max_s \|\theta_s - \hat\theta_s\|_\infty / \max_s \|\hat\theta_s\|_\infty

    The prediction knows the Hessian, the minimum and the start, and runs no training.

    Args:
        statement: The claim in words.
        tolerance: Largest allowed deviation, relative to the largest predicted parameter.
        most_steps: Steps compared at most.
        predicted: The predicted deviation.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        tolerance: float,
        most_steps: int = 10_000,
        predicted: float = 0.0,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.most_steps = most_steps

    def measure(self, run: Run) -> float:
        """Compare every recorded step."""
        problem = quadratic(run)
        if problem.settings.lr >= problem.limit:
            raise NotApplicable("the training diverges, and its rounding error with it")
        steps, predicted = companion_path(run, self.most_steps)
        found = np.array(run.trajectory.parameters.flat[: len(steps)], dtype=np.float64)
        scale = predicted.abs().max()
        return float((torch.from_numpy(found) - predicted).abs().max() / scale)


class StabilityLimit(Equals):
    """The learning rate from which on the run's SGD diverges, from the data's Hessian.

    Args:
        statement: The claim in words.
        predicted: The predicted limit.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (*START, "model.optimizer.lr", "trainer.max_steps")

    def measure(self, run: Run) -> float:
        """Compute it; no training is looked at."""
        return quadratic(run).limit


class StabilityMargin(Equals):
    """How many times the learning rate fits into the limit of stability; 1 is the edge.

    Args:
        statement: The claim in words.
        predicted: The predicted factor.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (*START, "trainer.max_steps")

    def measure(self, run: Run) -> float:
        """Compute limit / lr."""
        problem = quadratic(run)
        return problem.limit / problem.settings.lr


class SpectralRadius(Equals):
    """The factor by which the distance from the fixed point shrinks a step, in the long run.

    Args:
        statement: The claim in words.
        predicted: The predicted factor.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (*START, "trainer.max_steps")

    def measure(self, run: Run) -> float:
        """Compute it from the Hessian and the settings."""
        problem = quadratic(run)
        return problem.radius(problem.settings.lr)


class BestLearningRate(Equals):
    """The learning rate of plain descent whose slowest direction is fastest, 2 / (λmin + λmax).

    Args:
        statement: The claim in words.
        predicted: The predicted learning rate.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (*START, *UPDATES)

    def measure(self, run: Run) -> float:
        """Compute it from the Hessian."""
        eigenvalues = torch.linalg.eigvalsh(quadratic(run).hessian)
        return theory.optimal_learning_rate(float(eigenvalues[0]), float(eigenvalues[-1]))


class HessianEigenvalue(Equals):
    """An eigenvalue of the Hessian of the mean squared error.

    Args:
        statement: The claim in words.
        index: Its place in increasing order, from 0.
        predicted: The predicted eigenvalue.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (*START, *UPDATES)

    def __init__(
        self,
        statement: str,
        index: int,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.index = index

    def measure(self, run: Run) -> float:
        """Compute it from the rows."""
        eigenvalues = torch.linalg.eigvalsh(quadratic(run).hessian)
        if not 0 <= self.index < len(eigenvalues):
            raise NotApplicable(f"there are {len(eigenvalues)} eigenvalues")
        return float(eigenvalues[self.index])
