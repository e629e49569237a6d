"""Figures of hidden units: their lines in the plane, and the space they span."""

from __future__ import annotations

from itertools import combinations, islice
from math import comb

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from toyml import measures, plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.callbacks.figures import GRID
from toyml.claims import NotApplicable
from toyml.claims.hidden import occupied
from toyml.run import Run
from toyml.views import boundary_view
from toyml.views.hidden import undecided_output
from toyml.views.rows import class_names, targets


class HiddenLines(Figure):
    """The line of every hidden unit over the data, above the final decision surface.

    Args:
        margin: Empty space around the data, as a share of its extent.
        name: Stem of the files.

    Raises:
        ValueError: A negative margin.
    """

    def __init__(self, margin: float = 0.12, name: str = "hidden_lines") -> None:
        super().__init__(name)
        if not margin >= 0:
            raise ValueError(f"margin is {margin}; it has to be 0 or more")
        self.margin = margin

    def draw(self, run: Run) -> Drawing:
        """Read the last snapshot."""
        weights, found = occupied(run)
        biases = measures.first_layer(run.trajectory.points([-1]))[1][0]
        view = boundary_view(run, most=1, grid=GRID, rows=1000, margin=self.margin)
        if view.level is None:
            raise NotApplicable("the data are not two classes")
        canvas = plots.new_figure(12.0, 5.6)
        left, right = canvas.subplots(1, 2)
        for ax in (left, right):
            ax.set_xlim(view.xs[0], view.xs[-1])
            ax.set_ylim(view.ys[0], view.ys[-1])
            ax.set_aspect("equal")
        plots.plot_points(left, view.x, view.y, labels=view.names)
        drawn = plots.plot_decision_surface(
            right, view.xs, view.ys, view.field[-1], level=view.level, limits=view.limits
        )
        plots.add_colorbar(right, drawn.mesh, view.quantity)
        plots.plot_points(right, view.x, view.y, labels=view.names)
        for ax in (left, right):
            plots.plot_hidden_lines(ax, weights.double().numpy(), biases.double().numpy())
            plots.add_legend(ax, below=True, columns=3)
        zeros = sum(region.zeros > region.ones for region in found)
        ones = sum(region.zeros < region.ones for region in found)
        even = len(found) - zeros - ones
        h, step = len(weights), int(run.trajectory.steps[-1])
        units = f"{h} hidden unit{'s' if h > 1 else ''}"
        plots.set_title(left, f"Where {units} switch{'es' if h == 1 else ''}, step {step:,}")
        plots.set_title(right, "What the model makes of it")
        words = f"{zeros} hold mostly {view.names[0]} and {ones} mostly {view.names[1]}"
        words += f", {even} as many of either" if even else ""
        return Drawing(
            canvas,
            "The lines of the hidden units",
            f"Each line is where w · x + b = 0 for one unit; its arrow shows the side where the "
            f"unit is on. Of the regions between the lines that hold data, {words}. Right: the "
            f"{view.quantity}, with the same lines.",
            f"Plane with the data and the lines of {units}; of those with data {words}. "
            f"Beside it the {view.quantity} as a colored surface.",
        )


class Activations(Figure):
    """The data as the last hidden layer sees them, three units at a time.

    With three units the plane at which the output changes its mind is drawn too. With more, it
    lives in more dimensions; every combination of three units is drawn without it.

    Args:
        most: Largest number of combinations drawn; of more, the first.
        name: Stem of the files.

    Raises:
        ValueError: No combination asked for.
    """

    def __init__(self, most: int = 20, name: str = "activations") -> None:
        super().__init__(name)
        if most < 1:
            raise ValueError(f"most is {most}; draw at least 1 combination")
        self.most = most

    def draw(self, run: Run) -> Drawing:
        """Evaluate the last snapshot on the data."""
        if run.meaning.kind != "two classes":
            raise NotApplicable("the data are not two classes")
        x, y, _ = targets(run)
        last = run.trajectory.points([-1])
        try:
            seen = measures.activations(run.net, last, x)[0].double().numpy()
        except ValueError as error:
            raise NotApplicable(str(error)) from error
        h = seen.shape[1]
        if h < 3:
            raise NotApplicable(f"three hidden units make a space; there {count(h)}")
        shown = list(islice(combinations(range(h), 3), self.most))
        plane = output_plane(run, last) if h == 3 else None
        columns = min(len(shown), 4)
        rows = -(-len(shown) // columns)
        size = 6.4 if len(shown) == 1 else 3.6
        canvas = plots.new_figure(size * columns, size * 0.92 * rows)
        for i, triple in enumerate(shown):
            ax = canvas.add_subplot(rows, columns, i + 1, projection="3d")
            names = [f"unit {unit + 1}" for unit in triple]
            plots.plot_activations_3d(
                ax, seen[:, list(triple)], y.numpy(), plane, names, names=class_names(run)
            )
            if i == 0:
                ax.legend(loc="upper left", frameon=False, fontsize=plots.STYLE.small_size)
        if len(shown) == 1:
            plots.set_title(canvas.axes[0], "What the output layer sees")
        of = f"{len(shown)} of {comb(h, 3):,} combinations" if h > 3 else "the space"
        cut = (
            "The plane is where the output changes its mind: if the classes lie on its two sides, "
            "the net is right everywhere."
            if plane is not None
            else f"The output's plane lives in all {h} dimensions and is not drawn."
        )
        return Drawing(
            canvas,
            "The data as the hidden units see them",
            f"Each point has the activations of three hidden units as coordinates ({of} of {h} "
            f"units). {cut}",
            f"Scatter in three dimensions of both classes, coordinates are hidden units; {of}.",
        )


def output_plane(run: Run, snapshot: dict[str, Tensor]) -> tuple[NDArray[np.float64], float] | None:
    """Weights [h] and constant of the plane where the one output is undecided, if it is known."""
    level = undecided_output(run)
    matrices = [name for name, p in snapshot.items() if p.ndim == 3]
    v = snapshot[matrices[-1]][0]
    if len(v) != 1 or level is None:
        return None
    bias = snapshot.get(matrices[-1].removesuffix("weight") + "bias")
    return v[0].double().numpy(), (0.0 if bias is None else float(bias[0, 0])) - level


def count(h: int) -> str:
    """The number of units with its verb."""
    return "is 1" if h == 1 else f"are {h}"
