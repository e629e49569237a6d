"""What sets runs apart: settings, end values, the step at which their parameters part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toyml.measures.flat import scalar_names
from toyml.run import Run

ROWS_AT_ONCE = 4096
# What a config says about looking and keeping, not about the training.
ASIDE = ("trainer.callbacks", "trainer.logger", "config", "trainer.default_root_dir")


class Difference(NamedTuple):
    """One setting that differs.

    Attributes:
        key: Dotted key as on the command line, without ``init_args``.
        values: Its value in each run; ``MISSING`` where it is not set.
    """

    key: str
    values: tuple[Any, ...]


class Parting(NamedTuple):
    """Where the parameters of two runs part.

    Attributes:
        step: The first step that both recorded at which they differ.
        parameter: The first scalar parameter that differs there.
        values: Its two values.
    """

    step: int
    parameter: str
    values: tuple[float, float]


class _Missing:
    """A setting that a config does not have; it equals no value."""

    def __repr__(self) -> str:
        return "not set"


MISSING = _Missing()


def config_differences(runs: Sequence[Run]) -> list[Difference]:
    """The settings in which the configs differ, in the order of the first that has them.

    Callbacks, loggers and folders are left out: they do not change the training.

    Args:
        runs: Runs; one started from Python has no config and counts as having no setting.
    """
    settings = [dict(flat_settings(run.config)) for run in runs]
    keys = list(dict.fromkeys(key for each in settings for key in each))
    rows = [Difference(key, tuple(each.get(key, MISSING) for each in settings)) for key in keys]
    return [
        row
        for row in rows
        if any(value != row.values[0] for value in row.values[1:])
        and not any(row.key == aside or row.key.startswith(aside + ".") for aside in ASIDE)
    ]


def flat_settings(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """All settings of a config by dotted key; lists stay values.

    Example:
        >>> flat_settings({"model": {"class_path": "A", "init_args": {"lr": 0.1}}})
        [('model.class_path', 'A'), ('model.lr', 0.1)]
    """
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        name = prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            found += flat_settings(value, name)
        else:
            found.append((name, value))
    return found


def first_difference(run: Run, other: Run, beyond: float | None = None) -> Parting | None:
    """The first recorded step at which two runs of the same parameters differ.

    Args:
        run: A run.
        other: Another, with parameters of the same names and shapes.
        beyond: Count only absolute differences above this; ``None`` counts any different value
            or, in the same precision, any different bit.

    Returns:
        Step, parameter and its values; ``None`` where no step that both recorded differs.

    Raises:
        ValueError: Parameters of other names or shapes.
    """
    mine, theirs = run.trajectory, other.trajectory
    if mine.shapes != theirs.shapes:
        raise ValueError(
            f"the parameters are {mine.shapes} and {theirs.shapes}; compare runs of the same net"
        )
    steps, here, there = np.intersect1d(
        mine.steps, theirs.steps, assume_unique=True, return_indices=True
    )
    for start in range(0, len(steps), ROWS_AT_ONCE):
        a = mine.parameters.flat[here[start : start + ROWS_AT_ONCE]]
        b = theirs.parameters.flat[there[start : start + ROWS_AT_ONCE]]
        found = _different(a, b, beyond)
        rows = np.flatnonzero(found.any(axis=1))
        if len(rows):
            row = int(rows[0])
            column = int(np.flatnonzero(found[row])[0])
            one = {name: torch.zeros(1, *shape) for name, shape in mine.shapes.items()}
            return Parting(
                int(steps[start + row]),
                scalar_names(one)[column],
                (float(a[row, column]), float(b[row, column])),
            )
    return None


def _different(
    a: NDArray[np.floating], b: NDArray[np.floating], beyond: float | None
) -> NDArray[np.bool_]:
    if a.dtype == b.dtype:
        # Bits, not values: -0.0 differs from 0.0, and a NaN equals itself.
        bits = f"i{a.dtype.itemsize}"
        different = np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits)
    else:
        different = ~np.equal(a, b)
    if beyond is not None:
        with np.errstate(invalid="ignore"):
            different &= ~(np.abs(a.astype(np.float64) - b.astype(np.float64)) <= beyond)
    return np.asarray(different)
