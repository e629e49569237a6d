"""The table of a sweep: what became of every training, and counts of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml.errors import UserError
from toyml.sweep.keys import word
from toyml.sweep.outcome import CONVERGED, OUTCOMES, PLATEAU, Definition, Outcomes, judge
from toyml.sweep.record import NEVER
from toyml.theory.proportion import wilson_interval

if TYPE_CHECKING:
    import polars as pl  # a third of a second, which a fit need not spend

LISTS = ("trace_steps", "trace", "end")
"""Columns of a part that the table leaves out."""


class Rate(NamedTuple):
    """A share of trainings and what it says about the chance.

    Attributes:
        value: Value of the key.
        successes: Trainings that converged.
        trials: Trainings.
        low: Lower end of the 95 % Wilson interval of the chance; ``None`` where there is no chance
            to estimate.
        high: Upper end.
    """

    value: Any
    successes: int
    trials: int
    low: float | None
    high: float | None

    @property
    def share(self) -> float:
        """Successes / trials."""
        return self.successes / self.trials


def outcome_table(parts: pl.DataFrame, definition: Definition) -> tuple[pl.DataFrame, Outcomes]:
    """One row per replica, with what became of it.

    Args:
        parts: All parts, as :func:`~toyml.sweep.cell.train_part` gives them.
        definition: When a training counts as what.

    Returns:
        The parts without their lists, with ``outcome``, ``step`` (that belongs to it) and ``level``
        (the loss of its plateau; null otherwise); and the outcomes.
    """
    steps, trace = traces(parts)
    lost = parts["diverged_at"].to_numpy()
    bound = filled(parts, "threshold", definition.threshold(math.nan))
    below = filled(parts, "threshold_at", NEVER)
    found = judge(definition, parts["loss"].to_numpy(), steps, trace, lost, bound, below)
    names = np.array([name for name, _ in found.levels] + [""])
    levels = [str(names[i]) if i >= 0 else None for i in found.level]
    import polars as pl

    columns = [
        pl.Series("outcome", found.outcome.tolist(), dtype=pl.String),
        pl.Series("step", found.step),
        pl.Series("level", levels, dtype=pl.String),
    ]
    return parts.drop([c for c in LISTS if c in parts.columns]).with_columns(columns), found


def filled(parts: pl.DataFrame, name: str, value: float) -> NDArray[Any]:
    """A column, with a value where parts that an older version trained have none."""
    if name not in parts.columns:
        return np.full(len(parts), value)
    return parts[name].fill_null(value).to_numpy()


def traces(parts: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The kept steps and their losses, [r, t] each; shorter ones repeat their last step."""
    lengths = parts["trace_steps"].list.len().to_numpy().astype(np.int64)
    t = int(lengths.max())
    columns = np.minimum(np.arange(t)[None], lengths[:, None] - 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])[:, None] + columns
    steps = parts["trace_steps"].list.explode().to_numpy()[offsets]
    return steps.astype(np.int64), parts["trace"].list.explode().to_numpy()[offsets]


def select(table: pl.DataFrame, where: Mapping[str, Any]) -> pl.DataFrame:
    """The rows whose columns have the given values.

    Args:
        table: The table.
        where: Value by column; lists as they stand in the config.

    Raises:
        KeyError: A column that is not there, or a value that no row has.
    """
    for key, value in where.items():
        if key not in table.columns:
            raise KeyError(f"no column {key!r} (there are {', '.join(table.columns)})")
        rows = rows_with(table, key, value)
        if not len(rows):
            there = table[key].unique(maintain_order=True).to_list()[:12]
            raise KeyError(f"no training with {key} = {value} (there are {there})")
        table = rows
    return table


def rows_with(table: pl.DataFrame, key: str, value: Any) -> pl.DataFrame:
    """The rows with one value of a key."""
    wanted = value if table[key].dtype.is_numeric() else word(value)
    return table.filter(table[key] == wanted)


def rates(table: pl.DataFrame, key: str | None) -> list[Rate]:
    """The share of converged trainings for each value of a key, in order; all for ``None``."""
    groups: Sequence[tuple[Any, pl.DataFrame]] = [("all", table)]
    if key is not None:
        values = table[key].unique(maintain_order=True).to_list()
        groups = [(value, rows_with(table, key, value)) for value in values]
    return [rate(value, rows) for value, rows in groups]


def rate(value: Any, rows: pl.DataFrame, outcome: str = CONVERGED) -> Rate:
    """The share of rows with an outcome."""
    successes = int((rows["outcome"] == outcome).sum())
    low, high = wilson_interval(successes, len(rows)) if by_chance(rows) else (None, None)
    return Rate(value, successes, len(rows), low, high)


def by_chance(rows: pl.DataFrame) -> bool:
    """Whether rows are draws of one chance: seeds of one setting that make a difference.

    A grid has nothing random in it, and settings that are pooled have a chance each.
    """
    seeds = len(rows) > 1 and rows["seed"].n_unique() == len(rows)
    return seeds and rows.select("first_loss", "loss").n_unique() > 1


def counts(table: pl.DataFrame) -> dict[str, int]:
    """Number of trainings by outcome, in the order converged, plateau, moving, diverged."""
    return {name: int((table["outcome"] == name).sum()) for name in OUTCOMES}


def summarize(table: pl.DataFrame, found: Outcomes, keys: Sequence[str]) -> dict[str, Any]:
    """For ``summary.json``: counts, levels, and rates by each varied key.

    ``threshold`` is a number, or a list where losses or data differ and no number was given.

    Args:
        table: The table.
        found: Outcomes and levels.
        keys: Varied keys; of those with more than 200 values no rates are listed.
    """
    levels = [
        {"name": name, "loss": loss, "count": int((found.level == i).sum())}
        for i, (name, loss) in enumerate(found.levels)
    ]
    finite = table["loss"].filter(table["loss"].is_finite())
    quantiles = finite.to_numpy() if len(finite) else np.array([np.nan])
    bounds = np.unique(found.threshold[np.isfinite(found.threshold)]).tolist() or [float("nan")]
    return {
        "outcomes": counts(table),
        "threshold": bounds[0] if len(bounds) == 1 else bounds,
        "levels": levels,
        "loss": dict(
            zip(
                ("least", "median", "greatest"),
                np.quantile(quantiles, [0, 0.5, 1]).tolist(),
                strict=True,
            )
        ),
        "rate": rates(table, None)[0]._asdict(),
        "rates": {
            key: [rate._asdict() for rate in rates(table, key)]
            for key in keys
            if table[key].n_unique() <= 200
        },
    }


def sorted_levels(table: pl.DataFrame) -> list[str]:
    """Names of the plateaus' levels, lowest loss first."""
    rows = rows_with(table, "outcome", PLATEAU)
    names = [str(name) for name in rows["level"].unique().to_list()]
    return sorted(names, key=lambda name: float(np.median(rows_with(rows, "level", name)["loss"])))


def column(table: pl.DataFrame, where: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """A numeric column of the rows that ``where`` selects.

    Raises:
        KeyError: No such column or rows.
        UserError: The column holds words.
    """
    rows = select(table, where)
    if name not in rows.columns:
        raise KeyError(f"no column {name!r} (there are {', '.join(rows.columns)})")
    if not rows[name].dtype.is_numeric():
        raise UserError(f"column {name!r} holds words; name one of numbers")
    return rows[name].to_numpy().astype(np.float64)
