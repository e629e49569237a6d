"""Claims about a printout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toyml.claims.claim import Claim, NotApplicable
from toyml.run import Run


class Printed(Claim):
    """Values of a logged metric are, bit for bit, those that its author printed.

    Args:
        statement: The claim in words.
        values: Step to the value printed for it, in all its digits.
        metric: Column of ``metrics.csv``.
        given: Settings that the claim presupposes.
        source: Who printed them.

    Raises:
        ValueError: No values.
    """

    def __init__(
        self,
        statement: str,
        values: Mapping[int, float],
        metric: str = "loss",
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        if not values:
            raise ValueError("values is empty; give at least one step and its value")
        self.values, self.metric = dict(values), metric

    @property
    def predicted(self) -> str:
        """All of them."""
        return f"all {len(self.values)} equal"

    def measure(self, run: Run) -> str:
        """Read the metric off the table."""
        column = run.metrics.get(self.metric)
        if column is None:
            raise NotApplicable(f"{self.metric} was not logged")
        found = dict(zip(column["step"], column["value"], strict=True))
        absent = [step for step in self.values if step not in found]
        if absent:
            raise NotApplicable(f"{self.metric} was not logged at step {absent[0]:,}")
        wrong = [step for step, value in self.values.items() if found[step] != value]
        if not wrong:
            return self.predicted
        step = wrong[0]
        return (
            f"{len(wrong)} of {len(self.values)} differ, first at step {step:,}: "
            f"{found[step]!r} instead of {self.values[step]!r}"
        )
