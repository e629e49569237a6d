"""What is kept of the losses of a training: a few of them, and exact steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Steps = NDArray[np.int64]

NEVER = -1
"""The step of what did not happen."""

SEEN_BYTES = 2**28
"""Losses that may be held while a part is trained: all steps of 6,000 trainings of 5,000 steps."""


def trace_steps(steps: int, noted: Sequence[int] = (), count: int = 80) -> Steps:
    """The steps whose losses are kept: about ``count``, evenly spaced on a logarithmic scale.

    Step 0, the last step, every tenth of the way and those that were asked for are among them.

    Args:
        steps: Optimizer steps of the training.
        noted: Steps asked for.
        count: About how many.

    Returns:
        Increasing steps [t].

    Example:
        >>> trace_steps(4)
        array([0, 1, 2, 3, 4])
    """
    spread = np.geomspace(1, max(steps, 1), count).round().astype(int)
    tenths = np.linspace(0, steps, 11).round().astype(int)
    return np.unique(np.concatenate([[0], spread, tenths, np.asarray(noted, dtype=int)]))


def seen_steps(steps: int, replicas: int, kept: Steps, size: int = SEEN_BYTES) -> Steps:
    """The steps whose losses are looked at: all of them, as far as the memory goes.

    Args:
        steps: Optimizer steps of the training.
        replicas: Trainings in the program.
        kept: Steps that have to be among them.
        size: Bytes there are for their losses.

    Returns:
        Increasing steps [s]: every step, or every second, third, ... one.

    Example:
        >>> seen_steps(10, 1, np.array([0, 7, 10]), size=48)
        array([ 0,  2,  4,  6,  7,  8, 10])
    """
    stride = -(-(steps + 1) * replicas * 8 // size)
    return np.unique(np.concatenate([np.arange(0, steps + 1, stride), [steps], kept]))


def first_step(steps: Steps, happened: NDArray[np.bool_]) -> Steps:
    """For each column the step of the first row in which it happened, or -1.

    Args:
        steps: [s].
        happened: [s, r].

    Example:
        >>> first_step(np.array([0, 5, 9]), np.array([[0, 0], [0, 1], [0, 1]], dtype=bool))
        array([-1,  5])
    """
    return np.where(happened.any(axis=0), steps[happened.argmax(axis=0)], NEVER)


def diverged_at(steps: Steps, losses: Array, explosion: float) -> Steps:
    """First step whose loss is not finite or more than ``explosion`` times the first, or -1.

    A start at loss 0 has nothing to be measured against.

    Args:
        steps: [s], beginning with 0.
        losses: [s, r].
        explosion: Above 1.
    """
    bound = np.where(losses[0] > 0, explosion * losses[0], np.inf)
    with np.errstate(invalid="ignore"):
        return first_step(steps, ~np.isfinite(losses) | (losses > bound))
