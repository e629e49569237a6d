"""Claims over seeds: medians and counts from a run's table of outcomes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toyml.claims.claim import Equals, NotApplicable
from toyml.run import Run
from toyml.seeds import SeedTable


def outcomes(run: Run, setting: str, column: str) -> NDArray[np.float64]:
    """One column [r] of a setting in the run's table over seeds.

    Raises:
        NotApplicable: The run has no such table, setting or column.
    """
    table = SeedTable.load(run.folder)
    if table is None:
        raise NotApplicable("the run has no table over seeds; toyml.callbacks.Seeds trains one")
    try:
        return table.column(setting, column)
    except KeyError as error:
        raise NotApplicable(str(error.args[0])) from None


class SeedQuantile(Equals):
    """A quantile over seeds: 0 the least, 0.5 the median, 1 the greatest.

    Args:
        statement: The claim in words.
        setting: Setting in the table.
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
        setting: str,
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
        self.setting, self.column, self.quantile = setting, column, quantile

    def measure(self, run: Run) -> float:
        """Read it off the table."""
        values = outcomes(run, self.setting, self.column)
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
        setting: Setting in the table.
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
        setting: str,
        column: str,
        below: float,
        predicted: int,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.setting, self.column, self.below = setting, column, below

    def measure(self, run: Run) -> float:
        """Count them."""
        return float((outcomes(run, self.setting, self.column) < self.below).sum())


class SeedsLeftBetter(Equals):
    """Number of seeds whose left half is fitted better than the right, relative to its size.

    Args:
        statement: The claim in words.
        setting: Setting in the table.
        predicted: The predicted number.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        setting: str,
        predicted: int,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.setting = setting

    def measure(self, run: Run) -> float:
        """Count them."""
        left, right = (outcomes(run, self.setting, side) for side in ("left", "right"))
        return float((left < right).sum())


class SeedsLower(Equals):
    """Chance that a seed of one setting ends below a seed of another, over all pairs.

    A tie counts half. 0.5 is no difference (the Mann-Whitney statistic U divided by the number
    of pairs).

    Args:
        statement: The claim in words.
        setting: Setting in the table.
        other: The setting it is compared with.
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
        setting: str,
        other: str,
        column: str,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.setting, self.other, self.column = setting, other, column

    def measure(self, run: Run) -> float:
        """Compare all pairs."""
        a, b = (outcomes(run, s, self.column)[:, None] for s in (self.setting, self.other))
        return float((a < b.T).mean() + 0.5 * (a == b.T).mean())
