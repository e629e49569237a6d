"""The panel of the hidden units: their lines, their responses, and the space they span."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from toyml.report.packing import levels
from toyml.report.panels.layout import (
    axis,
    bar,
    curve,
    layout,
    of_rows,
    plane,
    points,
    shapes,
    span,
)
from toyml.report.scene import Choice, Move, Panel, Plot, Spec
from toyml.report.theme import line_token

if TYPE_CHECKING:
    from toyml.views.hidden import HiddenView

SOLIDS = ("circle", "diamond", "square", "cross", "x", "circle-open", "diamond-open")
"""Symbols of classes in space, which has no triangles."""

NAMED = 8
"""Units that a legend can name."""

OFFERED = 24
"""Units that can be chosen for the space: each of them takes some 50 kB of the page."""

ARROW = 0.06  # length of the stroke to the side where a unit is on, as a share of the picture


def hidden_panel(views: Mapping[str, HiddenView]) -> Panel:
    """What the hidden units do; of several runs one at a time.

    Args:
        views: By name of the run; of one run the name is not shown.
    """
    alone = len(views) == 1
    drawn = [(name, plot) for name, view in views.items() for plot in plots_of(view)]
    counts = {name: view.activations.shape[2] for name, view in views.items()}
    first = next(iter(views.values()))
    if alone:
        (h,) = counts.values()
        units = f"{h} hidden unit{'s' if h > 1 else ''}"
        title = f"The {units}" if h > 1 else "The hidden unit"
    else:
        units = ", ".join(
            f"{h} hidden unit{'s' if h > 1 else ''} of {n}" for n, h in counts.items()
        )
        title = "The hidden units of each run"
    said = " ".join(dict.fromkeys(s for view in views.values() for s in words_of(view)))
    kinds = dict.fromkeys(plot.label.lower() for _, plot in drawn)
    last = int(max(view.steps[-1] for view in views.values()))
    return Panel(
        name="hidden",
        title=title,
        caption=said + of_rows(len(first.x), first.total),
        alt=f"{', '.join(kinds).capitalize()} of {units} from step {first.steps[0]:,} to "
        f"{last:,}, with {len(first.x):,} rows. {said}",
        plots=[
            plot if alone else replace(plot, label=f"{name}: {plot.label.lower()}")
            for name, plot in drawn
        ],
    )


def plots_of(view: HiddenView) -> list[Plot]:
    """All that can be drawn of one run's units."""
    plots = []
    if view.lines is not None:
        plots.append(lines_plot(view))
    if view.responses is not None:
        plots.append(responses_plot(view))
    return [*plots, space_plot(view)]


def words_of(view: HiddenView) -> list[str]:
    """How to read it, in sentences."""
    h, two = view.activations.shape[2], len(view.names) == 2
    words = []
    if view.lines is not None:
        words.append("A unit switches at its line; the short stroke points to where it is on.")
        words += [shapes(view.names).strip()] if two else []
    if view.responses is not None:
        words.append("Each curve is the activation of one unit over the input.")
    if h >= 3:
        words.append("In the space, each row has the activations of three units as coordinates.")
        words += [f"There {view.names[1]} has diamonds."] if two else []
        if h > OFFERED:
            words.append(f"The {OFFERED} units that differ most between rows can be chosen.")
    elif h == 2:
        words.append("In the space, each row has the activations of both units as coordinates.")
    if view.plane is not None:
        words.append("The plane is where the output changes its mind.")
    return words


def lines_plot(view: HiddenView) -> Plot:
    """The line of each unit over the data, with a stroke to its positive side."""
    assert view.lines is not None
    assert view.normals is not None
    assert view.box is not None
    xmin, xmax, ymin, ymax = view.box
    t, h = view.lines.shape[:2]
    middle = view.lines.mean(axis=2)
    tip = middle + ARROW * (xmax - xmin) * view.normals
    gap = np.full_like(middle, np.nan)
    # [t, h, 5, 2]: one end, the other, a gap, and the stroke.
    strokes = np.stack([view.lines[:, :, 0], view.lines[:, :, 1], gap, middle, tip], axis=2)
    data = points(view.x[:, 0], view.x[:, 1], view.y, view.names)
    moves = []
    colors = free_colors(view)
    for unit in range(h):
        line = curve(f"unit {unit + 1}", colors[unit % len(colors)], hoverinfo="name")
        line["line"]["width"] = 2.5 if h <= NAMED else 1.5
        line["showlegend"] = h <= NAMED
        moves += [
            Move(len(data), key, strokes[:, unit, :, place].reshape(t, -1), view.steps)
            for place, key in enumerate("xy")
        ]
        data.append(line)
    frame = plane("x₁", "x₂", np.array([xmin, xmax]), np.array([ymin, ymax]))
    return Plot("Lines", data, frame, moves)


def free_colors(view: HiddenView) -> list[int]:
    """Places in the palette that no class has taken; all of them where there are no classes."""
    taken = max(2, int(view.y.max()) + 1) if view.classes else 0
    return list(range(taken % 7, 7))


def responses_plot(view: HiddenView) -> Plot:
    """The activation of each unit over the one input."""
    assert view.grid is not None
    assert view.responses is not None
    h = view.responses.shape[2]
    packed = [levels(view.responses[:, :, unit]) for unit in range(h)]
    data = [
        curve(
            f"unit {unit + 1}",
            unit,
            x=view.grid,
            hovertemplate=f"unit {unit + 1}: %{{y:.4f}} at %{{x:.4g}}<extra></extra>",
        )
        for unit in range(h)
    ]
    return Plot(
        "Responses",
        data,
        layout(
            xaxis=axis("x", range=[float(view.grid[0]), float(view.grid[-1])]),
            yaxis=axis("activation", range=span(view.responses)),
            showlegend=h <= NAMED,
        ),
        [Move(unit, "y", packed[unit], view.steps) for unit in range(h)],
    )


def space_plot(view: HiddenView) -> Plot:
    """The rows with the activations of up to three units as coordinates."""
    units = offered(view)
    h = len(units)
    if h == 1:
        return _strip(view)
    activations = view.activations[:, :, units]
    keys = "xyz"[: min(h, 3)]
    data, moves = [], []
    for label, rows, marker in _groups(view):
        packed = levels(activations[:, rows])
        data.append(
            {
                "type": "scatter3d" if h >= 3 else "scatter",
                "mode": "markers",
                "name": label,
                "showlegend": view.classes,
                "marker": {**marker, "size": 3 if h >= 3 else 6},
                "hovertemplate": ", ".join(f"%{{{key}:.3f}}" for key in keys)
                + f"<extra>{label}</extra>",
            }
        )
        moves += [
            Move(len(data) - 1, key, packed, view.steps, choice=place)
            for place, key in enumerate(keys)
        ]
    if view.plane is not None:
        data.append(_cut())
        moves += [
            Move(len(data) - 1, key, view.plane[:, :, place], view.steps)
            for place, key in enumerate(keys)
        ]
    bounds = span(activations)
    names = [f"unit {unit + 1}" for unit in units]
    prefix = "scene." if h >= 3 else ""
    choices = [
        Choice(key, names, place, (f"{prefix}{key}axis.title.text",))
        for place, key in enumerate(keys)
    ]
    return Plot("Space", data, _space(names, bounds, h >= 3), moves, choices=choices)


def offered(view: HiddenView) -> list[int]:
    """Units for the space: of many those that differ most between the rows at the last step."""
    h = view.activations.shape[2]
    if h <= OFFERED:
        return list(range(h))
    spread = np.nan_to_num(view.activations[-1].std(axis=0))
    return sorted(np.argsort(-spread, kind="stable")[:OFFERED].tolist())


def _space(names: list[str], bounds: list[float], three: bool) -> Spec:
    if not three:
        return layout(
            xaxis=axis(names[0], range=bounds, constrain="domain"),
            yaxis=axis(names[1], range=bounds, constrain="domain", scaleanchor="x"),
        )
    sides = {
        f"{key}axis": {
            "title": {"text": names[place], "font": {"size": 11}},
            "range": bounds,
            "gridcolor": "@faint",
            "zeroline": False,
            "showbackground": False,
            "linecolor": "@muted",
            "tickfont": {"size": 10},
            "nticks": 5,
            "showspikes": False,
        }
        for place, key in enumerate("xyz")
    }
    return layout(
        margin={"l": 0, "r": 0, "t": 4, "b": 0},
        scene={
            **sides,
            "aspectmode": "cube",
            "dragmode": "turntable",
            "camera": {
                "eye": {"x": 1.5, "y": 1.5, "z": 1.0},
                "center": {"x": 0, "y": 0, "z": -0.15},
            },
            "bgcolor": "rgba(0,0,0,0)",
        },
    )


def _groups(view: HiddenView) -> list[tuple[str, Any, Spec]]:
    """Rows that share a color: classes, or all of them by target."""
    if view.classes:
        return [
            (
                view.names[label],
                np.flatnonzero(view.y == label),
                {"color": line_token(label), "symbol": SOLIDS[label % len(SOLIDS)]},
            )
            for label in np.unique(view.y).astype(int).tolist()
        ]
    value, name = (view.x[:, 0], "x") if view.grid is not None else (view.y, "target")
    marker = {
        "color": value,
        "colorscale": "Viridis",
        "colorbar": bar(name),
    }
    return [("rows", np.arange(len(view.x)), marker)]


def _cut() -> Spec:
    """The polygon in which the output's plane cuts the cube, as a fan of triangles."""
    return {
        "type": "mesh3d",
        "name": "output changes its mind",
        "i": [0, 0, 0, 0],
        "j": [1, 2, 3, 4],
        "k": [2, 3, 4, 5],
        "color": line_token(2),
        "opacity": 0.35,
        "flatshading": True,
        "lighting": {"ambient": 1, "diffuse": 0, "specular": 0},
        "hoverinfo": "name",
        "showlegend": True,
    }


def _strip(view: HiddenView) -> Plot:
    """One unit: its activation along one axis, the target along the other."""
    data, moves = [], []
    for label, rows, marker in _groups(view):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "y": view.y[rows],
                "marker": {**marker, "size": 7, "opacity": 0.6},
                "hovertemplate": f"%{{x:.4f}}<extra>{label}</extra>",
            }
        )
        moves.append(Move(len(data) - 1, "x", levels(view.activations[:, rows, 0]), view.steps))
    frame = layout(
        xaxis=axis("activation of the unit", range=span(view.activations)),
        yaxis=axis("target", range=span(view.y, room=0.2)),
    )
    return Plot("Space", data, frame, moves)
