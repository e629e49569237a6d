"""Figures of a sweep: rates, a map of two settings, losses over steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from toyml import plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.claims import NotApplicable
from toyml.palette import BLUE, INK, ORANGE
from toyml.plots.style import dress
from toyml.run import Run
from toyml.sweep.axis import find_key, label_of, numeric, value_labels
from toyml.sweep.curvature import limit_line
from toyml.sweep.folder import Sweep
from toyml.sweep.outcome import CONVERGED, DIVERGED, MOVING, OUTCOMES, PLATEAU
from toyml.sweep.table import counts, rates, rows_with, traces

if TYPE_CHECKING:
    import polars as pl

OUTCOME_COLORS = {CONVERGED: BLUE, PLATEAU: ORANGE, MOVING: "#C4C9D0", DIVERGED: INK}

OUTCOME_VERBS = {
    CONVERGED: "converged",
    PLATEAU: "stopped on a plateau",
    MOVING: "were still moving",
    DIVERGED: "diverged",
}


class SweepFigure(Figure):
    """A figure of a sweep; a single run has none."""

    def draw(self, run: Run) -> Drawing:
        """Draw the sweep.

        Raises:
            NotApplicable: The run is no sweep, or there is nothing to draw.
        """
        if not isinstance(run, Sweep):
            raise NotApplicable("it shows a sweep, and this is one run")
        return self.draw_sweep(run)

    @abstractmethod
    def draw_sweep(self, sweep: Sweep) -> Drawing:
        """Draw the sweep."""


class SweepRates(SweepFigure):
    """The share of trainings that converged over one setting, and what became of the others.

    Args:
        key: The setting along the axis; by default the first varied number, else the first of all.
        by: A setting with a curve for each of its values; by default another one of up to six.
        name: Stem of the files.
    """

    def __init__(
        self, key: str | None = None, by: str | None = None, name: str = "sweep_rates"
    ) -> None:
        super().__init__(name)
        self.key, self.by = key, by

    def draw_sweep(self, sweep: Sweep) -> Drawing:
        """Read the table."""
        varied = several(sweep)
        key = find_key(varied, self.key) if self.key else first_key(varied)
        values = varied[key]
        by = find_key(varied, self.by) if self.by else curve_key(varied, key)
        along = numeric(values) and len(values) > 2
        canvas = plots.new_figure(7.4, 6.6 if along else 4.6)
        axes = canvas.subplots(2 if along else 1, squeeze=False, height_ratios=[3, 2][: 1 + along])
        upper, lower = axes[0, 0], axes[-1, 0]
        curves = [("converged", sweep.table)]
        if by is not None:
            curves = [
                (f"{label_of(by, varied[by])} {n}", rows_with(sweep.table, by, v))
                for n, v in zip(value_labels(varied[by]), varied[by], strict=True)
            ]
        known = True
        for i, (name, rows) in enumerate(curves):
            found = rates(rows, key)
            bounds = [(r.low, r.high) for r in found if r.low is not None and r.high is not None]
            known &= len(bounds) == len(found)
            ends = np.array(bounds).T if len(bounds) == len(found) else (None, None)
            numbers = ([r.share for r in found], *ends)
            if along:
                plots.plot_rate(upper, [r.value for r in found], *numbers, name=name, index=i)
            else:
                labels = value_labels(values)
                plots.plot_rate_bars(upper, labels, *numbers, name=name, index=i, count=len(curves))
        label = label_of(key, values)
        dress(upper, "" if along else label, "share that converged")
        if len(curves) > 1:
            plots.add_legend(upper)
        if along:
            self._lower(lower, upper, sweep.table, key, values)
        found = rates(sweep.table, key)
        best = max(found, key=lambda r: r.share)
        trials = len(curves[0][1]) // len(values)
        shown = value_labels(values)[found.index(best)]
        counted = f"{best.successes:,} of {best.trials:,}"
        also = sum(rate.share == best.share for rate in found) - 1
        if not best.successes:
            title = f"None of {len(sweep.table):,} trainings converges"
        elif also == len(values) - 1:
            title = f"As many converge at each {label}: {counted}"
        else:
            tied = f" and {also} other value{'s' * (also > 1)}" if also else ""
            title = f"Most converge at {label} {shown}{tied}: {counted}"
        plots.set_title(upper, title)
        total = counts(sweep.table)
        became = ", ".join(f"{n:,} {name}" for name, n in total.items() if n)
        return Drawing(
            canvas,
            f"How often training converges, by {label}",
            f"Share of {trials:,} training{'s' * (trials > 1)} for each value of {label}"
            f"{f' and of {label_of(by, varied[by])}' if by is not None else ''}"
            f"{', with 95 % Wilson intervals' * known}. "
            f"Of all {len(sweep.table):,}: {became}.",
            f"Share of trainings that converge over {label}. {title}. Of all: {became}.",
        )

    def _lower(
        self, ax: Axes, upper: Axes, table: pl.DataFrame, key: str, values: Sequence[Any]
    ) -> None:
        shares = {
            name: [share_of(rows_with(table, key, v), name) for v in values] for name in OUTCOMES
        }
        plots.plot_shares(ax, values, shares, OUTCOME_COLORS)
        scale = "log" if plots.spaced_by_ratio(values) else "linear"
        for axes in (upper, ax):
            axes.set_xscale(scale)
            axes.set_xlim(min(values), max(values))
        label = f"{label_of(key)} (logarithmic)" if scale == "log" else label_of(key)
        dress(ax, label, "what became of all")
        plots.add_legend(ax, below=True, columns=4)


class SweepMap(SweepFigure):
    """The share that converged for every pair of two settings, and where theory has the limit.

    For SGD's learning rate against its momentum (or weight decay, or dampening) the learning rate
    from which on steps diverge at the minimum is drawn, 2 (1 + momentum) / sharpness for the heavy
    ball; the sharpness is that of the best training's end.

    Args:
        x: Setting along the horizontal axis; by default the first varied number.
        y: Setting along the vertical axis; by default the second.
        quantity: ``converged``, ``diverged``, ``plateau`` or ``moving``: whose share is drawn.
        name: Stem of the files.

    Raises:
        ValueError: Another quantity.
    """

    def __init__(
        self,
        x: str | None = None,
        y: str | None = None,
        quantity: str = CONVERGED,
        name: str = "sweep_map",
    ) -> None:
        super().__init__(name)
        if quantity not in OUTCOMES:
            raise ValueError(f"quantity is {quantity!r}; give one of {', '.join(OUTCOMES)}")
        self.x, self.y, self.quantity = x, y, quantity

    def draw_sweep(self, sweep: Sweep) -> Drawing:
        """Read the table."""
        numbers = {k: v for k, v in several(sweep).items() if numeric(v)}
        if len(numbers) < 2:
            raise NotApplicable("a map needs two varied numbers")
        x = find_key(numbers, self.x) if self.x else next(iter(numbers))
        y = find_key(numbers, self.y) if self.y else next(k for k in numbers if k != x)
        xs, ys = sorted(numbers[x]), sorted(numbers[y])
        hit = (sweep.table["outcome"] == self.quantity).to_numpy().astype(float)
        field = plane(sweep.table, x, y, xs, ys, hit)
        canvas = plots.new_figure(7.8, 5.6)
        ax = canvas.add_subplot()
        mesh = plots.plot_map(ax, xs, ys, field)
        box = ax.get_xlim(), ax.get_ylim()
        for values, mark in ((xs, ax.set_xticks), (ys, ax.set_yticks)):
            if len(values) <= 6:
                mark(values, value_labels(values), minor=False)
        limit = limit_line(sweep, x, y, xs, ys)
        if limit is not None:
            plots.plot_limit(ax, limit.x, limit.y, limit.words)
            plots.add_legend(ax)
        ax.set_xlim(box[0])
        ax.set_ylim(box[1])
        did = OUTCOME_VERBS[self.quantity]
        plots.add_colorbar(ax, mesh, f"share that {did}", ticks=[0, 0.25, 0.5, 0.75, 1])
        dress(ax, label_of(x), label_of(y), grid=False)
        share = share_of(sweep.table, self.quantity)
        title = f"{share:.0%} of {len(sweep.table):,} trainings {did}"
        caption = f"Share that {did} for every pair of {label_of(x)} and {label_of(y)}."
        if limit is not None:
            table = sweep.table
            fails = (table["outcome"] == DIVERGED).to_numpy()
            predicted = limit.diverges(table[x].to_numpy(), table[y].to_numpy())
            agree = float((predicted == fails).mean())
            title = f"The limit of theory is right for {agree:.1%} of {len(table):,} trainings"
            caption += (
                f" The line is the learning rate from which on SGD diverges at the minimum, whose "
                f"sharpness is {limit.sharpness:.5g}."
            )
            stopped = int((~fails & (table["outcome"] != CONVERGED).to_numpy()).sum())
            if stopped:
                caption += f" {stopped:,} neither diverged nor converged."
        plots.set_title(ax, title)
        return Drawing(canvas, title, caption, f"{title}. {caption}")


class SweepFan(SweepFigure):
    """Quantiles of the losses over steps.

    Args:
        by: A setting with a panel for each of its values; by default one of up to six, if any.
        name: Stem of the files.
    """

    def __init__(self, by: str | None = None, name: str = "sweep_steps") -> None:
        super().__init__(name)
        self.by = by

    def draw_sweep(self, sweep: Sweep) -> Drawing:
        """Read the parts."""
        varied = {k: v for k, v in sweep.varied.items() if len(v) > 1}
        by = find_key(varied, self.by) if self.by else curve_key(varied, "")
        panels = [("", sweep.details)]
        if by is not None:
            panels = [
                (f"{label_of(by, varied[by])} {n}", rows_with(sweep.details, by, v))
                for n, v in zip(value_labels(varied[by]), varied[by], strict=True)
            ]
        # No empty place: one line of up to three or of five, else two lines.
        lines = 2 if len(panels) in (4, 6) else 1
        columns = -(-len(panels) // lines)
        canvas = plots.new_figure((2.6 if columns == 5 else 3.8) * columns + 1.6, 3.3 * lines + 0.9)
        axes = canvas.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        medians = []
        for ax, (name, rows) in zip(axes, panels, strict=False):
            steps, trace = traces(rows)
            if (steps != steps[0]).any():
                raise NotApplicable("the trainings differ in their number of steps")
            plots.plot_fan(ax, steps[0], trace.T)
            if len(panels) > 1:
                plots.set_title(ax, name)
            middle = float(np.median(np.nan_to_num(trace[:, -1], nan=np.inf)))
            medians.append(f"{name}: {middle:.3g}" if name else f"{middle:.3g}")
        for ax in axes:
            ax.label_outer()
        plots.add_legend(axes[0])
        each = len(panels[0][1])
        return Drawing(
            canvas,
            f"Losses of {len(sweep.table):,} trainings",
            f"Bands hold all, the middle 80 % and the middle half of {each:,} trainings at every "
            f"step; what diverges lies at the upper edge. Median at the end: {', '.join(medians)}.",
            f"Quantiles of the loss over steps. Median at the end: {', '.join(medians)}.",
        )


def several(sweep: Sweep) -> dict[str, list[Any]]:
    """The keys that have more than one value.

    Raises:
        NotApplicable: None has.
    """
    found = {key: values for key, values in sweep.varied.items() if len(values) > 1}
    if not found:
        raise NotApplicable("only the seed is varied")
    return found


def first_key(varied: Mapping[str, Sequence[Any]]) -> str:
    """The key that is drawn along an axis if none is asked for: the one with most values."""
    return max(varied, key=lambda key: len(varied[key]))


def curve_key(varied: Mapping[str, Sequence[Any]], taken: str) -> str | None:
    """A key with few enough values for a curve or a panel each, besides the one on the axis."""
    return next((k for k, v in varied.items() if k != taken and 1 < len(v) <= 6), None)


def share_of(table: pl.DataFrame, outcome: str) -> float:
    """The share of the rows with an outcome."""
    return float((table["outcome"] == outcome).to_numpy().mean())


def plane(
    table: pl.DataFrame,
    x: str,
    y: str,
    xs: Sequence[float],
    ys: Sequence[float],
    values: NDArray[Any],
) -> NDArray[np.float64]:
    """Means of values [r] for every pair of values of two keys [g2, g1]; NaN where none is."""
    place = np.searchsorted(ys, table[y].to_numpy()) * len(xs)
    place += np.searchsorted(xs, table[x].to_numpy())
    count = np.bincount(place, minlength=len(xs) * len(ys))
    total = np.bincount(place, weights=values, minlength=len(xs) * len(ys))
    with np.errstate(invalid="ignore"):
        return (total / np.where(count > 0, count, np.nan)).reshape(len(ys), len(xs))
