"""The sharpness over the steps, and the limit of the optimizer in use."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml.claims import NotApplicable
from toyml.claims.curvature import Limits, curvatures, kinks, limits
from toyml.measures.curvature import EXACT_PARAMETERS
from toyml.run import Run
from toyml.views.frames import frames, looked_at
from toyml.views.kept import kept

LARGE = 24
"""Snapshots of a net whose spectrum is not exact: each one costs some dozens of passes."""


class CurvatureView(NamedTuple):
    """The curvature along a run.

    Attributes:
        steps: Numbers of updates done [t].
        sharpness: Largest eigenvalue of the Hessian of loss plus weight decay [t].
        spectrum: All its eigenvalues, ascending [t, p]; only the largest, [t, 1], of a net with
            more than 200 parameters.
        limit: The sharpness from which on the optimizer is unstable [t]; ``None`` where theory has
            none for it.
        formula: The limit as a formula, or why there is none.
        headline: Whether the sharpness stays below the limit, in one sentence.
        words: The same with numbers, and what the Hessian does not see.
    """

    steps: NDArray[np.int64]
    sharpness: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    limit: NDArray[np.float64] | None
    formula: str
    headline: str
    words: str


@kept
def curvature_view(run: Run, most: int = 200) -> CurvatureView:
    """The curvature at some snapshots, over all training rows and in float64.

    Args:
        run: The run.
        most: Snapshots looked at, at most; of nets with more than 200 parameters, whose largest
            eigenvalue is iterated for, no more than 24.

    Raises:
        NotApplicable: Nothing was recorded, or the curvature is nowhere finite.
    """
    p = run.trajectory.parameters.flat.shape[1]
    most = most if p <= EXACT_PARAMETERS else min(most, LARGE)
    chosen = frames(run, most, each=10)  # some ten products with the Hessian or more
    if not len(chosen):
        raise NotApplicable("the run has recorded no step")
    steps = run.trajectory.steps[chosen]
    spectrum = curvatures(run, chosen)
    sharpness = spectrum[:, -1]
    if not np.isfinite(sharpness).any():
        raise NotApplicable("the curvature is nowhere a finite number")
    try:
        found: Limits | None = limits(run, steps)
        formula = found.formula if found else ""
    except NotApplicable as why:
        found, formula = None, str(why)
    limit = None if found is None else found.values
    title = headline(steps, sharpness, limit, formula)
    words = f"{title}. {detail(steps, sharpness, limit, formula)}"
    size = getattr(run.datamodule, "batch_size", None)
    if limit is not None and size is not None and size < len(run.data[0]):
        words += f" The batches of {size} rows add noise, and may be unstable below the limit."
    jumps = kinks(run.net, run.loss)
    return CurvatureView(
        steps, sharpness, spectrum, limit, formula, title, f"{words} {jumps}".strip()
    )


def headline(
    steps: NDArray[np.int64],
    sharpness: NDArray[np.float64],
    limit: NDArray[np.float64] | None,
    formula: str,
) -> str:
    """Whether and where the sharpness is above the limit, in one sentence without its full stop.

    Where not every step was looked at, it says at how many that is so.

    Example:
        >>> at = np.array([0, 1, 2])
        >>> headline(at, np.array([1.0, 3.0, 1.5]), np.full(3, 2.0), "2 / lr")
        'The sharpness is above the limit 2 / lr = 2 at step 1 and ends below it'
    """
    known = np.isfinite(sharpness)
    where = looked_at(int(known.sum()), steps)
    subject = f"{where}the sharpness" if where else "The sharpness"
    if limit is None:
        first, last = sharpness[known][[0, -1]]
        return f"{subject} goes from {first:.4g} to {last:.4g}"
    named = f"the limit {formula}"
    if np.ptp(limit) == 0:
        named += f" = {limit[0]:.4g}"
    above = sharpness >= limit  # a NaN is not above
    if not above.any():
        return f"{subject} {'is' if where else 'stays'} below {named}"
    if above[known].all():
        return f"{subject} is above {named}{'' if where else ' at every step'}"
    ends = "above" if above[known][-1] else "below"
    return f"{subject} is above {named} {stretches(steps, above)} and ends {ends} it"


def detail(
    steps: NDArray[np.int64],
    sharpness: NDArray[np.float64],
    limit: NDArray[np.float64] | None,
    formula: str,
) -> str:
    """Where the sharpness is greatest or nearest to the limit, and where it ends, in a sentence."""
    known = np.flatnonzero(np.isfinite(sharpness))
    last = f"{sharpness[known[-1]]:.4g}"
    if limit is None:
        top = known[np.argmax(sharpness[known])]
        return (
            f"Its greatest value is {sharpness[top]:.4g} at step {steps[top]:,}. There is "
            f"nothing to compare it with: {formula}."
        )
    nearest = known[np.argmax(sharpness[known] / limit[known])]
    if (sharpness >= limit).any():
        times = f"{sharpness[nearest] / limit[nearest]:.3g} times the limit"
        return f"At most, at step {steps[nearest]:,}, it is {times}; it ends at {last}."
    return (
        f"It comes closest at step {steps[nearest]:,}, with {sharpness[nearest]:.4g}, "
        f"and ends at {last}."
    )


def stretches(steps: NDArray[np.int64], inside: NDArray[np.bool_]) -> str:
    """The steps at which something is so, as stretches; of more than two the first and the last.

    Example:
        >>> stretches(np.array([0, 1, 2, 5, 9]), np.array([True, True, False, False, True]))
        'from step 0 to 1 and at step 9'
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    pairs = [(int(steps[a]), int(steps[b - 1])) for a, b in edges.reshape(-1, 2)]
    words = [f"at step {a:,}" if a == b else f"from step {a:,} to {b:,}" for a, b in pairs]
    if len(words) > 2:
        return f"in {len(words)} stretches, first {words[0]}, last {words[-1]},"
    return " and ".join(words)
