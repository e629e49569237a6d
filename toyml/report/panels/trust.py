"""How far a landscape and the path on it can be believed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toyml.report.panels.curves import mark
from toyml.report.panels.layout import (
    axis,
    curve,
    over_steps,
    places,
    plain,
    run_curve,
    span,
)
from toyml.report.scene import Move, Plot, Reading, Verdict

if TYPE_CHECKING:
    from toyml.views.landscape import LandscapeView

COLORS = (1, 0, 2)
"""Of one run: the true loss as the path is drawn, the height in the picture, the distance."""


def verdicts(views: Mapping[str, LandscapeView]) -> list[Verdict]:
    """What may be read from the picture; of several runs each sentence once, with their names."""
    groups: dict[str, list[str]] = {}
    for name, view in views.items():
        groups.setdefault(view.words, []).append(name)
    return [
        Verdict(
            words if len(groups) == 1 else f"{', '.join(names)}: {words}",
            any(bool(views[name].wrong.any()) for name in names),
        )
        for words, names in groups.items()
    ]


def trust_readings(view: LandscapeView) -> list[Reading]:
    """The true loss, the one that the picture shows, and the distance between the two places."""
    return [
        Reading("loss", view.true, view.steps),
        Reading("height in the picture", view.on_plane, view.steps),
        Reading(
            "off the plane",
            [f"{share:.3g} % of the path's extent" for share in off_plane(view)],
            view.steps,
        ),
    ]


def off_plane(view: LandscapeView) -> NDArray[np.float64]:
    """Distance of each snapshot from the plane [t], in percent of the path's extent."""
    return 100 * view.distance / (view.extent or 1.0)


def by_height(view: LandscapeView) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The path [t, 2] where its heights are its losses, and where they are not; NaN elsewhere.

    A piece between two snapshots belongs to the second when either of them does.
    """
    wrong = view.wrong
    near = wrong | np.append(wrong[1:], False) | np.insert(wrong[:-1], 0, False)
    right = np.where(wrong[:, None], np.nan, view.path)
    return right, np.where(near[:, None], view.path, np.nan)


def trust_plot(views: Mapping[str, LandscapeView], runs: Sequence[str] = ()) -> Plot:
    """Above the true loss beside the height in the picture, below the distance from the plane."""
    alone, of_run = len(runs or views) == 1, places(views, runs)
    data, marks, moves = [], [], []
    for name, view in views.items():
        below = off_plane(view)
        kinds = {
            "true loss": (view.true, "y"),
            "height in the picture": (view.on_plane, "y"),
            "off the plane": (below, "y3"),
        }
        for place, (kind, (values, side)) in enumerate(kinds.items()):
            unit = " %" if side == "y3" else ""
            drawn = {
                "x": view.steps,
                "y": values,
                "yaxis": side,
                "showlegend": (side == "y") if alone else place == 0,
                "hovertemplate": f"%{{y:.5g}}{unit}" + ("" if alone else f" {plain(name)}, {kind}"),
            }
            line = (
                curve(kind, COLORS[place], **drawn)
                if alone
                else run_curve(name, of_run[name], **drawn)
            )
            if kind == "height in the picture":
                line["line"]["dash"] = "dash"
            data.append(line)
            marks.append({**mark(line["line"]["color"]), "yaxis": side})
            moves += [(view.steps[:, None], view.steps), (values[:, None], view.steps)]
    first = len(data)
    paired = [
        Move(first + k // 2, "xy"[k % 2], values, steps) for k, (values, steps) in enumerate(moves)
    ]
    every = np.concatenate([v for view in views.values() for v in (view.true, view.on_plane)])
    away = np.concatenate([off_plane(view) for view in views.values()])
    frame = over_steps("loss", every, hoversubplots="axis")
    frame["xaxis"]["anchor"] = "y3"
    frame["yaxis"]["domain"] = [0.44, 1]
    frame["yaxis3"] = axis("% off the plane", range=[0, span(away)[1]], domain=[0, 0.32], nticks=4)
    return Plot("Trust", [*data, *marks], frame, paired, time=True)
