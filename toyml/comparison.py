"""What sets runs apart: settings, end values, the step at which their parameters part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml.errors import UserError
from toyml.run import Run, lookup

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


class End(NamedTuple):
    """What a run came to.

    Attributes:
        step: The last recorded step.
        loss: The loss there, of the run's own kind on its own data; ``None`` if not to be had.
        parameters: Scalar parameters by name; empty where there are more than ``FEW``.
        metrics: Last logged values by name, without the loss.
    """

    step: int
    loss: float | None
    parameters: dict[str, float]
    metrics: dict[str, float]


FEW = 12


def end(run: Run) -> End:
    """What a run came to."""
    values = run.trajectory.parameters.flat
    last = len(run.trajectory) - 1
    few = values.shape[1] <= FEW and last >= 0
    logged = {name: column["value"][-1] for name, column in run.metrics.items() if column["value"]}
    at = losses(run, np.array([last])) if last >= 0 else None
    loss = logged.pop("loss", None) if at is None else float(at[0])
    logged.pop("loss", None)
    return End(
        int(run.trajectory.steps[last]) if last >= 0 else 0,
        loss,
        dict(zip(parameter_names(run), map(float, values[last]), strict=True)) if few else {},
        logged,
    )


def losses(run: Run, indices: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """The run's own loss on its own rows at snapshots [t]; ``None`` if not to be had."""
    try:
        return run.losses(indices)
    except (UserError, ValueError, RuntimeError):  # also what a net or loss says of its input
        return None


def parameter_names(run: Run) -> list[str]:
    """Names of all scalar parameters."""
    count = run.trajectory.parameters.flat.shape[1]
    return [run.trajectory.scalar_name(place) for place in range(count)]


def config_differences(runs: Sequence[Run]) -> list[Difference]:
    """The settings in which the configs differ, in the order of the first that has them.

    Callbacks, loggers and folders are left out: they do not change the training.

    Args:
        runs: Runs; one started from Python has no config and counts as having no setting.
    """
    settings = [dict(flat_settings(run.config)) for run in runs]
    keys = list(dict.fromkeys(key for each in settings for key in each))
    # Null in one run and an object in another: one row for the object, none for its inside.
    objects = {key for key in keys if any(other.startswith(key + ".") for other in keys)}
    rows = []
    for key in keys:
        if any(key.startswith(parent + ".") for parent in (*objects, *ASIDE)) or key in ASIDE:
            continue
        values = tuple(
            lookup(run.config, key, MISSING) if key in objects else each.get(key, MISSING)
            for run, each in zip(runs, settings, strict=True)
        )
        if _differ(values):
            rows.append(Difference(key, values))
    # Another class has other settings: a difference is only what is set in several runs otherwise.
    swapped = [row.key.removesuffix("class_path") for row in rows if ".class_path" in row.key]
    return [
        row
        for row in rows
        if MISSING not in row.values
        or not any(row.key.startswith(parent) for parent in swapped)
        or _differ(value for value in row.values if value is not MISSING)
    ]


def _differ(values: Iterable[Any]) -> bool:
    first, *others = values
    return any(value != first for value in others)


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
    rows_at_once = mine.affordable(ROWS_AT_ONCE)
    for start in range(0, len(steps), rows_at_once):
        a = mine.parameters.flat[here[start : start + rows_at_once]]
        b = theirs.parameters.flat[there[start : start + rows_at_once]]
        found = _different(a, b, beyond)
        rows = np.flatnonzero(found.any(axis=1))
        if len(rows):
            row = int(rows[0])
            column = int(np.flatnonzero(found[row])[0])
            return Parting(
                int(steps[start + row]),
                mine.scalar_name(column),
                (float(a[row, column]), float(b[row, column])),
            )
    return None


def distances(run: Run, other: Run, most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Euclidean distance between the parameters of two runs at steps that both recorded.

    Args:
        run: A run.
        other: Another, with parameters of the same names and shapes.
        most: Steps at most, evenly spread.

    Returns:
        Steps [t] and distances [t].
    """
    mine, theirs = run.trajectory, other.trajectory
    steps, here, there = np.intersect1d(
        mine.steps, theirs.steps, assume_unique=True, return_indices=True
    )
    chosen = np.unique(np.linspace(0, len(steps) - 1, most).round().astype(np.int64))
    chosen = chosen[chosen >= 0]
    apart = np.zeros(len(chosen))
    at_once = mine.affordable(len(chosen))
    for start in range(0, len(chosen), at_once):
        some = slice(start, start + at_once)
        a = np.asarray(mine.parameters.flat[here[chosen[some]]], dtype=np.float64)
        b = np.asarray(theirs.parameters.flat[there[chosen[some]]], dtype=np.float64)
        with np.errstate(all="ignore"):  # parameters that are not finite, or nearly so
            apart[some] = np.linalg.norm(a - b, axis=1)
    return steps[chosen], apart


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
