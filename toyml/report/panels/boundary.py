"""The panel of a classifier's boundary in the plane of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from toyml.palette import REFERENCES
from toyml.report.packing import levels
from toyml.report.panels.layout import bar, of_rows, places, plain, plane, points, shapes
from toyml.report.scene import Move, Panel, Plot, Spec
from toyml.report.theme import line_token, run_token

if TYPE_CHECKING:
    from toyml.views.boundary import BoundaryView

Lines = Mapping[str, tuple[tuple[float, float], float]]


def boundary_panel(
    views: Mapping[str, BoundaryView],
    references: Lines | None = None,
    runs: Sequence[str] = (),
) -> Panel:
    """What the net says over the plane, with the data; for several runs their boundaries alone.

    Args:
        views: By name of the run; of one run the name is not shown.
        references: By name the normal (w1, w2) and constant b of lines w · x + b = 0 to draw.
        runs: Names of all runs of the page, whose places give them their colors.
    """
    first = next(iter(views.values()))
    alone, place = len(runs or views) == 1, places(views, runs)
    fields = [
        _field(view) if alone else _line(name, place[name], view) for name, view in views.items()
    ]
    data = [
        *fields,
        *(
            _reference(name, i, w, b, first, alone)
            for i, (name, (w, b)) in enumerate((references or {}).items())
        ),
        *points(first.x[:, 0], first.x[:, 1], first.y, first.names, first.limits, alone),
    ]
    moves = [Move(i, "z", levels(view.field), view.steps) for i, view in enumerate(views.values())]
    what = (
        f"The line is where the {first.quantity} is {first.level:g}."
        if first.level is not None
        else f"Colors show the {first.quantity}."
    )
    if first.level is not None and not any(crosses(view) for view in views.values()):
        what = f"At no step shown is the {first.quantity} {first.level:g} anywhere in this window."
    last = int(max(view.steps[-1] for view in views.values()))
    others = [
        v for v in views.values() if v.total != first.total or not np.array_equal(v.x, first.x)
    ]
    if others:
        what += f" The rows are those of {next(iter(views))}."
    symbols = shapes(first.names) if first.names else ""
    named = f" Lines of theory: {', '.join(references)}." if references else ""
    title = "What the model says in the plane" if alone else "Where each run changes its mind"
    return Panel(
        name="boundary",
        title=title,
        caption=what + symbols + named + of_rows(len(first.x), first.total),
        alt=f"Plane of the two inputs with {first.total:,} rows of data and the {first.quantity} "
        f"of {'the model' if alone else ' and '.join(views)} from step {first.steps[0]:,} to "
        f"{last:,}. {what}{named}",
        plots=[
            Plot("Boundary", data, plane("x₁", "x₂", first.xs, first.ys), moves),
        ],
    )


def crosses(view: BoundaryView) -> bool:
    """Whether the field has its level somewhere in the window at some step."""
    assert view.level is not None
    known = view.field[np.isfinite(view.field).all(axis=(1, 2))]
    low, high = known.min(axis=(1, 2)), known.max(axis=(1, 2))
    return bool(((low < view.level) & (view.level < high)).any())


def _field(view: BoundaryView) -> Spec:
    contours: Spec = {"coloring": "heatmap", "showlines": False}
    low, high = view.limits
    if view.level is not None:
        contours = {
            "coloring": "heatmap",
            "start": view.level,
            "end": view.level,
            "size": 1,
            "showlines": True,
        }
    return {
        "type": "contour",
        "name": view.quantity,
        "x": view.xs,
        "y": view.ys,
        "zmin": low,
        "zmax": high,
        "zauto": False,
        "autocontour": False,
        "colorscale": "@loss" if view.level is None else "@probability",
        "contours": contours,
        "line": {"color": "@ink", "width": 2},
        "colorbar": bar(view.quantity),
        "hovertemplate": f"(%{{x:.3g}}, %{{y:.3g}})<br>{view.quantity} %{{z:.4f}}<extra></extra>",
    }


def _line(name: str, place: int, view: BoundaryView) -> Spec:
    level = 0.5 if view.level is None else view.level
    return {
        "type": "contour",
        "name": plain(name),
        "x": view.xs,
        "y": view.ys,
        "autocontour": False,
        "contours": {"coloring": "none", "start": level, "end": level, "size": 1},
        "line": {"color": run_token(place), "width": 2.5},
        "showscale": False,
        "showlegend": True,
        "hoverinfo": "skip",
    }


def _reference(
    name: str, index: int, w: tuple[float, float], b: float, view: BoundaryView, alone: bool
) -> Spec:
    """A line of theory, long enough for every zoom; beside several runs without a color."""
    color = line_token(REFERENCES[index % len(REFERENCES)]) if alone else "@ink"
    dash = "dash" if alone else ("dash", "dot", "dashdot")[index % 3]
    length = float(np.hypot(*w))
    foot = -b * np.asarray(w) / length**2
    along = np.array([-w[1], w[0]]) / length
    reach = 3 * float(abs(view.xs[-1] - view.xs[0]) + np.linalg.norm(foot))
    ends = np.stack([foot - reach * along, foot + reach * along])
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(name),
        "x": ends[:, 0],
        "y": ends[:, 1],
        "line": {"color": color, "width": 2, "dash": dash},
        "hoverinfo": "name",
    }
