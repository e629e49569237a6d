"""The panel of the loss landscape: the ground, the path, and how far the two can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml.palette import FORCES
from toyml.report.packing import levels
from toyml.report.panels.curves import mark
from toyml.report.panels.layout import (
    CLEAR,
    axis,
    bar,
    curve,
    layout,
    over_steps,
    places,
    plain,
    short,
)
from toyml.report.panels.trust import by_height, trust_plot, trust_readings, verdicts
from toyml.report.scene import Move, Panel, Plot, Spec
from toyml.report.theme import line_token, run_token

if TYPE_CHECKING:
    from toyml.views.forces import ForcesView
    from toyml.views.landscape import LandscapeView

DECADES = 2.8
"""Powers of ten of height above the lowest loss that the colors tell apart."""

BANDS = 14

LIFT = 0.03
"""By how much of a decade the path runs above its true height in 3-D."""

LONGEST = 0.16
"""Length of the longest arrow, as a part of the picture: less than the margin around the path."""


class Arrows(NamedTuple):
    """What adds up to each step, on the plane.

    Attributes:
        forces: The parts over the steps.
        vectors: By name of the part, and of "the step", its projection [t, 2]; of a step that one
            part makes alone, only the step.
    """

    forces: ForcesView
    vectors: Mapping[str, NDArray[np.float64]]


class Ground(NamedTuple):
    """Losses as heights on a scale that shows the valley and the slopes.

    Attributes:
        low: The lowest loss shown.
        height: How far the highest is above it.
    """

    low: float
    height: float

    def scaled(self, loss: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logarithm of the height above the lowest loss, from -DECADES to 0 and above."""
        with np.errstate(invalid="ignore", over="ignore"):
            share = (loss - self.low) / self.height
            return np.asarray(np.log10(np.maximum(share, 10.0**-DECADES)), dtype=np.float64)

    def ticks(self) -> Spec:
        """Ticks at losses, spread over the scale."""
        places = np.linspace(-DECADES, 0, 6)
        losses = self.low + self.height * 10.0**places
        losses[0] = self.low
        return {"tickvals": places.tolist(), "ticktext": [f"{loss:.3g}" for loss in losses]}


def landscape_panel(
    views: Mapping[str, LandscapeView], arrows: Arrows | None = None, runs: Sequence[str] = ()
) -> Panel:
    """The ground with the path so far and the point of the step; in the plane, and in 3-D.

    Args:
        views: By name of the run, all on the same axes and ground; of one run the name is not
            shown.
        arrows: For one run of SGD what adds up to each step.
        runs: Names of all runs of the page, whose places give them their colors.
    """
    first = next(iter(views.values()))
    alone = len(views) == 1
    surface = first.surface
    finite = surface[np.isfinite(surface)]
    low = float(finite.min())
    ground = Ground(low, max(float(np.ptp(finite)), 1e-9 * max(abs(low), 1.0)))
    colors = {name: run_token(place) for name, place in places(views, runs).items()}
    if alone:
        colors = dict.fromkeys(views, "@line1")
    plots = [_plane(views, colors, ground, arrows), _relief(views, colors, ground)]
    if not all(view.whole for view in views.values()):
        plots.append(trust_plot(views, runs))
    if arrows is not None and len(arrows.vectors) > 1:
        plots.append(_sizes(arrows))
    found = verdicts(views)
    words = " ".join(verdict.words for verdict in found)
    said = ["The ring is where the training started, the dot where it is at the step."]
    if any(verdict.doubt for verdict in found):
        said.append("The path is dotted where it is not at the height that the colors show.")
    if not all(view.whole for view in views.values()):
        said.append(
            "Trust: the true loss (solid), the height in the picture (dashed), and the distance "
            "from the plane in percent of the path's extent."
        )
    if arrows is not None:
        said += [arrows.forces.words, "The longest arrow is always of one length: read directions."]
        said += ["Steps that are all rounding have none."] if noise(arrows).any() else []
    return Panel(
        name="landscape",
        title="The path on the loss landscape" if alone else "All paths on one landscape",
        verdicts=found,
        caption=" ".join(said),
        alt=f"Contours of {next(iter(first.surfaces))} over {first.names[0]} and {first.names[1]}, "
        f"from {low:.4g} to {finite.max():.4g}, with the path of "
        f"{'the training' if alone else ' and '.join(views)}. {words} {' '.join(said)}",
        plots=plots,
        readings=trust_readings(first) if alone and not first.whole else [],
    )


def _plane(
    views: Mapping[str, LandscapeView],
    colors: Mapping[str, str],
    ground: Ground,
    arrows: Arrows | None,
) -> Plot:
    first = next(iter(views.values()))
    alone = len(views) == 1
    names = [plain(name) for name in short(first.names)]
    data: list[Spec] = [
        {
            "type": "contour",
            "name": "loss",
            "x": first.a,
            "y": first.b,
            "z": levels(ground.scaled(first.surface)),
            "customdata": levels(first.surface),
            "zmin": -DECADES,
            "zmax": 0,
            "zauto": False,
            "autocontour": False,
            "contours": {
                "coloring": "fill",
                "start": -DECADES,
                "end": 0,
                "size": DECADES / BANDS,
                "showlines": True,
            },
            "line": {"width": 0.5, "color": "@faint"},
            "colorscale": "@loss",
            "colorbar": bar(f"loss ({next(iter(first.surfaces))})", **ground.ticks()),
            "hovertemplate": f"{names[0]} %{{x:.4g}}<br>{names[1]} %{{y:.4g}}"
            "<br>loss %{customdata:.5g}<extra></extra>",
        }
    ]
    moves: list[Move] = []
    for name, view in views.items():
        color = colors[name]
        path = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
        data += [
            {
                **path,
                "x": view.path[:, 0],
                "y": view.path[:, 1],
                "showlegend": False,
                "opacity": 0.45,
                "line": {"color": color, "width": 1, "dash": "dot"},
            },
            {
                **path,
                "name": "path so far" if alone else plain(name),
                "line": {"color": color, "width": 2.5},
            },
            {
                **path,
                "name": "wrong height",
                "showlegend": alone and bool(view.wrong.any()),
                "line": {"color": color, "width": 2.5, "dash": "dot"},
            },
            _start(view, color),
            mark(color, size=11),
        ]
        right, wrong = by_height(view)
        for key in (0, 1):
            attribute = "xy"[key]
            moves += [
                Move(len(data) - 4, attribute, right[:, key], view.steps, trail=True),
                Move(len(data) - 3, attribute, wrong[:, key], view.steps, trail=True),
                Move(len(data) - 1, attribute, view.path[:, key : key + 1], view.steps),
            ]
    if first.minimum is not None:
        data.append(_minimum(first.minimum))
    if arrows is not None:
        _add_arrows(data, moves, first, arrows)
    frame = layout(
        xaxis=axis(names[0], range=[float(first.a[0]), float(first.a[-1])], showgrid=False),
        yaxis=axis(names[1], range=[float(first.b[0]), float(first.b[-1])], showgrid=False),
    )
    return Plot("Plane", data, frame, moves)


def _start(view: LandscapeView, color: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": view.path[:1, 0],
        "y": view.path[:1, 1],
        "marker": {
            "symbol": "circle-open",
            "size": 10,
            "color": color,
            "line": {"width": 2.5},
        },
        "showlegend": False,
        "hovertemplate": f"start, loss {view.true[0]:.5g}<extra></extra>",
    }


def _minimum(place: NDArray[np.float64]) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "minimum",
        "x": place[:1],
        "y": place[1:],
        "marker": {
            "symbol": "star",
            "size": 13,
            "color": "@ground",
            "line": {"color": "@ink", "width": 1.2},
        },
        "hovertemplate": "exact minimum (%{x:.6g}, %{y:.6g})<extra></extra>",
    }


def _add_arrows(data: list[Spec], moves: list[Move], view: LandscapeView, arrows: Arrows) -> None:
    """One arrow for each part from the point of the step; the longest always of one length."""
    width, height = np.ptp(view.a), np.ptp(view.b)
    shown = arrows.forces.steps <= view.steps[-1]  # the path of what diverges ends before
    steps = arrows.forces.steps[shown]
    foot = view.path[np.searchsorted(view.steps, steps)]
    parts = np.stack([part[shown] for part in arrows.vectors.values()])
    with np.errstate(invalid="ignore", divide="ignore"):
        longest = np.hypot(parts[..., 0] / width, parts[..., 1] / height).max(axis=0)
        scale = np.where(longest > 0, LONGEST / longest, 0.0)
    scale[noise(arrows)[shown]] = np.nan
    for i, (name, part) in enumerate(zip(arrows.vectors, parts, strict=True)):
        ends = np.stack([foot, foot + scale[:, None] * part], axis=1)
        whole = i == len(arrows.vectors) - 1
        color = force_color(name)
        line = {"color": color, "width": 3 if whole else 2}
        shared = {"type": "scatter", "name": plain(name), "legendgroup": name, "line": line}
        data += [
            # Arrow heads would fill the legend.
            {**shared, "mode": "lines", "x": [None], "y": [None]},
            {
                **shared,
                "mode": "lines+markers",
                "showlegend": False,
                "marker": {
                    "symbol": "arrow",
                    "angleref": "previous",
                    "size": [0, 13],
                    "color": color,
                    "opacity": 1,
                },
                "hoverinfo": "name",
            },
        ]
        moves += [Move(len(data) - 1, "xy"[key], ends[:, :, key], steps) for key in (0, 1)]


def force_color(name: str) -> str:
    """The color of a part of an update, that of the figures too; ink is the whole step's."""
    return line_token(FORCES[name]) if name in FORCES else "@ink"


def noise(arrows: Arrows) -> NDArray[np.bool_]:
    """Which steps [t] are no longer than ten times what rounding makes of the largest one."""
    lengths = np.linalg.norm(arrows.forces.step, axis=1)
    found: NDArray[np.bool_] = lengths <= 10 * arrows.forces.residual * np.nanmax(lengths)
    return found


def _relief(views: Mapping[str, LandscapeView], colors: Mapping[str, str], ground: Ground) -> Plot:
    """The same as a surface; the path runs at its true losses, above or below the ground."""
    first = next(iter(views.values()))
    alone = len(views) == 1
    # Long names would be cut off at the corners.
    names = [plain(name.split(" of ")[0].removeprefix("principal ")) for name in short(first.names)]
    ticks = ground.ticks()
    data: list[Spec] = [
        {
            "type": "surface",
            "name": "loss",
            "x": first.a,
            "y": first.b,
            "z": levels(ground.scaled(first.surface)),
            "cmin": -DECADES,
            "cmax": 0,
            "colorscale": "@loss",
            "showscale": False,
            # A path below the ground, where its true loss is, has to be seen through it.
            "opacity": 0.92 if all(view.whole for view in views.values()) else 0.6,
            "lighting": {"ambient": 0.75, "diffuse": 0.5, "specular": 0.05},
            "hoverinfo": "skip",
            "contours": {
                "z": {
                    "show": True,
                    "start": -DECADES,
                    "end": 0,
                    "size": DECADES / BANDS * 2,
                    "color": "@faint",
                    "width": 1,
                }
            },
        }
    ]
    moves: list[Move] = []
    for name, view in views.items():
        color = colors[name]
        # A little above, or the ground would swallow half of a path that lies in it.
        true, shown = (ground.scaled(loss) + LIFT for loss in (view.true, view.on_plane))
        data += [
            {
                "type": "scatter3d",
                "mode": "lines",
                "name": "path at its true loss" if alone else plain(name),
                "line": {"color": color, "width": 5},
                "hoverinfo": "skip",
            },
            {
                "type": "scatter3d",
                "mode": "markers",
                "marker": {"color": color, "size": 4, "line": {"color": "@ground", "width": 1}},
                "showlegend": False,
                "hoverinfo": "skip",
            },
            {
                "type": "scatter3d",
                "mode": "lines",
                "name": "to the ground below",
                "line": {"color": "@ink", "width": 3},
                "showlegend": False,
                "hoverinfo": "skip",
            },
        ]
        place = len(data)
        for key, values in zip("xyz", (view.path[:, 0], view.path[:, 1], true), strict=True):
            below = shown if key == "z" else values
            moves += [
                Move(place - 3, key, values, view.steps, trail=True),
                Move(place - 2, key, values[:, None], view.steps),
                Move(place - 1, key, np.stack([values, below], axis=1), view.steps),
            ]
    sides = {
        f"{key}axis": {
            "title": {"text": name, "font": {"size": 11}},
            "gridcolor": "@faint",
            "zeroline": False,
            "showbackground": False,
            "linecolor": "@muted",
            "tickfont": {"size": 10},
            "nticks": 5,
            "showspikes": False,
        }
        for key, name in zip("xyz", (*names, "loss"), strict=True)
    }
    sides["zaxis"] |= ticks
    frame = layout(
        margin={"l": 0, "r": 0, "t": 4, "b": 0},
        scene={
            **sides,
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 0.65},
            "dragmode": "turntable",
            "camera": {"eye": _eye(first), "center": {"x": 0, "y": 0, "z": -0.2}},
            "bgcolor": CLEAR,
        },
    )
    return Plot("3-D", data, frame, moves)


def _eye(view: LandscapeView) -> dict[str, float]:
    """A place to look from, on the side where the path begins: no hill stands in front of it."""
    middle = np.array([view.a.mean(), view.b.mean()])
    side = (view.path[0] - middle) / np.array([np.ptp(view.a), np.ptp(view.b)])
    turn = np.arctan2(side[1], side[0]) + 0.5 if np.isfinite(side).all() and side.any() else -0.8
    return {"x": float(1.5 * np.cos(turn)), "y": float(1.5 * np.sin(turn)), "z": 1.55}


def _sizes(arrows: Arrows) -> Plot:
    """The length of each part over the steps."""
    forces = arrows.forces
    data, moves = [], []
    for i, (name, sizes) in enumerate(forces.sizes.items()):
        shown = np.where(sizes > 0, sizes, np.nan)  # nothing has no logarithm
        data.append(curve(name, i, x=forces.steps, y=shown, hovertemplate="%{y:.4g}"))
        data[-1]["line"] |= {"color": force_color(name), "dash": "solid"}
    for i, sizes in enumerate(forces.sizes.values()):
        data.append(mark(data[i]["line"]["color"]))
        moves += [
            Move(len(data) - 1, "x", forces.steps[:, None], forces.steps),
            Move(len(data) - 1, "y", np.where(sizes > 0, sizes, np.nan)[:, None], forces.steps),
        ]
    every = np.concatenate(list(forces.sizes.values()))
    positive = every[every > 0] if (every > 0).any() else np.ones(1)
    return Plot("Forces", data, over_steps("length", positive), moves, time=True)
