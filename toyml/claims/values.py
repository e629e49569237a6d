"""Claims about single values: a parameter, a loss, a metric at a step."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from toyml.claims.claim import Equals, NotApplicable, snapshot
from toyml.run import Run


class ParameterAt(Equals):
    """One scalar parameter after a number of steps.

    Args:
        statement: The claim in words.
        step: Number of updates done.
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

    def measure(self, run: Run) -> float:
        """Read it off the trajectory."""
        name, place = scalar_of(run, self.parameter)
        return float(run.trajectory.parameters[name][snapshot(run, self.step)][place])


class LossAt(Equals):
    """The training loss after a number of steps, evaluated from the recorded parameters.

    Args:
        statement: The claim in words.
        step: Number of updates done; the loss is that of the parameters at this step.
        predicted: The predicted value.
        tolerance: Largest allowed distance; 0 for equality bit for bit.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step = step

    def measure(self, run: Run) -> float:
        """Evaluate the loss once."""
        return float(run.losses([snapshot(run, self.step)])[0])


class MetricAt(Equals):
    """A logged metric at a step.

    Args:
        statement: The claim in words.
        step: Step of the row in ``metrics.csv``.
        metric: Its column.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int,
        metric: str,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step, self.metric = step, metric

    def measure(self, run: Run) -> float:
        """Read it off the table."""
        column = run.metrics.get(self.metric)
        if column is None:
            raise NotApplicable(f"{self.metric} was not logged")
        found = np.flatnonzero(np.asarray(column["step"]) == self.step)
        if not len(found):
            raise NotApplicable(f"{self.metric} was not logged at step {self.step}")
        return column["value"][int(found[-1])]


def scalar_of(run: Run, parameter: str) -> tuple[str, tuple[int, ...]]:
    """Name and index of a scalar that the run's net has.

    Raises:
        NotApplicable: It has no such parameter, or one of another shape.
    """
    name, place = scalar_name(parameter)
    shapes = run.trajectory.shapes
    if name not in shapes:
        raise NotApplicable(f"the net has no parameter {name!r} (it has {', '.join(shapes)})")
    shape = shapes[name]
    if len(place) != len(shape) or any(i >= size for i, size in zip(place, shape, strict=True)):
        raise NotApplicable(f"{name} has shape {list(shape)}")
    return name, place


def scalar_name(text: str) -> tuple[str, tuple[int, ...]]:
    """Split ``linear.weight[0,1]`` into name and index.

    Example:
        >>> scalar_name("linear.weight[0,1]")
        ('linear.weight', (0, 1))
    """
    match = re.fullmatch(r"([\w.]+)(?:\[([\d,\s]+)\])?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a parameter such as linear.weight[0,1]")
    place = tuple(int(i) for i in match[2].split(",")) if match[2] else ()
    return match[1], place
