"""Figures of a sweep over a few settings: every outcome as a dot, and the two halves of a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from toyml import plots
from toyml.callbacks.figure import Drawing
from toyml.callbacks.sweep_figures import SweepFigure, curve_key, first_key, several
from toyml.claims import NotApplicable
from toyml.plots.style import dress
from toyml.sweep.axis import find_key, label_of, value_labels
from toyml.sweep.folder import Sweep
from toyml.sweep.table import rows_with, select

if TYPE_CHECKING:
    import polars as pl


class SweepOutcomes(SweepFigure):
    """Every training's loss as a dot for each value of a setting, with medians.

    The known levels of ``sweep.outcomes.levels`` are drawn as lines.

    Args:
        key: The setting along the axis; by default the one with most values.
        panels: A setting with a panel for each of its values; by default another one of up to six.
        column: Column of the table.
        quantity: Label of the vertical axis.
        log_value: Logarithmic values.
        name: Stem of the files.
    """

    def __init__(
        self,
        key: str | None = None,
        panels: str | None = None,
        column: str = "loss",
        quantity: str = "final loss",
        log_value: bool = True,
        name: str = "sweep_outcomes",
    ) -> None:
        super().__init__(name)
        self.key, self.panels, self.column = key, panels, column
        self.quantity, self.log_value = quantity, log_value

    def draw_sweep(self, sweep: Sweep) -> Drawing:
        """Read the table."""
        varied = several(sweep)
        key = find_key(varied, self.key) if self.key else first_key(varied)
        if len(varied[key]) > 12:
            raise NotApplicable(f"{label_of(key)} has {len(varied[key])} values; dots need few")
        if self.column not in sweep.table.columns:
            raise NotApplicable(f"the table has no column {self.column!r}")
        by = find_key(varied, self.panels) if self.panels else curve_key(varied, key)
        groups = [("", sweep.table)]
        if by is not None:
            groups = [
                (f"{label_of(by, varied[by])} {name}", rows_with(sweep.table, by, value))
                for name, value in zip(value_labels(varied[by]), varied[by], strict=True)
            ]
        canvas = plots.new_figure(5.4 * len(groups) + 1.4, 6.0)
        axes = np.atleast_1d(canvas.subplots(1, len(groups), sharey=True))
        levels = sweep.settings.outcomes.levels
        said = []
        label = label_of(key, varied[key])
        for ax, (name, rows) in zip(axes, groups, strict=True):
            values = self._values(rows, key, varied[key])
            last = ax is axes[-1]
            plots.plot_outcomes(
                ax,
                values,
                quantity=self.quantity if ax is axes[0] else "",
                setting=label,
                # Names stand at the right end once, where they hide nothing.
                floors={k if last else " " * i: v for i, (k, v) in enumerate(levels.items())},
                log_value=self.log_value,
            )
            if name:
                plots.set_title(ax, name)
            said += [
                ", ".join(
                    filter(None, [name, f"{label} {k.replace(chr(10), ', ')}: {np.median(v):.3g}"])
                )
                for k, v in values.items()
                if len(v)
            ]
        plots.add_legend(axes[0])
        each = len(sweep.table) // (len(varied[key]) * len(groups))
        medians = f"Medians: {', '.join(said)}."
        known = f" Dashed: {', '.join(levels)}." if levels else ""
        return Drawing(
            canvas,
            f"{self.quantity.capitalize()} of every training",
            f"Each dot is one of {each:,} trainings. {medians}{known}",
            f"{self.quantity.capitalize()} of {each:,} trainings for each setting. {medians}",
        )

    def _values(
        self, rows: pl.DataFrame, key: str, values: Sequence[Any]
    ) -> Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]:
        found = {}
        for name, value in zip(value_labels(values), values, strict=True):
            series = rows_with(rows, key, value)[self.column].to_numpy().astype(float)
            finite = series[np.isfinite(series)]
            lost = len(series) - len(finite)
            found[f"{name}\n{lost:,} of {len(series):,} not finite" if lost else name] = finite
        if not any(map(len, found.values())):
            raise NotApplicable(f"no training has a finite {self.quantity}")
        return found


class SweepSides(SweepFigure):
    """Relative error of the right half against that of the left half, one dot per training.

    Args:
        panels: What each panel shows: values by varied key, under the panel's title. By default
            one panel of all trainings.
        name: Stem of the files.
    """

    def __init__(
        self, panels: dict[str, dict[str, Any]] | None = None, name: str = "sweep_sides"
    ) -> None:
        super().__init__(name)
        self.panels = panels or {"all trainings": {}}

    def draw_sweep(self, sweep: Sweep) -> Drawing:
        """Read the table."""
        sides = {}
        for title, where in self.panels.items():
            try:
                rows = select(sweep.table, where)
            except KeyError as error:
                raise NotApplicable(str(error.args[0])) from None
            left, right = (rows[side].to_numpy() for side in ("left", "right"))
            seen = np.isfinite(left) & np.isfinite(right)
            if not seen.any():
                raise NotApplicable("the trainings fit no curve with a left and a right half")
            sides[title] = (left[seen], right[seen])
        everything = np.concatenate([side for pair in sides.values() for side in pair])
        low, high = everything[everything > 0].min() / 1.6, everything.max() * 1.6
        canvas = plots.new_figure(4.2 * len(sides) + 0.4, 4.8)
        axes = np.atleast_1d(canvas.subplots(1, len(sides), sharex=True, sharey=True))
        said = []
        for ax, (name, (left, right)) in zip(axes, sides.items(), strict=True):
            better = int((left < right).sum())
            said.append(f"{name}: {better} of {len(left)}")
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlim(low, high)
            ax.set_ylim(low, high)
            ax.set_aspect("equal")
            ax.plot([low, high], [low, high], color=plots.STYLE.muted, linewidth=1, linestyle="--")
            ax.scatter(left, right, s=18, color=plots.STYLE.color(0), alpha=0.6, linewidths=0)
            label = "right half: squared error / squared targets" if ax is axes[0] else ""
            dress(ax, "left half", label)
            plots.set_title(ax, f"{name}: left better in {better} of {len(left)}")
        return Drawing(
            canvas,
            "Which half is fitted better",
            f"Above the diagonal the left half is fitted better. {'; '.join(said)}.",
            f"Scatter of the two halves' relative errors. {'; '.join(said)}.",
        )
