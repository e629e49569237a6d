"""The experiment from many seeds: trained after the fit, and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from toyml import plots
from toyml.callbacks.after import AfterFit
from toyml.callbacks.figure import Drawing, Figure
from toyml.claims import NotApplicable
from toyml.errors import UserError
from toyml.plots.style import dress
from toyml.run import Run
from toyml.seeds import SeedTable, train_seeds


class Seeds(AfterFit):
    """Train settings of the experiment from seeds 0, 1, ... and keep the outcomes in ``seeds.csv``.

    To be listed before the figures and claims that read the table. A table that is already
    complete is kept, so ``toyml report`` trains nothing.

    Args:
        settings: For each setting's name what it changes, by dotted key of the config:
            ``{h = 3: {model.net.widths: [2, 3, 1]}}``.
        seeds: Number of seeds.
        noted: Steps at which the loss is noted besides the end, in columns ``loss_<step>``; those
            that the shortest of the fits does not reach are left out.

    Raises:
        ValueError: No seed or no setting.
    """

    def __init__(
        self,
        settings: dict[str, dict[str, Any]],
        seeds: int = 32,
        noted: list[int] | None = None,
    ) -> None:
        if seeds < 1 or not settings:
            raise ValueError(f"{seeds} seeds of {len(settings)} settings; give at least 1 of each")
        self.settings, self.seeds, self.noted = settings, seeds, noted or []

    def finish(self, run: Run) -> None:
        """Train what is not yet in the table."""
        if not run.config:
            raise UserError("seeds need a config to train from; start the fit on the command line")
        if self.complete(run):
            return
        noted = self.reached(run)
        table = {
            name: train_seeds(run.config, changes, range(self.seeds), noted, run.trust)
            for name, changes in self.settings.items()
        }
        SeedTable(table).save(run.folder)

    def reached(self, run: Run) -> list[int]:
        """The steps to be noted that every setting's fit goes beyond."""
        steps = run.setting("trainer.max_steps")
        shortest = min(changed(changes, steps) for changes in self.settings.values())
        return [step for step in self.noted if step < shortest]

    def complete(self, run: Run) -> bool:
        """Whether the run folder holds this table."""
        table = SeedTable.load(run.folder)
        if table is None or list(table.settings) != list(self.settings):
            return False
        steps = run.setting("trainer.max_steps")
        return all(
            {f"loss_{step}" for step in self.reached(run)} <= set(columns)
            and len(columns["seed"]) == self.seeds
            and set(columns["steps"]) == {changed(self.settings[name], steps)}
            for name, columns in table.settings.items()
        )


class SeedOutcomes(Figure):
    """One panel per group of settings: every seed's outcome, medians, and what theory knows.

    Args:
        panels: For each panel's title the settings in it, in order, of the table that
            :class:`Seeds` has written.
        column: Column drawn, such as ``loss``.
        quantity: Label of the vertical axis.
        setting: Label of the horizontal axis.
        labels: Label of each setting on that axis; its name by default.
        floors: Levels that theory knows, by name.
        log_value: Logarithmic values.
        name: Stem of the files.

    Raises:
        ValueError: No panel.
    """

    def __init__(
        self,
        panels: dict[str, list[str]],
        column: str = "loss",
        quantity: str = "final loss",
        setting: str = "hidden units",
        labels: dict[str, str] | None = None,
        floors: dict[str, float] | None = None,
        log_value: bool = True,
        name: str = "seeds",
    ) -> None:
        super().__init__(name)
        if not panels:
            raise ValueError("panels are empty; give {title: [setting, ...]}")
        self.panels, self.column, self.floors = panels, column, floors or {}
        self.quantity, self.setting, self.labels = quantity, setting, labels or {}
        self.log_value = log_value

    def draw(self, run: Run) -> Drawing:
        """Read the table."""
        table = read_table(run)
        canvas = plots.new_figure(5.8 * len(self.panels) + 1.4, 5.4)
        axes = np.atleast_1d(canvas.subplots(1, len(self.panels), sharey=True))
        medians = []
        for ax, (title, settings) in zip(axes, self.panels.items(), strict=True):
            try:
                values = {self.labels.get(s, s): table.column(s, self.column) for s in settings}
            except KeyError as error:
                raise NotApplicable(str(error.args[0])) from None
            last = ax is axes[-1]
            plots.plot_outcomes(
                ax,
                values,
                quantity=self.quantity if ax is axes[0] else "",
                setting=self.setting,
                floors={(k if last else ""): v for k, v in self.floors.items()} if last else None,
                log_value=self.log_value,
            )
            if not last:
                for level in self.floors.values():
                    ax.axhline(
                        level, color=plots.STYLE.ink, linestyle="--", linewidth=1.1, zorder=1
                    )
            plots.set_title(ax, title)
            medians += [f"{k} {np.nanmedian(v):.3g}" for k, v in values.items()]
        plots.add_legend(axes[0])
        r = len(next(iter(table.settings.values()))["seed"])
        return Drawing(
            canvas,
            f"{self.quantity.capitalize()} over {r} seeds",
            f"Each dot is one seed. Medians: {', '.join(medians)}."
            + (f" Dashed: {', '.join(self.floors)}." if self.floors else ""),
            f"Outcomes of {r} seeds for each setting as dots with medians: {', '.join(medians)}.",
        )


class SeedSides(Figure):
    """Relative error of the right half against that of the left half, one dot per seed.

    Args:
        settings: Settings of the table, one panel each.
        name: Stem of the files.

    Raises:
        ValueError: No setting.
    """

    def __init__(self, settings: list[str], name: str = "seed_sides") -> None:
        super().__init__(name)
        if not settings:
            raise ValueError("settings are empty; name at least one of the table")
        self.settings = settings

    def draw(self, run: Run) -> Drawing:
        """Read the table."""
        table = read_table(run)
        try:
            sides = {s: (table.column(s, "left"), table.column(s, "right")) for s in self.settings}
        except KeyError as error:
            raise NotApplicable(str(error.args[0])) from None
        everything = np.concatenate([side for pair in sides.values() for side in pair])
        low, high = everything[everything > 0].min() / 1.6, everything.max() * 1.6
        canvas = plots.new_figure(4.2 * len(sides) + 0.4, 4.8)
        axes = np.atleast_1d(canvas.subplots(1, len(sides), sharex=True, sharey=True))
        counts = []
        for ax, (name, (left, right)) in zip(axes, sides.items(), strict=True):
            better = int((left < right).sum())
            counts.append(f"{name}: {better} of {len(left)}")
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
            "Which half is fitted better, over seeds",
            "Above the diagonal the left half is fitted better. " + "; ".join(counts) + ".",
            "Scatter of the two halves' relative errors over seeds. " + "; ".join(counts) + ".",
        )


def read_table(run: Run) -> SeedTable:
    """The run's table over seeds."""
    table = SeedTable.load(run.folder)
    if table is None:
        raise NotApplicable("the run has no table over seeds")
    return table


def changed(overrides: Mapping[str, Any], steps: Any) -> float:
    """The number of steps a setting trains for."""
    return float(overrides.get("trainer.max_steps", steps))
