"""The panel of what a net says about every row, for inputs that no plane or axis can show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from toyml.report.packing import levels
from toyml.report.panels.layout import axis, layout, of_rows, plain, span
from toyml.report.scene import Move, Panel, Plot, Reading, Spec
from toyml.report.theme import line_token

if TYPE_CHECKING:
    from toyml.views.rows import RowsView


def rows_panel(views: Mapping[str, RowsView]) -> Panel:
    """Every row as a point whose height is the prediction; a bar shows the target.

    Args:
        views: By name of the run; of one run the name is not shown.
    """
    first = next(iter(views.values()))
    alone = len(views) == 1
    place = np.arange(1, len(first.rows) + 1)
    target: Spec = {
        "type": "scatter",
        "mode": "lines",
        "name": "target",
        "x": place,
        "y": first.target,
        "line": {"color": "@ink", "width": 1.5, "shape": "hvh"},
        "hoverinfo": "skip",
    }
    data, moves = [target], []
    for i, (name, view) in enumerate(views.items()):
        color: object = line_token(i)
        if alone and first.classes:
            middle = (first.target.min() + first.target.max()) / 2
            color = ["@class1" if t > middle else "@class0" for t in first.target]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "prediction" if alone else plain(name),
                "x": place,
                "marker": {"color": color, "size": 5, "opacity": 0.8},
                "customdata": view.rows,
                "hovertemplate": "row %{customdata}: %{y:.4f}<extra></extra>",
            }
        )
        moves.append(Move(i + 1, "y", levels(view.prediction), view.steps))
    values = [view.prediction for view in views.values()]
    within = all(np.nanmin(v) >= 0 and np.nanmax(v) <= 1 for v in (first.target, *values))
    bounds = [-0.04, 1.04] if first.classes and within else span(first.target, *values)
    readings = [
        Reading("accuracy" if alone else f"accuracy, {name}", view.accuracy, view.steps)
        for name, view in views.items()
        if view.accuracy is not None
    ]
    order = "by class, and within a class by the last prediction" if first.classes else "by target"
    return Panel(
        name="rows",
        title="What the model says about every row",
        caption=f"Each point is one row, in the order {order}; the line is its target."
        + of_rows(len(first.rows), first.total),
        alt=f"Predictions of {len(first.rows):,} of {first.total:,} rows as points, in the order "
        f"{order}, with the targets as a line.",
        plots=[
            Plot(
                "Rows",
                data,
                layout(
                    xaxis=axis("row, in this order", showgrid=False),
                    yaxis=axis("prediction", range=bounds),
                ),
                moves,
            )
        ],
        readings=readings,
    )
