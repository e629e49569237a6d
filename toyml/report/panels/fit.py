"""The panel of a curve that is fitted to points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from toyml.report.packing import levels
from toyml.report.panels.layout import (
    axis,
    curve,
    layout,
    of_rows,
    places,
    plain,
    run_curve,
    span,
)
from toyml.report.scene import Move, Panel, Plot

if TYPE_CHECKING:
    from toyml.views.fit import FitView


def fit_panel(views: Mapping[str, FitView], runs: Sequence[str] = ()) -> Panel:
    """The data and the model's curve; for several runs a curve of each.

    Args:
        views: By name of the run; of one run the name is not shown.
        runs: Names of all runs of the page, whose places give them their colors.
    """
    first = next(iter(views.values()))
    alone, place = len(runs or views) == 1, places(views, runs)
    rows = {
        "type": "scatter",
        "mode": "markers",
        "name": "data",
        "x": first.x,
        "y": first.y,
        "marker": {
            "color": "@line0" if alone else "@muted",
            "size": 5 if len(first.x) > 60 else 7,
            "opacity": 0.75,
        },
        "hovertemplate": "(%{x:.4g}, %{y:.4g})<extra>data</extra>",
    }
    data = [rows]
    moves = []
    for i, (name, view) in enumerate(views.items()):
        hover = "(%{x:.4g}, %{y:.5g})<extra>" + ("model" if alone else plain(name)) + "</extra>"
        drawn = {"x": view.grid, "hovertemplate": hover}
        line = curve("model", 1, **drawn) if alone else run_curve(name, place[name], **drawn)
        line["line"]["width"] = 2.5
        data.append(line)
        moves.append(Move(i + 1, "y", levels(clipped(view)), view.steps))
    low, high = span(first.y, *(window(view) for view in views.values()), room=0.05)
    last = int(max(view.steps[-1] for view in views.values()))
    caption = "The curve is the prediction over the whole range of the input."
    return Panel(
        name="fit",
        title="The fit" if alone else "The fit of each run",
        caption=caption + of_rows(len(first.x), first.total),
        alt=f"{first.total:,} points with the prediction of "
        f"{'the model' if alone else ' and '.join(views)} as a curve, from step "
        f"{first.steps[0]:,} to {last:,}.",
        plots=[
            Plot(
                "Fit",
                data,
                layout(
                    xaxis=axis("x", range=[float(first.grid[0]), float(first.grid[-1])]),
                    yaxis=axis("y", range=[low, high]),
                ),
                moves,
            ),
        ],
    )


def window(view: FitView) -> np.ndarray:
    """What has to be seen: the data with room, and of the first and last curve what is near."""
    low, high = span(view.y, room=0.25)
    near_low, near_high = span(view.y, room=0.7)
    ends = np.clip(view.curves[[0, -1]].ravel(), near_low, near_high)
    return np.concatenate([[low, high], ends])


def clipped(view: FitView) -> np.ndarray:
    """The curves, cut off far beyond the picture so that rounding stays finer than a pixel."""
    low, high = float(view.y.min()), float(view.y.max())
    room = 20 * ((high - low) or max(abs(high), 1.0))
    return np.clip(view.curves, low - room, high + room)
