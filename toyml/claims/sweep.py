"""Claims about a sweep: medians, counts, chances, and what theory says about its boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from toyml.claims.claim import Claim, Equals, NotApplicable
from toyml.configured import instantiate
from toyml.errors import UserError
from toyml.measures import sharpness
from toyml.run import Run, network
from toyml.sweep.axis import find_key
from toyml.sweep.curvature import LR, end_sharpness, highest_sharpness, limit_line, parameters_of
from toyml.sweep.folder import Sweep
from toyml.sweep.outcome import CONVERGED, DIVERGED, OUTCOMES
from toyml.sweep.plan import Vary
from toyml.sweep.table import column as read_column
from toyml.sweep.table import rows_with, select

Where = dict[str, Any]
"""Values by column of the table, which choose its rows; ``{}`` for all."""


def sweep_of(run: Run) -> Sweep:
    """The run as a sweep.

    Raises:
        NotApplicable: It is a single run.
    """
    if not isinstance(run, Sweep):
        raise NotApplicable("it is about many trainings; toyml sweep does them")
    return run


def outcomes(run: Run, where: Where, column: str) -> NDArray[np.float64]:
    """One column [r] of the rows that are chosen in a sweep's table.

    Raises:
        NotApplicable: The run is no sweep, or has no such rows or column.
    """
    try:
        return read_column(sweep_of(run).table, where, column)
    except KeyError as error:
        raise NotApplicable(str(error.args[0])) from None


class SeedQuantile(Equals):
    """A quantile over seeds: 0 the least, 0.5 the median, 1 the greatest.

    Args:
        statement: The claim in words.
        where: Values by varied key, which choose the trainings.
        column: Its column, such as ``loss``.
        quantile: 0 to 1; between two seeds it is interpolated. NaN counts as the greatest.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A quantile out of range.
    """

    def __init__(
        self,
        statement: str,
        where: Where,
        column: str,
        quantile: float,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile is {quantile}; it has to be in 0..1 (0.5 is the median)")
        self.where, self.column, self.quantile = where, column, quantile

    def measure(self, run: Run) -> float:
        """Read it off the table."""
        values = outcomes(run, self.where, self.column)
        ordered = np.sort(values)  # NaN last
        place = self.quantile * (len(ordered) - 1)
        low, share = ordered[int(place)], place % 1
        # Not np.quantile, which makes NaN of a whole column when one seed diverged.
        value = low if share == 0 else (1 - share) * low + share * ordered[int(place) + 1]
        return float(np.nan_to_num(value, nan=np.inf))


class SeedsBelow(Equals):
    """Number of seeds whose outcome is below a value.

    Args:
        statement: The claim in words.
        where: Values by varied key, which choose the trainings.
        column: Its column, such as ``loss``.
        below: The value.
        predicted: The predicted number.
        tolerance: Largest allowed distance; for s of r seeds, one binomial standard deviation is
            the square root of s (1 - s/r).
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        where: Where,
        column: str,
        below: float,
        predicted: int,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.where, self.column, self.below = where, column, below

    def measure(self, run: Run) -> float:
        """Count them."""
        return float((outcomes(run, self.where, self.column) < self.below).sum())


class SeedsLeftBetter(Equals):
    """Number of seeds whose left half is fitted better than the right, relative to its size.

    Args:
        statement: The claim in words.
        where: Values by varied key, which choose the trainings.
        predicted: The predicted number.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        where: Where,
        predicted: int,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.where = where

    def measure(self, run: Run) -> float:
        """Count them."""
        left, right = (outcomes(run, self.where, side) for side in ("left", "right"))
        return float((left < right).sum())


class SeedsLower(Equals):
    """Chance that a seed of one setting ends below a seed of another, over all pairs.

    A tie counts half. 0.5 is no difference (the Mann-Whitney statistic U divided by the number
    of pairs).

    Args:
        statement: The claim in words.
        where: Values by varied key, which choose the trainings.
        other: The same for those they are compared with.
        column: The column compared, such as ``loss``.
        predicted: The predicted chance, 0 to 1.
        tolerance: Largest allowed distance; without a difference one standard deviation is the
            square root of (r + r' + 1) / (12 r r').
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        where: Where,
        other: Where,
        column: str,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.where, self.other, self.column = where, other, column

    def measure(self, run: Run) -> float:
        """Compare all pairs."""
        a, b = (outcomes(run, s, self.column)[:, None] for s in (self.where, self.other))
        return float((a < b.T).mean() + 0.5 * (a == b.T).mean())


class OutcomeCount(Equals):
    """Number of trainings that converged, stopped on a plateau, were moving or diverged.

    Args:
        statement: The claim in words.
        outcome: ``converged``, ``plateau``, ``moving`` or ``diverged``.
        predicted: The predicted number.
        tolerance: Largest allowed distance.
        where: Values by varied key, which choose the trainings.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: Another outcome.
    """

    def __init__(
        self,
        statement: str,
        outcome: str,
        predicted: int,
        tolerance: float,
        where: Where | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome is {outcome!r}; give one of {', '.join(OUTCOMES)}")
        self.outcome, self.where = outcome, where or {}

    def measure(self, run: Run) -> float:
        """Count them."""
        try:
            rows = select(sweep_of(run).table, self.where)
        except KeyError as error:
            raise NotApplicable(str(error.args[0])) from None
        return float((rows["outcome"] == self.outcome).sum())


class SharpnessAtBest(Equals):
    """Largest eigenvalue of the Hessian where the best training of the sweep ended."""

    def measure(self, run: Run) -> float:
        """Compute it."""
        try:
            return end_sharpness(sweep_of(run))
        except UserError as why:
            raise NotApplicable(str(why)) from None


class StabilityBoundary(Equals):
    """Distance between the learning rate at which trainings begin to diverge and theory's limit.

    For every value of the other key the boundary lies between the greatest learning rate below
    which no training diverged, and the next one of the grid. The distance of the limit from the
    middle of the two is measured in units of their distance; the greatest over all values is
    reported. Up to 0.5 the limit lies between them, so 0 with tolerance 0.5 claims that theory is
    right to the grid's spacing. Rows whose boundary is beyond the grid are left out.

    Args:
        statement: The claim in words.
        key: The other varied key, such as ``momentum``.
        predicted: The predicted distance.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        key: str,
        predicted: float = 0.0,
        tolerance: float = 0.5,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.key = key

    def measure(self, run: Run) -> float:
        """Find the boundary of every row."""
        sweep = sweep_of(run)
        if LR not in sweep.varied:
            raise NotApplicable("the sweep does not vary the learning rate")
        key = find_key(sweep.varied, self.key)
        rates, others = sorted(sweep.varied[LR]), sorted(sweep.varied[key])
        limit = limit_line(sweep, LR, key, rates, others)
        if limit is None:
            raise NotApplicable("theory has no limit within these learning rates")
        distances = []
        for other in others:
            rows = rows_with(sweep.table, key, other)
            lost = rows_with(rows, "outcome", DIVERGED)[LR].to_numpy()
            i = rates.index(lost.min()) if len(lost) else 0
            if i > 0:
                low, high = rates[i - 1], rates[i]
                at = float(np.interp(other, limit.y, limit.x))
                distances.append(abs((low + high) / 2 - at) / (high - low))
        if not distances:
            raise NotApplicable("no row of the grid has its boundary inside")
        return float(max(distances))


class SharpestEnd(Claim):
    """No training ends at a minimum that is sharper than the learning rate allows.

    Predicted is the limit, 2 (1 + momentum) / lr for the heavy ball; measured the greatest
    sharpness at the end of any training that converged. It holds when that is not above the limit.

    Args:
        statement: The claim in words.
        predicted: The limit.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        predicted: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        self._predicted = predicted

    @property
    def predicted(self) -> float:
        """The limit."""
        return self._predicted

    def agrees(self, measured: float | str) -> bool:
        """Whether the sharpest end is within the limit that is predicted."""
        return float(measured) <= self._predicted * (1 + 1e-9)

    def measure(self, run: Run) -> float:
        """Compute the sharpness at every end."""
        sweep = sweep_of(run)
        limit = highest_sharpness(sweep)
        if limit is None or abs(limit - self._predicted) > 1e-6 * self._predicted:
            raise NotApplicable(f"the limit of this sweep is {limit}, not {self._predicted:g}")
        rows = sweep.details.filter(sweep.table["outcome"] == CONVERGED)
        if "end" not in rows.columns or not len(rows):
            raise NotApplicable("no training converged whose end was kept")
        cells = [k for k, v in sweep.varied.items() if not Vary(k, tuple(v)).by_replica]
        if cells:
            raise NotApplicable(f"nets or data differ in {', '.join(cells)}")
        built = instantiate(sweep.config, ["model", "data"], "the sweep's config", sweep.trust)
        task = built["model"].double()
        x, y = built["data"].arrays()
        flat = torch.from_numpy(np.array(rows["end"].to_list(), dtype=np.float64))
        ends = parameters_of(network(task), flat)
        return float(sharpness(network(task), task.loss, ends, x, y).max())
