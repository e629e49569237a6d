"""The panels of the page, made from runs: views on one side, Plotly figures on the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from toyml import views
from toyml.claims import NotApplicable
from toyml.errors import UserError
from toyml.report import panels
from toyml.report.scene import Panel, Scene
from toyml.run import Run

STOPS = 100
"""Steps at which the slider can stop, at most."""

View = TypeVar("View")


def scene(runs: Mapping[str, Run]) -> Scene | None:
    """Everything that can be shown in motion of one run, or of several together.

    Args:
        runs: Runs by name; the name of a single one is not shown.

    Returns:
        ``None`` where nothing was recorded.
    """
    steps = stops(runs)
    if not len(steps):
        return None
    made: list[Panel] = []
    left_out: dict[str, str] = {}

    def add(name: str, make: Callable[[], Panel]) -> None:
        try:
            made.append(make())
        except (NotApplicable, UserError, NotImplementedError, ArithmeticError) as why:
            left_out[name] = str(why).rstrip(".") or type(why).__name__

    add("The plane of the inputs", lambda: inputs_panel(runs))
    if len(runs) == 1:
        (run,) = runs.values()
        add("What the hidden units do", lambda: panels.hidden_panel(views.hidden_view(run)))
    add("The loss", lambda: panels.loss_panel(each(runs, views.loss_view)))
    add("The parameters", lambda: panels.weights_panel(each(runs, views.weights_view)))
    return Scene(
        steps,
        made,
        {name: int(run.trajectory.steps[-1]) for name, run in runs.items()} if len(runs) > 1 else {},
        losses(runs),
        left_out,
        log=early(runs, steps),
    )


def early(runs: Mapping[str, Run], steps: np.ndarray) -> bool:
    """Whether most of the way down is done in the first tenth of the steps: then log time serves.

    Args:
        runs: The runs.
        steps: The stops of the slider.
    """
    tenth = steps[0] + 0.1 * (steps[-1] - steps[0])
    shares = []
    for at, loss in losses(runs).values():
        finite = np.isfinite(loss)
        if finite.any():
            before = loss[finite & (at <= tenth)]
            way = np.ptp(loss[finite])
            shares.append(np.ptp(before) / way if len(before) and way else 0.0)
    return bool(shares) and float(np.mean(shares)) > 0.6


def stops(runs: Mapping[str, Run]) -> np.ndarray:
    """The steps at which the slider stops, out of those of all runs."""
    most = max(2, STOPS // len(runs))
    found = [run.trajectory.steps[views.frames(run, most)] for run in runs.values()]
    return np.unique(np.concatenate(found))


def each(runs: Mapping[str, Run], view: Callable[[Run], View]) -> dict[str, View]:
    """A view of every run that has it.

    Raises:
        NotApplicable: No run has it; the reason of the first.
    """
    found: dict[str, View] = {}
    reasons = []
    for name, run in runs.items():
        try:
            found[name] = view(run)
        except (NotApplicable, UserError) as why:
            reasons.append(why)
    if not found:
        raise reasons[0]
    return found


def inputs_panel(runs: Mapping[str, Run]) -> Panel:
    """What the net makes of its inputs: over their plane, over their axis, or row by row."""
    for view, panel in (
        (views.boundary_view, panels.boundary_panel),
        (views.fit_view, panels.fit_panel),
    ):
        try:
            return panel(each(runs, view))
        except NotApplicable:
            continue
    return panels.rows_panel(each(runs, views.rows_view))


def losses(runs: Mapping[str, Run]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves from which the loss beside the slider is read."""
    try:
        found = each(runs, views.loss_view)
    except (NotApplicable, UserError):
        return {}
    return {
        name if len(runs) > 1 else "": (view.steps, view.loss) for name, view in found.items()
    }
