"""Claims about the two conventions of the L2 penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toyml import measures, reference
from toyml.claims.claim import UPDATES, Equals, NotApplicable, plain_trainer, snapshot, supervised
from toyml.claims.parity import distance, reference_net
from toyml.claims.values import scalar_of
from toyml.run import Run

ROUNDING = 1e-12
"""Differences up to here are rounding, not another convention."""


class GradientAt(Equals):
    """One entry of the gradient of the loss, without any weight decay.

    Args:
        statement: The claim in words.
        step: Number of updates done; the gradient is that at the parameters of this step.
        parameter: A scalar by name and index, such as ``linear.weight[0,1]``.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int,
        parameter: str,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step, self.parameter = step, parameter
        self.independent_of = UPDATES if step == 0 else ()

    def measure(self, run: Run) -> float:
        """Differentiate the loss once."""
        name, place = scalar_of(run, self.parameter)
        at = run.trajectory.select([snapshot(run, self.step)])
        return float(measures.gradients(run.net, run.loss, at, *run.data)[name][0][place])


class RegressionWithin(Equals):
    """Largest deviation from logistic regression by hand over every recorded step and parameter.

    Args:
        statement: The claim in words.
        penalty: λ.
        tolerance: Largest deviation allowed.
        by_rows: Divide λ by the number of rows, as textbooks do; PyTorch does not.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A negative penalty.
    """

    def __init__(
        self,
        statement: str,
        penalty: float,
        tolerance: float,
        by_rows: bool = False,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, 0.0, tolerance, given, source)
        self.penalty, self.by_rows = checked_penalty(penalty), by_rows

    def measure(self, run: Run) -> float:
        """Train by hand and compare."""
        return float(regression_gap(run, self.penalty, self.by_rows).max())


class RegressionPartsAt(Equals):
    """The first recorded step at which the run leaves logistic regression by hand.

    Args:
        statement: The claim in words.
        penalty: λ.
        predicted: The step.
        by_rows: Divide λ by the number of rows, as textbooks do; PyTorch does not.
        tolerance: Largest allowed distance from the step.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A negative penalty.
    """

    def __init__(
        self,
        statement: str,
        penalty: float,
        predicted: float,
        by_rows: bool = False,
        tolerance: float = 0.0,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.penalty, self.by_rows = checked_penalty(penalty), by_rows

    def measure(self, run: Run) -> float:
        """Train by hand and look for the first difference that is more than rounding."""
        parted = np.flatnonzero(regression_gap(run, self.penalty, self.by_rows) > ROUNDING)
        if not len(parted):
            raise NotApplicable(f"in {run.trajectory.steps[-1]:,} steps the two do not part")
        return float(run.trajectory.steps[parted[0]])


def regression_gap(run: Run, penalty: float, by_rows: bool) -> NDArray[np.float64]:
    """Largest deviation of any parameter from logistic regression by hand, per snapshot [t].

    Args:
        run: A run of ``Linear`` to one output with a sigmoid (in the net or in the loss), SGD
            without momentum, full batch.
        penalty: λ.
        by_rows: Divide it by the number of rows.

    Raises:
        NotApplicable: The run is no such regression.
    """
    snapshot(run, 0)
    task = supervised(run)
    net = reference_net(run)
    logistic = {nn.BCELoss: reference.Sigmoid, nn.BCEWithLogitsLoss: reference.Identity}
    wanted = logistic.get(type(run.loss))
    single = len(net.weights) == 1 and net.weights[0].shape[0] == 1 and net.biases is not None
    if not single or wanted is None or type(net.activations[0]) is not wanted:
        raise NotApplicable("the run is no logistic regression with a bias")
    optimizer = task.configure_optimizers()
    settings = optimizer.param_groups[0] if isinstance(optimizer, torch.optim.Optimizer) else {}
    plain = type(optimizer) is torch.optim.SGD and not settings["momentum"]
    weighted = run.loss.reduction != "mean" or any(True for _ in run.loss.buffers())
    if not plain or settings["maximize"] or weighted:
        raise NotApplicable("the regression by hand is plain gradient descent of the mean")
    plain_trainer(run)
    if getattr(run.datamodule, "batch_size", None) is not None:
        raise NotApplicable("the regression by hand takes the full batch")
    x, y = (each.numpy() for each in run.data)
    decay = reference.textbook_decay(penalty, len(x)) if by_rows else penalty
    assert net.biases is not None
    regression = reference.LogisticRegression(
        float(optimizer.param_groups[0]["lr"]), decay, task.decay_bias
    )
    steps = run.trajectory.steps
    start = net.weights[0][0], float(net.biases[0][0])
    w, b = regression.train(x, y, int(steps[-1]), *start)
    by_hand = np.column_stack([w, b])[steps]
    gaps = distance(np.asarray(run.trajectory.parameters.flat), by_hand)
    return np.asarray(gaps.max(1), np.float64)


def checked_penalty(penalty: float) -> float:
    """A penalty that is one.

    Raises:
        ValueError: It is negative or not finite.
    """
    if not 0 <= penalty < np.inf:
        raise ValueError(f"penalty is {penalty}; give 0 or more")
    return penalty
