"""Panels over the steps: the loss, the parameters, the curvature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from toyml.report.panels.layout import (
    axis,
    curve,
    each_says,
    layout,
    over_steps,
    places,
    plain,
    run_curve,
    short,
    span,
)
from toyml.report.scene import Choice, Column, Move, Panel, Plot, Reading, Spec
from toyml.report.theme import line_token

if TYPE_CHECKING:
    from toyml.views.curvature import CurvatureView
    from toyml.views.loss import LossView
    from toyml.views.weights import WeightsView

NAMED = 8  # curves that a legend can name


def loss_panel(views: Mapping[str, LossView], runs: Sequence[str] = ()) -> Panel:
    """The loss over the steps, the panel by which one jumps to a step.

    Args:
        views: By name of the run; of one run the name is not shown.
        runs: Names of all runs of the page, whose places give them their colors.
    """
    alone, place = len(runs or views) == 1, places(views, runs)
    data, moves, marks = [], [], []
    for name, view in views.items():
        drawn = {"x": view.steps, "y": view.loss, "hovertemplate": "%{y:.6g}"}
        data.append(
            curve("training rows", 0, **drawn) if alone else run_curve(name, place[name], **drawn)
        )
        marks.append(mark(data[-1]["line"]["color"]))
    for i, view in enumerate(views.values()):
        moves += [
            Move(len(data) + i, "x", view.steps[:, None], view.steps),
            Move(len(data) + i, "y", view.loss[:, None], view.steps),
        ]
    data += marks
    for name, view in views.items():
        if view.held_out is not None:
            steps, values = view.held_out
            drawn = {"x": steps, "y": values, "hovertemplate": "%{y:.6g}"}
            data.append(
                curve("held-out rows", 1, **drawn)
                if alone
                else run_curve(f"{name}, held-out rows", place[name], **drawn)
            )
            data[-1]["line"]["dash"] = "dot"
    every = np.concatenate([view.loss for view in views.values()])
    kinds = list(dict.fromkeys(view.quantity for view in views.values()))
    quantity = kinds[0] if len(kinds) == 1 else "loss (each run's own)"
    words = each_says(
        {name: f"{view.words[0].upper()}{view.words[1:]}." for name, view in views.items()}
    )
    return Panel(
        name="loss",
        title="The loss over the steps",
        caption=f"Click or tap to go to a step. {words}",
        alt=f"Curve of the {quantity} over the steps. {words}",
        plots=[
            Plot(
                "Loss",
                data,
                over_steps(quantity, every, showlegend=len(data) > 2),
                moves,
                time=True,
            )
        ],
    )


def mark(color: str, size: float = 9) -> Spec:
    """The point that runs along a curve of this color."""
    return {
        "type": "scatter",
        "mode": "markers",
        "marker": {
            "size": size,
            "color": color,
            "line": {"color": "@ground", "width": 2},
        },
        "showlegend": False,
        "hoverinfo": "skip",
    }


def weights_panel(views: Mapping[str, WeightsView], runs: Sequence[str] = ()) -> Panel:
    """Every parameter over the steps, and their values at the step.

    Args:
        views: By name of the run; of several runs one parameter is chosen and drawn for each.
        runs: Names of all runs of the page, whose places give them their colors.
    """
    if len(runs or views) == 1:
        return _one_run(next(iter(views.values())))
    return _several_runs(views, places(views, runs))


def _one_run(view: WeightsView) -> Panel:
    names = short(view.names)
    p, few = len(names), len(names) <= NAMED
    hover = "x unified" if few else "closest"
    data = [
        curve(name, i, x=view.steps, y=view.values[:, i], hovertemplate="%{y:.5g}")
        for i, name in enumerate(names)
    ]
    for line in data:
        line["line"]["width"] = 2 if few else 1.4
    colors = [line_token(i) for i in range(p)]
    dots = mark("", 8 if few else 6)
    dots["marker"]["color"] = colors
    over = Plot(
        "Over the steps",
        [*data, dots],
        over_steps("value", view.values, showlegend=few, hovermode=hover),
        [
            Move(p, "x", np.repeat(view.steps[:, None], p, axis=1), view.steps),
            Move(p, "y", view.values, view.steps),
        ],
        time=True,
    )
    if not few:
        for line, name in zip(data, names, strict=True):
            line["hovertemplate"] = f"{plain(name)} %{{y:.5g}}<extra></extra>"
    bars: Spec = {
        "type": "bar",
        "x": [plain(name) for name in names],
        "marker": {"color": colors},
        "hovertemplate": "%{x} = %{y:.6g}<extra></extra>",
    }
    now = Plot(
        "At this step",
        [bars],
        layout(
            xaxis=axis("", type="category", showgrid=False, tickangle=-50 if p > 4 else 0),
            yaxis=axis(
                "value", range=span(view.values, np.zeros(1)), zeroline=True, zerolinecolor="@muted"
            ),
            showlegend=False,
        ),
        [Move(0, "y", view.values, view.steps)],
    )
    of = f"{view.of[0].upper()}{view.of[1:]}"
    ends = ", ".join(f"{n} {v:.5g}" for n, v in zip(names[:6], view.values[-1], strict=False))
    return Panel(
        name="weights",
        title="The parameters",
        caption=f"{of} parameters over the steps.",
        alt=f"{of} parameters as curves over the steps; at step {view.steps[-1]:,} they are "
        f"{ends}{' and so on' if p > 6 else ''}.",
        plots=[over, now],
        readings=[
            Reading(name, view.values[:, i], view.steps) for i, name in enumerate(names) if p <= 4
        ],
    )


def _several_runs(views: Mapping[str, WeightsView], place: Mapping[str, int]) -> Panel:
    shared = [
        n for n in next(iter(views.values())).names if all(n in v.names for v in views.values())
    ]
    names = short(shared)
    data, columns, moves = [], [], []
    for i, (name, view) in enumerate(views.items()):
        places = [view.names.index(n) for n in shared]
        values = view.values[:, places]
        data.append(
            run_curve(name, place[name], x=view.steps, y=values[:, 0], hovertemplate="%{y:.5g}")
        )
        columns.append(Column(i, "y", values, 0))
        moves += [
            Move(len(views) + i, "x", view.steps[:, None], view.steps),
            Move(len(views) + i, "y", values[:, None, :], view.steps, choice=0),
        ]
    data += [mark(line["line"]["color"]) for line in data[: len(views)]]
    return Panel(
        name="weights",
        title="A parameter of every run",
        caption=f"One of the {len(names)} parameters that the runs share; choose which.",
        alt=f"A parameter, chosen among {', '.join(names[:8])}, over the steps for "
        f"{' and '.join(views)}.",
        plots=[
            Plot(
                "Over the steps",
                data,
                over_steps(plain(names[0]), np.zeros(1)),
                moves,
                columns,
                [Choice("parameter", names, 0, ("yaxis.title.text",))],
                time=True,
            )
        ],
    )


def curvature_panel(views: Mapping[str, CurvatureView], runs: Sequence[str] = ()) -> Panel:
    """The sharpness over the steps against the limit of the optimizer in use.

    Args:
        views: By name of the run; of one run the name is not shown.
        runs: Names of all runs of the page, whose places give them their colors.
    """
    alone, place = len(runs or views) == 1, places(views, runs)
    data: list[Spec] = []
    readings = []
    for name, view in views.items():
        drawn = {"x": view.steps, "y": view.sharpness, "hovertemplate": "%{y:.5g}"}
        data.append(
            curve("sharpness", 0, **drawn) if alone else run_curve(name, place[name], **drawn)
        )
        readings.append(Reading("sharpness" if alone else name, view.sharpness, view.steps))
    count = len(data)
    moves = []
    for i, view in enumerate(views.values()):
        data.append(mark(data[i]["line"]["color"]))
        moves += [
            Move(count + i, "x", view.steps[:, None], view.steps),
            Move(count + i, "y", view.sharpness[:, None], view.steps),
        ]
    for name, view in views.items():
        if view.limit is not None:
            label = f"limit {view.formula}"
            drawn = {"x": view.steps, "y": view.limit, "hovertemplate": "%{y:.5g}"}
            data.append(
                curve(label, 1, **drawn)
                if alone
                else run_curve(f"{name}, {label}", place[name], **drawn)
            )
            data[-1]["line"]["dash"] = "dash"
            data[-1]["showlegend"] = alone
            if alone:
                readings.append(Reading("limit", view.limit, view.steps))
    shown = [view.sharpness for view in views.values()]
    shown += [view.limit for view in views.values() if view.limit is not None]
    every = np.concatenate(shown)
    limited = any(view.limit is not None for view in views.values())
    if alone:
        words = next(iter(views.values())).words
    else:
        words = each_says({name: f"{view.headline}." for name, view in views.items()})
        words += " Dashed: the limit of each run's optimizer." if limited else ""
    return Panel(
        name="curvature",
        title=f"Curvature{' against the limit of the optimizer' if limited else ''}",
        caption=words,
        alt=f"Largest eigenvalue of the Hessian over the steps. {words}",
        plots=[Plot("Curvature", data, over_steps("sharpness", every), moves, time=True)],
        readings=readings,
    )
