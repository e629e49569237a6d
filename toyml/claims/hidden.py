"""Claims about hidden units: what their lines enclose."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from toyml import measures, theory
from toyml.claims.claim import Claim, Equals, NotApplicable, labelled, snapshot
from toyml.data import Rings
from toyml.measures.chain import read_chain
from toyml.measures.regions import Region, is_bounded, regions
from toyml.run import Run

MONOTONE: frozenset[type[nn.Module]] = frozenset(
    {
        nn.Hardsigmoid,
        nn.Hardtanh,
        nn.Identity,
        nn.LogSigmoid,
        nn.ReLU,
        nn.ReLU6,
        nn.SELU,
        nn.Sigmoid,
        nn.Softplus,
        nn.Softsign,
        nn.Tanh,
        nn.Tanhshrink,
    }
)
"""Activations that never fall, or never rise, whatever their settings."""


RADII = (1.0, 3.0, 4.0)
"""Of the disk and of the ring, as toyml.data.Rings draws them."""


def occupied(run: Run, step: int | None = None) -> tuple[torch.Tensor, list[Region]]:
    """Lines [h, 2] of the first layer's units at a step and the regions between them.

    Raises:
        NotApplicable: The net has no hidden units, or the data are not labelled points.
    """
    x, y = labelled(run)
    if x.shape[1] != 2:
        raise NotApplicable("the data are not labelled points of the plane")
    if sum(len(shape) == 2 for shape in run.trajectory.shapes.values()) < 2:
        raise NotApplicable("the net has no hidden layer")
    i = snapshot(run, step)
    weights, biases = measures.first_layer(run.trajectory.points([i]))
    return weights[0], regions(weights[0], biases[0], x, y > run.meaning.middle)


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
        return float(run.losses([snapshot(run, self.step)])[0])

    def agrees(self, measured: float | str) -> bool:
        """Whether it lies in the range."""
        return self.low <= float(measured) <= self.high


class CutFloor(Equals):
    """What one line, or a strip between two parallel ones, leaves of the rings at best.

    It is known for points that are drawn like the run's without noise, not for its own points
    (:func:`toyml.theory.best_line`, :func:`toyml.theory.best_strip`).

    Args:
        statement: The claim in words.
        lines: 1 or 2.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        misclassified: Ask for the share of points on the wrong side instead of the loss.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: Another number of lines.
    """

    theory = True
    independent_of = ("seed_everything", "model", "trainer", "data.batch_size")

    def __init__(
        self,
        statement: str,
        lines: int,
        predicted: float,
        tolerance: float,
        misclassified: bool = False,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        if lines not in (1, 2):
            raise ValueError(f"lines is {lines}; it has to be 1 or 2")
        self.lines, self.misclassified = lines, misclassified

    def measure(self, run: Run) -> float:
        """Compute it; no training is looked at."""
        if not isinstance(run.datamodule, Rings) or run.datamodule.noise:
            raise NotApplicable("the data are not rings without noise")
        floor = (theory.best_line if self.lines == 1 else theory.best_strip)(*RADII)
        return 1 - floor.accuracy if self.misclassified else floor.loss


class FloorHolds(Claim):
    """The loss never falls below what one hidden unit with a monotone activation can reach.

    Such a net is a monotone function across parallel lines, whose least mean cross-entropy on the
    data is isotonic regression's in the best direction (of 360). At most 1,000 snapshots are
    looked at, evenly spread, first and last among them.

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
        """Compare the loss over the steps with the floor."""
        snapshot(run, None)
        x, y = monotone_problem(run)
        try:
            floor = theory.monotone_floor(x, y).loss
        except ValueError as error:
            raise NotApplicable(str(error)) from error
        chosen = run.trajectory.thinned(1000)
        # In float64, so that a loss at the floor is not below it by rounding.
        path = {name: p.double() for name, p in run.trajectory.points(chosen).items()}
        losses = measures.losses(run.net, run.loss, path, x, y)
        below = torch.nonzero(losses < floor)
        if not len(below):
            return self.predicted
        first = int(below[0])
        return (
            f"{float(losses[first]):.6f} at step {run.trajectory.steps[chosen[first]]:,}, "
            f"below the floor {floor:.6f}"
        )


def monotone_problem(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """Points x [n, 2] and labels y [n, 1], float64, of a monotone unit under mean cross-entropy.

    Raises:
        NotApplicable: Another net than two inputs, one hidden unit and one output with monotone
            activations; another loss.
    """
    x, y = labelled(run)
    if x.shape[1] != 2:
        raise NotApplicable("the data are not labelled points of the plane")
    chain = read_chain(run.net)
    if chain is None or [layer.width for layer in chain] != [1, 1]:
        raise NotApplicable("the floor is that of a net with exactly one hidden unit")
    for activation in (a for layer in chain for a in layer.activations):
        if type(activation) not in MONOTONE:
            raise NotApplicable(f"{type(activation).__name__} is not known to be monotone")
    loss = run.loss
    if not isinstance(loss, nn.BCELoss | nn.BCEWithLogitsLoss):
        raise NotApplicable(f"the floor is one of cross-entropy, not of {type(loss).__name__}")
    if loss.reduction != "mean" or any(True for _ in loss.buffers()):
        raise NotApplicable("the loss is not the plain mean over the rows")
    return x.double(), y.double()
