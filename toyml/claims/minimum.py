"""Claims about one affine map: exact minimisers, the end of its path, its extremes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toyml import theory
from toyml.claims.claim import Equals, NotApplicable, labelled, snapshot
from toyml.claims.values import scalar_of
from toyml.run import Run


def affine_rows(run: Run) -> tuple[Tensor, Tensor]:
    """Rows x [n, d] and targets y [n, 1] of a run of one affine map with a bias, float64.

    Raises:
        NotApplicable: The net is something else.
    """
    layers = [m for m in run.net.modules() if not list(m.children())]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear) or layers[0].bias is None:
        raise NotApplicable("the net is not one affine map with a bias")
    if layers[0].out_features != 1:
        raise NotApplicable(f"the net has {layers[0].out_features} outputs, not one")
    # In the precision that the training saw, then in float64.
    x, y = labelled(run)
    return x.double(), y.double()


def exact_minimum(run: Run, loss: nn.Module | None = None) -> Tensor:
    """The exact minimiser (w..., b) [d + 1] of the data's loss for one affine map, float64.

    Weight decay is not part of the loss.

    Args:
        run: The run.
        loss: Another loss than the run's.

    Raises:
        NotApplicable: No exact answer is known for the net or the loss.
    """
    x, y = affine_rows(run)
    loss = loss or run.loss
    if getattr(loss, "reduction", "mean") not in ("mean", "sum"):
        raise NotApplicable("the loss is not reduced to one number")
    try:
        if isinstance(loss, nn.MSELoss):
            w, b = theory.least_squares(x, y)
        elif isinstance(loss, nn.L1Loss):
            w, b = theory.l1_minimizer(x, y)
        elif isinstance(loss, nn.HuberLoss):
            w, b = theory.huber_minimizer(x, y, float(loss.delta))
        elif isinstance(loss, nn.SmoothL1Loss):
            # |r| - beta/2 beyond beta: Huber's loss over delta, so the same minimiser.
            beta = float(loss.beta)
            w, b = theory.huber_minimizer(x, y, beta) if beta else theory.l1_minimizer(x, y)
        else:
            raise NotApplicable(f"no exact minimiser is known for {type(loss).__name__}")
    except ValueError as error:
        raise NotApplicable(str(error)) from error
    return torch.cat([w, b.reshape(1)])


def loss_at(run: Run, point: Tensor) -> float:
    """The run's loss at a point (w..., b), in float64."""
    x, y = affine_rows(run)
    return float(run.loss(x @ point[:-1, None] + point[-1], y))


class DistanceFrom(Equals):
    """Euclidean distance of all parameters, after a number of steps, from a given point.

    Args:
        statement: The claim in words.
        step: Number of updates done; ``null`` is the last step.
        point: The point, one value per scalar parameter in the order of the net.
        tolerance: Largest allowed distance.
        predicted: The predicted distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int | None,
        point: Sequence[float],
        tolerance: float,
        predicted: float = 0.0,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step, self.point = step, list(point)

    def measure(self, run: Run) -> float:
        """Read the parameters off the trajectory."""
        i = snapshot(run, self.step)
        found = np.asarray(run.trajectory.parameters.flat[i], dtype=np.float64)
        if len(found) != len(self.point):
            raise NotApplicable(f"stated for {len(self.point)} parameters; here are {len(found)}")
        return float(np.linalg.norm(found - self.point))


class MinimumDistance(Equals):
    """Euclidean distance of the exact minimiser of the run's loss from a given point.

    The minimiser comes from theory, not from training: least squares, least absolute deviations,
    Huber.

    Args:
        statement: The claim in words.
        point: The point (w..., b).
        tolerance: Largest allowed distance.
        predicted: The predicted distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        point: Sequence[float],
        tolerance: float,
        predicted: float = 0.0,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.point = list(point)

    def measure(self, run: Run) -> float:
        """Solve for the minimiser."""
        found = exact_minimum(run)
        if len(found) != len(self.point):
            raise NotApplicable(f"stated for {len(self.point)} parameters; here are {len(found)}")
        return float(torch.linalg.vector_norm(found - found.new_tensor(self.point)))


class MinimumLoss(Equals):
    """The least value of the run's loss over all affine maps, from theory.

    Args:
        statement: The claim in words.
        predicted: The predicted loss.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def measure(self, run: Run) -> float:
        """Evaluate the loss at the exact minimiser."""
        return loss_at(run, exact_minimum(run))


class ExcessLoss(Equals):
    """How far the loss after a number of steps is above its exact minimum.

    Args:
        statement: The claim in words.
        step: Number of updates done; ``null`` is the last step.
        predicted: The predicted difference, 0 or more.
        tolerance: Largest allowed distance from it.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int | None,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step = step

    def measure(self, run: Run) -> float:
        """Evaluate both in float64."""
        i = snapshot(run, self.step)
        minimum = exact_minimum(run)
        found = torch.from_numpy(np.array(run.trajectory.parameters.flat[i], dtype=np.float64))
        return loss_at(run, found) - loss_at(run, minimum)


class LowestValue(Equals):
    """The least value of one scalar parameter on the path of the training.

    Args:
        statement: The claim in words.
        parameter: A scalar by name and index, such as ``linear.weight[0,0]``.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        parameter: str,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.parameter = parameter

    def measure(self, run: Run) -> float:
        """Look at every recorded step."""
        return float(series(run, self.parameter).min())


class HighestValue(Equals):
    """The greatest value of one scalar parameter on the path of the training.

    Args:
        statement: The claim in words.
        parameter: A scalar by name and index, such as ``linear.bias[0]``.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        parameter: str,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.parameter = parameter

    def measure(self, run: Run) -> float:
        """Look at every recorded step."""
        return float(series(run, self.parameter).max())


def series(run: Run, parameter: str) -> NDArray[np.float64]:
    """One scalar parameter at every snapshot [t].

    Raises:
        NotApplicable: The net has no such parameter.
    """
    name, place = scalar_of(run, parameter)
    everywhere: Any = (slice(None), *place)
    return np.asarray(run.trajectory.parameters[name][everywhere], dtype=np.float64)
