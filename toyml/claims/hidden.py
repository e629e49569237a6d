"""Claims about hidden units: what their lines enclose."""

from __future__ import annotations

from typing import Any

import torch

from toyml import measures, theory
from toyml.claims.claim import Claim, Equals, NotApplicable, snapshot
from toyml.measures.regions import Region, is_bounded, regions
from toyml.run import Run


def occupied(run: Run, step: int | None = None) -> tuple[torch.Tensor, list[Region]]:
    """Lines [h, 2] of the first layer's units at a step and the regions between them.

    Raises:
        NotApplicable: The net has no hidden units, or the data are not labelled points.
    """
    x, y = run.data
    if x.shape[1] != 2 or y.shape[1] != 1:
        raise NotApplicable("the data are not labelled points of the plane")
    if sum(len(shape) == 2 for shape in run.trajectory.shapes.values()) < 2:
        raise NotApplicable("the net has no hidden layer")
    i = -1 if step is None else snapshot(run, step)
    weights, biases = measures.first_layer(run.trajectory.select([i]))
    return weights[0], regions(weights[0], biases[0], x, y)


class RegionsOf(Equals):
    """Number of regions between the hidden units' lines in which a class has the majority.

    Only regions with data in them count.

    Args:
        statement: The claim in words.
        label: The class, 0 or 1.
        predicted: The predicted number.
        step: Number of updates done; ``null`` is the last step.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A label other than 0 and 1.
    """

    def __init__(
        self,
        statement: str,
        label: int,
        predicted: int,
        step: int | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, 0, given, source)
        if label not in (0, 1):
            raise ValueError(f"label is {label}; it has to be 0 or 1")
        self.label, self.step = label, step

    def measure(self, run: Run) -> float:
        """Count them."""
        _, found = occupied(run, self.step)
        return float(sum((region.ones > region.zeros) == bool(self.label) for region in found))


class Enclosed(Claim):
    """The lines of the hidden units enclose class 0 in one bounded region, alone.

    Args:
        statement: The claim in words.
        encloses: Whether they do.
        step: Number of updates done; ``null`` is the last step.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        encloses: bool = True,
        step: int | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        self.encloses, self.step = encloses, step

    @property
    def predicted(self) -> str:
        """In words."""
        return "enclosed" if self.encloses else "not enclosed"

    def measure(self, run: Run) -> str:
        """Look at the region with most points of class 0."""
        weights, found = occupied(run, self.step)
        region = max(found, key=lambda r: r.zeros)
        alone = region.ones == 0 and region.zeros == sum(r.zeros for r in found)
        return "enclosed" if alone and is_bounded(weights, region.signs) else "not enclosed"


class LossBetween(Claim):
    """The training loss after a number of steps lies in a range.

    Args:
        statement: The claim in words.
        low: Lower end.
        high: Upper end.
        step: Number of updates done; ``null`` is the last step.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: An empty range.
    """

    def __init__(
        self,
        statement: str,
        low: float,
        high: float,
        step: int | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        if not low <= high:
            raise ValueError(f"the range is {low} to {high}; give the lower end first")
        self.low, self.high, self.step = low, high, step

    @property
    def predicted(self) -> str:
        """The range, in words."""
        return f"{self.low:g} to {self.high:g}"

    def measure(self, run: Run) -> float:
        """Evaluate the loss once."""
        i = -1 if self.step is None else snapshot(run, self.step)
        x, y = run.data
        return float(measures.losses(run.net, run.loss, run.trajectory.select([i]), x, y)[0])

    def agrees(self, measured: float | str) -> bool:
        """Whether it lies in the range."""
        return self.low <= float(measured) <= self.high


class FloorHolds(Claim):
    """The loss never falls below what one hidden unit with a monotone activation can reach.

    Such a net is a monotone function across parallel lines, whose least mean cross-entropy on the
    data is isotonic regression's in the best direction.

    Args:
        statement: The claim in words.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    @property
    def predicted(self) -> str:
        """It stays above."""
        return "above the floor"

    def measure(self, run: Run) -> str:
        """Compare the end of the run with the floor."""
        x, y = run.data
        if x.shape[1] != 2 or y.shape[1] != 1:
            raise NotApplicable("the data are not labelled points of the plane")
        floor = theory.monotone_floor(x, y).loss
        last = run.trajectory.select([-1])
        loss = float(measures.losses(run.net, run.loss, last, x, y)[0])
        return "above the floor" if loss >= floor else f"{loss:.6f} below the floor {floor:.6f}"
