"""The loss over a plane with the path of the training, and how far to believe the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from torch import nn

from toyml import plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.run import Run
from toyml.views import LandscapeView, RunPlane, landscape_view, line_view

LONG = 1000  # steps from which on time is logarithmic
STEEP = 100.0  # losses that far apart are drawn on a logarithmic axis


class Landscape(Figure):
    """The run's loss over a plane of parameter space, with the recorded path on it.

    A path of more than two parameters hardly ever lies in the plane it is drawn on. Beside the
    picture stand therefore, over the steps, the true loss and the loss at the path's projection,
    and the distance between the two points; the title and the caption say what may be read.

    Args:
        plane: Which plane (``toyml.views.PrincipalPlane``, ``RandomPlane``, ``CurvaturePlane``,
            ...); ``null`` is that of both parameters of a net with two, the principal plane of the
            path otherwise.
        losses: Further losses to draw on the same plane; the run's own comes first.
        window: Least and greatest coordinate of the horizontal, then of the vertical axis;
            ``null`` is the path with a margin.
        grid: Points per side.
        most: Snapshots on the path, at most.
        log_time: Logarithmic steps beside the picture; ``null`` from 1,000 steps on.
        name: Stem of the files.

    Raises:
        ValueError: An empty window, too few points or snapshots.
    """

    def __init__(
        self,
        plane: RunPlane | None = None,
        losses: list[nn.Module] | None = None,
        window: list[float] | None = None,
        grid: int = 51,
        most: int = 200,
        log_time: bool | None = None,
        name: str = "landscape",
    ) -> None:
        super().__init__(name)
        if window is not None and not (
            len(window) == 4 and window[0] < window[1] and window[2] < window[3]
        ):
            raise ValueError(
                f"window is {window}; give [left, right, bottom, top], each increasing"
            )
        if grid < 3:
            raise ValueError(f"grid is {grid}; draw at least 3 points per side")
        if most < 2:
            raise ValueError(f"most is {most}; draw 2 snapshots or more")
        self.plane, self.losses, self.window = plane, tuple(losses or ()), window
        self.grid, self.most, self.log_time = grid, most, log_time

    def view(self, run: Run) -> LandscapeView:
        """The arrays of the picture."""
        sides = None
        if self.window is not None:
            left, right, bottom, top = self.window
            sides = ((left, right), (bottom, top))
        return landscape_view(run, self.plane, self.grid, self.most, self.losses, sides)

    def draw(self, run: Run) -> Drawing:
        """Evaluate the losses on the grid, project the path, draw."""
        view = self.view(run)
        last = int(view.steps[-1])
        log_time = last >= LONG if self.log_time is None else self.log_time
        count = len(view.surfaces)
        columns = min(count, 2)
        rows = -(-count // columns)
        beside = 0 if view.whole else 1
        canvas = plots.new_figure(5.6 * columns + 4.6 * beside, 5.2 * rows)
        grid = canvas.add_gridspec(
            2 * rows, columns + beside, width_ratios=[5.6] * columns + [4.4] * beside
        )
        axes = []
        for index in range(count):
            row, column = divmod(index, columns)
            axes.append(canvas.add_subplot(grid[2 * row : 2 * row + 2, column]))
        draw_surfaces(axes, view)
        if beside:
            heights = canvas.add_subplot(grid[:rows, columns])
            distances = canvas.add_subplot(grid[rows:, columns], sharex=heights)
            draw_heights(heights, view, log_time)
            draw_distance(distances, view, log_time)
        own = next(iter(view.surfaces))
        place = f"over {view.names[0]} and {view.names[1]}"
        return Drawing(
            canvas,
            f"Landscape and path: {first_sentence(view.words)}",
            f"{own} {place}, with the path from step {view.steps[0]:,} (circle) to {last:,} "
            f"(square), {view.true[0]:.4g} to {view.true[-1]:.4g}. {view.words}",
            f"Contours of {', '.join(view.surfaces)} {place}, with the path of the training over "
            f"{last:,} steps. {view.words}",
        )


def draw_surfaces(axes: Sequence[Axes], view: LandscapeView) -> None:
    """A contour picture for each loss, all on the same axes and levels, with one color bar."""
    levels = plots.landscape_levels(*view.surfaces.values(), count=14, decades=3)
    drawn = None
    for ax, (name, surface) in zip(axes, view.surfaces.items(), strict=True):
        drawn = plots.plot_landscape(
            ax,
            view.a,
            view.b,
            surface,
            levels=levels,
            path=view.path,
            path_label="path of the training" if view.whole else "the path's projection",
            minimum=view.minimum if ax is axes[0] else None,
            xlabel=view.names[0],
            ylabel=view.names[1],
        )
        if view.wrong.any() and ax is axes[0]:
            plots.plot_mistrust(ax, view.path, view.wrong)
        said = first_sentence(view.words) if ax is axes[0] else ""
        plots.set_title(ax, said if len(axes) == 1 else f"{name}. {said}".rstrip(". "))
    assert drawn is not None
    plots.add_legend(axes[0])
    plots.add_colorbar(list(axes), drawn.filled, "loss")


def draw_heights(ax: Axes, view: LandscapeView, log_time: bool) -> None:
    """The true loss and the one that the picture shows, over the steps."""
    curves = {"true loss": view.true, "loss at the projection": view.on_plane}
    shown = np.concatenate([v[np.isfinite(v)] for v in curves.values()])
    steep = len(shown) > 0 and shown.min() > 0 and shown.max() > STEEP * shown.min()
    lines = plots.plot_curves(
        ax, view.steps, curves, quantity="loss", log_time=log_time, log_value=steep
    )
    # The true loss in the color of the path, as in the page's panel.
    for line, place, dash in zip(lines, (1, 0), ("-", "--"), strict=True):
        line.set(color=plots.STYLE.color(place), linestyle=dash)
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("")
    ax.tick_params(labelbottom=False)  # those below are the same
    plots.add_legend(ax)
    rest = view.words.removeprefix(f"{first_sentence(view.words)}.").strip()
    plots.set_title(ax, rest.rstrip("."))


def draw_distance(ax: Axes, view: LandscapeView, log_time: bool) -> None:
    """The distance from the plane over the steps, in units of the path's extent."""
    away = 100 * view.distance / view.extent
    plots.plot_curves(
        ax, view.steps, {"distance": away}, quantity="% of the path's extent", log_time=log_time
    )
    ax.set_ylim(bottom=0)
    most = float(np.nanmax(away))
    digits = 0 if most >= 10 else 1 if most >= 1 else 3
    plots.set_title(ax, f"Off the plane by up to {most:.{digits}f} % of the path's extent")


def first_sentence(words: str) -> str:
    """Up to the first full stop that ends a sentence, without it.

    Example:
        >>> first_sentence("This plane holds 99.3 % of the path. All along its heights are right.")
        'This plane holds 99.3 % of the path'
    """
    return words.split(". ")[0].rstrip(".")


class LossLine(Figure):
    r"""The loss on the straight line between two snapshots, of this run or of this and another.

    A barrier is the excess of the loss over the chord between the losses L(0), L(1) of the two
    snapshots, :math:`\max_t L(t) - (1 - t) L(0) - t L(1)`.

    Args:
        first: Step of the first snapshot; ``null`` is step 0, and with another run the last.
        second: Step of the second; ``null`` is the last.
        other: Folder of the run that the second snapshot is of; ``null`` is this run.
        losses: Further losses to draw.
        reach: How far the line goes on beyond either end, in units of their distance.
        grid: Points of the line.
        name: Stem of the files.

    Raises:
        ValueError: Too few points, or a negative reach.
    """

    def __init__(
        self,
        first: int | None = None,
        second: int | None = None,
        other: str | None = None,
        losses: list[nn.Module] | None = None,
        reach: float = 0.25,
        grid: int = 201,
        name: str = "line_between",
    ) -> None:
        super().__init__(name)
        if grid < 3:
            raise ValueError(f"grid is {grid}; draw at least 3 points")
        if reach < 0:
            raise ValueError(f"reach is {reach}; it has to be 0 or more")
        self.first, self.second, self.other = first, second, other
        self.losses, self.reach, self.grid = tuple(losses or ()), reach, grid

    def draw(self, run: Run) -> Drawing:
        """Evaluate the losses between the two."""
        other = None if self.other is None else Run.load(Path(self.other))
        view = line_view(run, self.first, self.second, other, self.grid, self.reach, self.losses)
        canvas = plots.new_figure(7.2, 4.4)
        ax = canvas.subplots()
        plots.plot_loss_line(ax, view.at, view.losses, view.ends)
        plots.add_legend(ax)
        plots.set_title(ax, first_sentence(view.words))
        return Drawing(
            canvas,
            f"The loss on the line from {view.ends[0]} to {view.ends[1]}",
            f"{view.words} The two are {view.distance:.4g} apart.",
            f"Curves of {', '.join(view.losses)} along the line. {view.words}",
        )
