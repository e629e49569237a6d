"""Claims about a curve's left and right half, and about the sizes of its targets."""

from __future__ import annotations

from typing import Any

import torch

from toyml import measures
from toyml.claims.claim import Claim, Equals, NotApplicable, snapshot
from toyml.measures.sides import side_errors
from toyml.run import Run


def curve(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs x [n, 1] and targets y [n, 1] of a curve, float64, in the order of x.

    Raises:
        NotApplicable: The data are not a curve.
    """
    x, y = (a.double() for a in run.datamodule.arrays())  # type: ignore[attr-defined]
    if x.shape[1] != 1 or y.shape[1] != 1:
        raise NotApplicable(f"the data are not a curve (x {list(x.shape)}, y {list(y.shape)})")
    order = x[:, 0].argsort(stable=True)
    return x[order], y[order]


class MeanSquare(Equals):
    """Mean of the squared targets: the loss of the constant prediction 0.

    Args:
        statement: The claim in words.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = ("seed_everything", "model", "trainer", "data.batch_size")

    def measure(self, run: Run) -> float:
        """Look at the data."""
        return float(curve(run)[1].square().mean())


class LeftShare(Equals):
    """Share of the sum of squared targets that the left half carries.

    Args:
        statement: The claim in words.
        predicted: The predicted share, 0 to 1.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = ("seed_everything", "model", "trainer", "data.batch_size")

    def measure(self, run: Run) -> float:
        """Look at the data."""
        squares = curve(run)[1].square()
        return float(squares[: len(squares) // 2].sum() / squares.sum())


class SmallestTarget(Equals):
    """The smallest |y|.

    Args:
        statement: The claim in words.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = ("seed_everything", "model", "trainer", "data.batch_size")

    def measure(self, run: Run) -> float:
        """Look at the data."""
        return float(curve(run)[1].abs().min())


class ZeroCrossings(Equals):
    """How often the targets change their sign along x; exact zeros are passed over.

    Args:
        statement: The claim in words.
        predicted: The predicted number.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = ("seed_everything", "model", "trainer", "data.batch_size")

    def measure(self, run: Run) -> float:
        """Look at the data."""
        signs = curve(run)[1][:, 0].sign()
        signs = signs[signs != 0]
        return float((signs[1:] != signs[:-1]).sum())


class BetterSide(Claim):
    """Which half of the curve is fitted better, relative to the size of its targets.

    Args:
        statement: The claim in words.
        left: Whether it is the left one.
        step: Number of updates done; ``null`` is the last step.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        left: bool,
        step: int | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        self.left, self.step = left, step

    @property
    def predicted(self) -> str:
        """The half."""
        return "left" if self.left else "right"

    def measure(self, run: Run) -> str:
        """Compare the relative squared errors."""
        left, right = errors(run, self.step)
        return "left" if left < right else "right"


class SideError(Equals):
    """Relative squared error of one half: 0 is a perfect fit, 1 what the constant 0 gets.

    Args:
        statement: The claim in words.
        left: Whether it is the left half.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        step: Number of updates done; ``null`` is the last step.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        left: bool,
        predicted: float,
        tolerance: float,
        step: int | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.left, self.step = left, step

    def measure(self, run: Run) -> float:
        """Compute it from the recorded parameters."""
        left, right = errors(run, self.step)
        return left if self.left else right


class WorstRowShare(Equals):
    """Share of the loss that the single worst row carries.

    Args:
        statement: The claim in words.
        predicted: The predicted share, 1/n to 1.
        tolerance: Largest allowed distance.
        step: Number of updates done; ``null`` is the last step.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        predicted: float,
        tolerance: float,
        step: int | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step = step

    def measure(self, run: Run) -> float:
        """Evaluate the loss row by row; the mean of these is the loss."""
        i = snapshot(run, self.step)
        x, y = run.data
        output = measures.outputs(run.net, run.trajectory.select([i]), x)[0]
        rows = torch.stack([run.loss(output[j : j + 1], y[j : j + 1]) for j in range(len(x))])
        return float(rows.detach().max() / rows.detach().sum())


def errors(run: Run, step: int | None = None) -> tuple[float, float]:
    """Relative squared errors of the left and the right half at a step."""
    curve(run)
    x, y = run.data
    i = snapshot(run, step)
    output = measures.outputs(run.net, run.trajectory.select([i]), x)
    left, right = side_errors(output, x, y)[0].tolist()
    return left, right
