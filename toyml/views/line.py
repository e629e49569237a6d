"""The loss on the straight line between two snapshots, of one run or of two."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toyml import measures
from toyml.claims import NotApplicable
from toyml.run import Run
from toyml.views.kept import kept
from toyml.views.landscape import name_of
from toyml.views.planes import at_step


class LineView(NamedTuple):
    r"""Losses between two snapshots.

    Attributes:
        at: Where on the line [g]; 0 is the first snapshot and 1 the second.
        losses: On the line [g] by name; the run's own comes first.
        ends: What the two snapshots are, in words.
        distance: Between them.
        barrier: How far the run's loss rises above the straight line between its two ends:
            :math:`\max_t L(t) - (1 - t) L(0) - t L(1)` over t from 0 to 1, 0 or more.
        words: What is to be seen, in a sentence or two.
    """

    at: NDArray[np.float64]
    losses: dict[str, NDArray[np.float64]]
    ends: tuple[str, str]
    distance: float
    barrier: float
    words: str


@kept
def line_view(
    run: Run,
    first: int = 0,
    second: int | None = None,
    other: Run | None = None,
    grid: int = 201,
    reach: float = 0.25,
    losses: tuple[nn.Module, ...] = (),
) -> LineView:
    """The losses of the run's training rows along a line, in float64 (Goodfellow et al. 2015).

    Args:
        run: The run.
        first: Step of the first snapshot.
        second: Step of the second one; ``None`` is the last.
        other: The run that the second snapshot is of; by default the same.
        grid: Points of the line.
        reach: How far it goes on beyond either end, in units of their distance.
        losses: More losses than the run's own.

    Raises:
        NotApplicable: A step that was not recorded, another net, or twice the same parameters.
    """
    if other is not None and other.trajectory.shapes != run.trajectory.shapes:
        raise NotApplicable(f"{other.folder} has parameters of other names or shapes")
    ends = at_step(run, first), at_step(other or run, second)
    apart = {name: (ends[1][name] - p)[None] for name, p in ends[0].items()}
    distance = float(measures.norms(apart)[0])
    names = end_names(run, first, second, other)
    if not 0 < distance < np.inf:
        raise NotApplicable(f"there is no line from {names[0]} to {names[1]}: {distance} apart")
    x, y = run.rows()
    at = torch.linspace(-reach, 1 + reach, grid, dtype=torch.float64)
    every = {name_of(loss): loss for loss in (run.loss, *losses)}
    every[name_of(run.loss)] = run.loss
    found = measures.losses_along(run.net, every, *ends, at, x, y)
    between = torch.linspace(0, 1, grid, dtype=torch.float64)
    own = measures.losses_along(run.net, {"": run.loss}, *ends, between, x, y)[""]
    chord = own[0] + between * (own[-1] - own[0])
    barrier = float((own - chord).max())
    rise = float(own.max() - max(own[0], own[-1]))
    return LineView(
        at.numpy(),
        {name: values.numpy() for name, values in found.items()},
        names,
        distance,
        barrier,
        line_words(names, float(own[0]), float(own[-1]), barrier, rise),
    )


def end_names(run: Run, first: int, second: int | None, other: Run | None) -> tuple[str, str]:
    """The two snapshots in words."""
    last = int((other or run).trajectory.steps[-1]) if second is None else second
    whose = "" if other is None or other is run else f" of {other.folder.name}"
    return f"step {first:,}", f"step {last:,}{whose}"


def line_words(
    names: tuple[str, str], start: float, end: float, barrier: float, rise: float
) -> str:
    """Whether something lies between the two ends.

    Example:
        >>> line_words(("step 0", "step 9"), 2.0, 1.0, 0.0, 0.0)
        'From step 0 (loss 2) to step 9 (loss 1) the straight line meets no barrier.'
    """
    way = f"From {names[0]} (loss {start:.4g}) to {names[1]} (loss {end:.4g}) the straight line"
    scale = max(abs(start), abs(end))
    if not np.isfinite(barrier):
        return f"{way} passes where the loss is not finite."
    if barrier <= 1e-9 * scale:
        return f"{way} meets no barrier."
    if rise <= 1e-9 * scale:
        return f"{way} never rises above its ends; it is at most {barrier:.4g} above their chord."
    return f"{way} climbs a barrier: {rise:.4g} above the higher end."
