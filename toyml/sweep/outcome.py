r"""What became of a training: converged, plateau, moving or diverged.

The definitions, in this order:

- **diverged**: the loss was not finite at some step, or larger than ``explosion`` times its first
  value; the step is the first such step.
- **converged**: the last loss is below a threshold that does not depend on the other trainings:
  ``converged``, or without a number :math:`L_\text{least} + \text{share}\,(L_\text{constant} -
  L_\text{least})`, where :math:`L_\text{constant}` is what the best constant prediction gets and
  :math:`L_\text{least}` is 0, or the exact minimum where it is known (mean squared error of a net
  that is affine in its parameters). For squares that is an :math:`R^2` of 99 % with the default
  share. So the best of many that learn nothing has not converged, and where noise keeps every
  training above the threshold none has: those stop on a plateau. The step is the first one below
  the threshold; of the kept ones, where all rows are looked at only there (mini-batches).
- **plateau**: over the last tenth of the steps the loss stayed within ``flat`` of its last value,
  relatively. The step is the first kept one from which on it did. Plateaus are grouped into levels:
  sorted by loss, a gap of more than ``gap``, relatively, starts a new level. It says that the loss
  stayed where it was, not that a lower one can be reached.
- **moving**: none of these; more steps may end anywhere. The step is the last one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml.errors import UserError

Array = NDArray[np.float64]

CONVERGED, PLATEAU, MOVING, DIVERGED = "converged", "plateau", "moving", "diverged"
OUTCOMES = (CONVERGED, PLATEAU, MOVING, DIVERGED)


@dataclass(frozen=True)
class Definition:
    """When a training counts as what.

    Attributes:
        converged: Loss below which a training has converged; ``None`` takes ``share``.
        share: What may be left of the way from the best constant's loss down to the least one.
        flat: Relative change of the loss over the last tenth that is none.
        gap: Relative gap between two levels.
        explosion: Loss, in units of the first one, from which on it counts as diverged.
        levels: Known losses of plateaus, by name.
        below: Further losses whose first undershooting is kept, in columns ``below_<loss>``.

    Raises:
        UserError: A number out of its range.
    """

    converged: float | None = None
    share: float = 0.01
    flat: float = 0.01
    gap: float = 0.05
    explosion: float = 1e6
    levels: Mapping[str, float] = field(default_factory=dict)
    below: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("share", "flat", "gap"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"outcomes.{name} is {getattr(self, name)}; give 0 to 1")
        if not self.explosion > 1:
            raise UserError(f"outcomes.explosion is {self.explosion}; it has to be above 1")

    def threshold(self, constant: float, least: float = 0.0) -> float:
        """The loss below which a training has converged; NaN where none is known.

        Args:
            constant: Loss of the best constant prediction.
            least: The least loss there can be.

        Example:
            >>> Definition().threshold(0.25)
            0.0025
        """
        if self.converged is not None:
            return self.converged
        if not (math.isfinite(constant) and constant - least > 1e-9 * constant):
            return math.nan
        return least + self.share * (constant - least)


class Outcomes(NamedTuple):
    """What became of r trainings.

    Attributes:
        outcome: One of ``OUTCOMES`` each [r].
        step: The step that belongs to it [r].
        level: For plateaus the level, 0 the lowest; -1 otherwise [r].
        threshold: The loss below which each counts as converged [r]; NaN where none is known.
        levels: Name and loss of each level, lowest first.
    """

    outcome: NDArray[np.str_]
    step: NDArray[np.int64]
    level: NDArray[np.int64]
    threshold: Array
    levels: list[tuple[str, float]]


def judge(
    definition: Definition,
    losses: Array,
    steps: NDArray[np.int64],
    trace: Array,
    diverged_at: NDArray[np.int64],
    threshold: Array,
    first_below: NDArray[np.int64],
) -> Outcomes:
    """Judge r trainings.

    Args:
        definition: When a training counts as what.
        losses: Loss after the last step [r].
        steps: The kept steps [r, t]; trainings may differ in length.
        trace: Losses at these steps [r, t].
        diverged_at: First step whose loss was not finite or exploded, or -1 [r].
        threshold: Loss below which each has converged, or NaN [r].
        first_below: First step below it, or -1 [r].
    """
    r, last = len(losses), steps[:, -1]
    diverged = (diverged_at >= 0) | ~np.isfinite(losses)
    with np.errstate(invalid="ignore"):
        converged = ~diverged & (losses < threshold)
        away = np.abs(trace - losses[:, None]) > definition.flat * np.abs(losses)[:, None]
        still = ~(away & (steps >= last[:, None] * 0.9)).any(axis=1)
    plateau = ~diverged & ~converged & still
    level, levels = _levels(definition, np.where(plateau, losses, np.nan))
    outcome = np.full(r, MOVING, dtype="<U9")  # as long as the longest
    step = last.copy()
    for chosen, name in ((diverged, DIVERGED), (converged, CONVERGED), (plateau, PLATEAU)):
        outcome[chosen] = name
    step[diverged] = np.where(diverged_at >= 0, diverged_at, last)[diverged]
    step[converged] = np.where(first_below >= 0, first_below, last)[converged]
    settled = steps.shape[1] - np.flip(away, axis=1).argmax(axis=1)
    settled[~away.any(axis=1)] = 0
    step[plateau] = steps[np.arange(r), np.minimum(settled, steps.shape[1] - 1)][plateau]
    return Outcomes(outcome, step, level, threshold, levels)


def _levels(
    definition: Definition, losses: Array
) -> tuple[NDArray[np.int64], list[tuple[str, float]]]:
    """The level of each loss (-1 for NaN), and the median loss of each level."""
    level = np.full(len(losses), -1, dtype=np.int64)
    order = np.argsort(losses)[: int(np.isfinite(losses).sum())]
    if not len(order):
        return level, []
    ordered = losses[order]
    jumps = np.diff(ordered) > definition.gap * np.abs(ordered[:-1])
    level[order] = np.concatenate([[0], np.cumsum(jumps)])
    medians = [float(np.median(losses[level == i])) for i in range(int(level.max()) + 1)]
    return level, [(_name(definition, median), median) for median in medians]


def _name(definition: Definition, loss: float) -> str:
    near = {
        name: abs(loss - known)
        for name, known in definition.levels.items()
        if abs(loss - known) <= definition.gap * abs(known)
    }
    return min(near, key=lambda name: near[name]) if near else f"{loss:.3g}"
