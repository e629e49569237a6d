"""The panel of the class that a net with an output for each says over the plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from toyml.report.packing import levels
from toyml.report.panels.layout import of_rows, plane, points
from toyml.report.scene import Move, Panel, Plot, Reading, Spec

if TYPE_CHECKING:
    from toyml.views.classes import ClassesView

RIM = 0.001
"""What rounding must not carry from the color of a class into that of the one before."""


def classes_panel(views: Mapping[str, ClassesView]) -> Panel:
    """The class with the largest output, strong where it is far ahead; a plot for each run.

    Args:
        views: By name of the run; of one run the name is not shown.
    """
    first = next(iter(views.values()))
    alone = len(views) == 1
    words = (
        "The color is that of the class with the largest output; it fades where the second "
        "largest is near."
    )
    last = int(max(view.steps[-1] for view in views.values()))
    return Panel(
        name="boundary",
        title="Which class the model says" if alone else "Which class each run says",
        caption=words + of_rows(len(first.x), first.total),
        alt=f"Plane of the two inputs with {first.total:,} rows of {first.number} classes, colored "
        f"by the class that {'the model' if alone else ' and '.join(views)} says from step "
        f"{first.steps[0]:,} to {last:,}. {words}",
        plots=[_map("Classes" if alone else name, view) for name, view in views.items()],
        readings=[
            Reading("accuracy" if alone else f"accuracy, {name}", view.accuracy, view.steps)
            for name, view in views.items()
        ],
    )


def _map(label: str, view: ClassesView) -> Plot:
    faded = 1 - np.clip(view.lead, 0, 1)
    field: Spec = {
        "type": "heatmap",
        "name": "class",
        "x": view.xs,
        "y": view.ys,
        "zmin": 0,
        "zmax": view.number,
        "zauto": False,
        "colorscale": f"@classes{view.number}",
        "showscale": False,
        "hovertemplate": "(%{x:.3g}, %{y:.3g})<br>class %{customdata:.0f}<extra></extra>",
    }
    names = [f"class {i}" for i in range(view.number)]
    return Plot(
        label,
        [field, *points(view.x[:, 0], view.x[:, 1], view.y.astype(np.float64), names)],
        plane("x₁", "x₂", view.xs, view.ys),
        [
            Move(0, "z", levels(view.winner + RIM + (1 - 2 * RIM) * faded), view.steps),
            Move(0, "customdata", levels(view.winner.astype(np.float64)), view.steps),
        ],
    )
