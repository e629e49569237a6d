r"""What became of a training: converged, plateau, moving or diverged.

The definitions, in this order:

- **diverged**: the loss was not finite at some step, or larger than ``explosion`` times its first
  value; the step is the first such step.
- **converged**: the last loss is below ``converged``. Without a number it is judged against the
  best training of the sweep: within ``share`` of the way down,
  :math:`L_\text{best} + \text{share}\,(\tilde L_0 - L_\text{best})`, :math:`\tilde L_0` the median
  first loss; of trainings with the same loss function and the same data, as others have other least
  losses. The step is the first one below that loss (exact for a given number; else the first of the
  steps at which the losses are kept).
- **plateau**: over the last tenth of the steps the loss stayed within ``flat`` of its last value,
  relatively. The step is the first kept one from which on it did. Plateaus are grouped into levels:
  sorted by loss, a gap of more than ``gap``, relatively, starts a new level.
- **moving**: none of these; more steps may end anywhere. The step is the last one.
"""

from __future__ import annotations

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
        converged: Loss below which a training has converged; ``None`` judges it against the best.
        share: How far above the best, as a share of the way down, is still as good.
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

    @property
    def thresholds(self) -> tuple[float, ...]:
        """All losses whose first undershooting has to be seen while training."""
        own = () if self.converged is None else (self.converged,)
        return tuple(dict.fromkeys((*own, *self.below)))


class Outcomes(NamedTuple):
    """What became of r trainings.

    Attributes:
        outcome: One of ``OUTCOMES`` each [r].
        step: The step that belongs to it [r].
        level: For plateaus the level, 0 the lowest; -1 otherwise [r].
        threshold: The loss below which each counts as converged [r]; NaN where none could.
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
    first_below: NDArray[np.int64] | None = None,
    group: NDArray[np.int64] | None = None,
) -> Outcomes:
    """Judge r trainings.

    Args:
        definition: When a training counts as what.
        losses: Loss after the last step [r].
        steps: The kept steps [r, t]; trainings may differ in length.
        trace: Losses at these steps [r, t].
        diverged_at: First step whose loss was not finite or exploded, or -1 [r].
        first_below: Where ``definition.converged`` is a number, the first step below it, or -1 [r].
        group: Number of the group of trainings whose losses can be compared [r]; one by default.
    """
    r, last = len(losses), steps[:, -1]
    diverged = (diverged_at >= 0) | ~np.isfinite(losses)
    threshold = np.full(r, np.nan)
    for i in np.unique(group) if group is not None else (0,):
        own = np.full(r, True) if group is None else group == i
        left = own & ~diverged
        threshold[own] = _threshold(definition, losses[left], trace[left, 0])
    with np.errstate(invalid="ignore"):
        converged = ~diverged & (losses < threshold)
        away = np.abs(trace - losses[:, None]) > definition.flat * np.abs(losses)[:, None]
        still = ~(away & (steps >= last[:, None] * 0.9)).any(axis=1)
        below = trace < threshold[:, None]
    plateau = ~diverged & ~converged & still
    level, levels = _levels(definition, np.where(plateau, losses, np.nan))
    outcome = np.full(r, MOVING, dtype="<U9")  # as long as the longest
    step = last.copy()
    for chosen, name in ((diverged, DIVERGED), (converged, CONVERGED), (plateau, PLATEAU)):
        outcome[chosen] = name
    step[diverged] = np.where(diverged_at >= 0, diverged_at, last)[diverged]
    at = np.where(below.any(axis=1), steps[np.arange(r), below.argmax(axis=1)], last)
    if first_below is not None and definition.converged is not None:
        at = np.where(first_below >= 0, first_below, last)
    step[converged] = at[converged]
    settled = steps.shape[1] - np.flip(away, axis=1).argmax(axis=1)
    settled[~away.any(axis=1)] = 0
    step[plateau] = steps[np.arange(r), np.minimum(settled, steps.shape[1] - 1)][plateau]
    return Outcomes(outcome, step, level, threshold, levels)


def _threshold(definition: Definition, losses: Array, first: Array) -> float:
    if definition.converged is not None:
        return definition.converged
    if not len(losses):
        return float("nan")
    best, start = float(losses.min()), float(np.nanmedian(first))
    bound = best + definition.share * max(start - best, 0.0)
    return float(np.nextafter(bound, np.inf))  # the best itself is below it, whatever the start


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
