"""Where trainings end: end points that hang together are one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toyml.sweep.keys import start_column
from toyml.sweep.outcome import CONVERGED, DIVERGED, MOVING, PLATEAU
from toyml.sweep.table import sorted_levels

if TYPE_CHECKING:
    import polars as pl

BINS = 48
"""The plane of end points is looked at in this many bins a side."""

ONE_PLACE = 0.02
"""Ends in a box of this share of the starting points' extent are one place."""

MOST_ENDS, MOST_LEVELS = 4, 3
"""So many places where training converged, and so many plateaus, are told apart."""


class Places(NamedTuple):
    """Where every training ends.

    Attributes:
        number: Number of its place [r].
        names: Names of the places.
        kinds: Their outcomes.
    """

    number: NDArray[np.int64]
    names: list[str]
    kinds: list[str]


def places(table: pl.DataFrame, ends: Sequence[str]) -> Places:
    """Number the places where trainings end.

    Those that converged are told apart by their end points (:func:`components`), the largest
    place first; those on a plateau by its level, the lowest first; then come those still moving
    and those that diverged.

    Args:
        table: The table.
        ends: The two columns of the end points.
    """
    outcome = table["outcome"].to_numpy()
    number = np.full(len(table), -1, dtype=np.int64)
    names: list[str] = []
    kinds: list[str] = []
    converged = outcome == CONVERGED
    starts = table.select(start_column(name) for name in ends).to_numpy()
    # Trainings that stop a rounding error apart, or just short of one minimum, are no two minima.
    least = ONE_PLACE * np.ptp(starts, axis=0) if len(starts) else np.zeros(2)
    group = components(table.select(ends).to_numpy()[converged], least=least)
    count = int(group.max(initial=-1)) + 1
    number[converged] = np.minimum(group, MOST_ENDS - 1)
    for i in range(min(count, MOST_ENDS)):
        rest = i == MOST_ENDS - 1 and count > MOST_ENDS
        one = CONVERGED if count == 1 else f"minimum {'ABCD'[i]}"
        names.append("converges elsewhere" if rest else one)
        kinds.append(CONVERGED)
    levels = sorted_levels(table)
    level = table["level"].to_list()
    for i, name in enumerate(levels[:MOST_LEVELS]):
        rest = i == MOST_LEVELS - 1 and len(levels) > MOST_LEVELS
        held = set(levels[i:]) if rest else {name}
        number[[one in held for one in level]] = len(names)
        names.append("other plateaus" if rest else f"plateau at {name}")
        kinds.append(PLATEAU)
    for kind, words in ((MOVING, "still moving"), (DIVERGED, "diverges")):
        number[outcome == kind] = len(names)
        names.append(words)
        kinds.append(kind)
    return Places(number, names, kinds)


def speeds(table: pl.DataFrame) -> NDArray[np.float64]:
    """1 for the fastest training of the sweep, 0 for the slowest, by log(1 + step)."""
    steps = np.log1p(table["step"].to_numpy().astype(float))
    least, most = float(steps.min()), float(steps.max())
    found: NDArray[np.float64] = (most - steps) / max(most - least, 1e-9)
    return found


def components(points: ArrayLike, bins: int = BINS, least: ArrayLike = 0.0) -> NDArray[np.int64]:
    """Group points of a plane: those in the same or in neighboring bins belong together.

    The bins divide the box of the middle 99 % of the points, so that a few strays do not make one
    bin of all others; strays are sorted into the bins at the edge.

    Args:
        points: [r, 2], finite.
        bins: Bins a side.
        least: The box has at least this extent, for both axes or for each.

    Returns:
        Group of each point, 0 the largest [r].

    Example:
        >>> components([[0, 0], [0.01, 0], [5, 5]]).tolist()
        [0, 0, 1]
    """
    at = np.asarray(points, dtype=float)
    if not len(at):
        return np.zeros(0, dtype=np.int64)
    low, high = np.quantile(at, [0.005, 0.995], axis=0)
    # Ends that agree to rounding are one point, not a box of their own.
    wide = high - low > 1e-6 * np.maximum(np.abs(high), np.abs(low))
    size = np.maximum(np.where(wide, high - low, 1.0), least)
    cells = np.clip((np.where(wide, at - low, 0.0) / size * bins).astype(int), 0, bins - 1)
    taken = np.zeros((bins + 2, bins + 2), dtype=bool)
    taken[cells[:, 0] + 1, cells[:, 1] + 1] = True
    names = np.full(taken.shape, -1, dtype=np.int64)
    count = 0
    for start in np.argwhere(taken).tolist():
        if names[tuple(start)] < 0:
            _flood(names, taken, (start[0], start[1]), count)
            count += 1
    group = names[cells[:, 0] + 1, cells[:, 1] + 1]
    order = np.argsort(-np.bincount(group, minlength=count), kind="stable")
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    found: NDArray[np.int64] = place[group]
    return found


def _flood(
    names: NDArray[np.int64], taken: NDArray[np.bool_], start: tuple[int, int], name: int
) -> None:
    names[start] = name
    waiting = [start]
    while waiting:
        i, j = waiting.pop()
        for near in ((a, b) for a in (i - 1, i, i + 1) for b in (j - 1, j, j + 1)):
            if taken[near] and names[near] < 0:
                names[near] = name
                waiting.append(near)
