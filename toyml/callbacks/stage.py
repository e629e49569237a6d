"""The panels of the page, made from runs: views on one side, Plotly figures on the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import numpy as np

from toyml import views
from toyml.callbacks.references import all_lines
from toyml.claims import NotApplicable
from toyml.configured import instantiate
from toyml.errors import UserError
from toyml.report import panels
from toyml.report.scene import Panel, Scene
from toyml.run import Run
from toyml.views.forces import on_plane
from toyml.views.shared import shared_landscape_views

STOPS = 100
"""Steps at which the slider can stop, at most."""

PATIENCE = 5e9
"""Evaluations times parameters times rows of a panel that nobody asked for; some seconds."""

GRID_POINTS = 51 * 51

MOST_GRADIENTS = 4_000_000
"""Rows times steps of a run whose steps the page takes apart; they take about half a second."""

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
        except (NotApplicable, UserError) as why:
            left_out[name] = str(why).rstrip(".")
        except Exception as error:  # a net of the user's own may raise anything; the rest lives
            said = " ".join(str(error).split()).rstrip(".")
            left_out[name] = f"{type(error).__name__}: {said}" if said else type(error).__name__

    add("The plane of the inputs", lambda: inputs_panel(runs))
    add("What the hidden units do", lambda: panels.hidden_panel(each(runs, views.hidden_view)))
    add("The landscape", lambda: landscape_panel(runs))
    every = list(runs)
    add("The loss", lambda: panels.loss_panel(each(runs, views.loss_view), every))
    add("The parameters", lambda: panels.weights_panel(weights(runs), every))
    add("The curvature", lambda: panels.curvature_panel(each(runs, curvature), every))
    ends = {name: int(run.trajectory.steps[-1]) for name, run in runs.items()}
    return Scene(
        steps,
        made,
        ends if len(runs) > 1 else {},
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


def landscape_panel(runs: Mapping[str, Run]) -> Panel:
    """The path of one run with what adds up to its steps; or the paths of several."""
    if len(runs) > 1:
        return panels.landscape_panel(shared_landscape_views(runs), runs=list(runs))
    (run,) = runs.values()
    see_to_patience(run, GRID_POINTS, "Landscape")
    view = views.landscape_view(run)
    return panels.landscape_panel({run.name: view}, arrows(run, view))


def curvature(run: Run) -> views.CurvatureView:
    """The curvature of a run, unless that takes too long."""
    p = sum(math.prod(shape) for shape in run.trajectory.shapes.values())
    see_to_patience(run, len(views.frames(run, 200)) * min(p, 200), "Curvature")
    return views.curvature_view(run)


def see_to_patience(run: Run, passes: int, figure: str) -> None:
    """Refuse what takes much longer than the page, unless the config asks for such a figure.

    Args:
        run: The run.
        passes: How often the net is evaluated on all rows.
        figure: Class name of the figure that shows the same.

    Raises:
        NotApplicable: It takes too long.
    """
    p = sum(math.prod(shape) for shape in run.trajectory.shapes.values())
    n = len(run.data[0])
    if passes * p * n > PATIENCE and not asked_for(run, figure):
        raise NotApplicable(
            f"{passes:,} evaluations of {p:,} parameters on {n:,} rows take too long for the page; "
            f"add toyml.callbacks.{figure} to the config to have it nevertheless"
        )


def asked_for(run: Run, figure: str) -> bool:
    """Whether the run's config has a figure of this class name."""
    trainer = run.config.get("trainer") or {}
    return any(
        isinstance(callback, Mapping) and str(callback.get("class_path")).endswith(f".{figure}")
        for callback in trainer.get("callbacks") or []
    )


def arrows(run: Run, view: views.LandscapeView) -> panels.Arrows | None:
    """What adds up to each step; ``None`` where that is not known or takes longer than the page.

    Where the config has a figure of the forces, they are known. The gradient of every step is
    needed, because momentum remembers all of them.
    """
    try:
        gradients = int(run.trajectory.steps[-1]) * len(run.data[0])
        if gradients > MOST_GRADIENTS and not asked_for(run, "Forces"):
            return None
        forces = views.forces_view(run)
    except (NotApplicable, UserError):
        return None
    if forces.steps[-1] + 1 < run.trajectory.steps[-1]:
        return None
    parts = forces.components if len(forces.components) > 1 else {}
    return panels.Arrows(forces, on_plane({**parts, "the step": forces.step}, view.directions))


def weights(runs: Mapping[str, Run]) -> dict[str, views.WeightsView]:
    """The parameters of every run.

    Raises:
        NotApplicable: Several runs that share no parameter.
    """
    found = each(runs, views.weights_view)
    if not set.intersection(*(set(view.names) for view in found.values())):
        raise NotApplicable("the runs have no parameters of the same names")
    return found


def inputs_panel(runs: Mapping[str, Run]) -> Panel:
    """What the net makes of its inputs: over their plane, over their axis, or row by row."""
    every = list(runs)
    with suppress(NotApplicable):
        return panels.boundary_panel(each(runs, views.boundary_view), references(runs), every)
    with suppress(NotApplicable):
        return panels.fit_panel(each(runs, views.fit_view), every)
    with suppress(NotApplicable):
        return panels.classes_panel(each(runs, views.classes_view))
    return panels.rows_panel(each(runs, views.rows_view), every)


def references(runs: Mapping[str, Run]) -> dict[str, tuple[tuple[float, float], float]]:
    """The exact lines that the first run's config draws beside its boundary, by name."""
    run = next(iter(runs.values()))
    trainer = run.config.get("trainer") or {}
    asking = [
        callback
        for callback in trainer.get("callbacks") or []
        if isinstance(callback, Mapping) and (callback.get("init_args") or {}).get("references")
    ]
    if not asking:
        return {}
    with suppress(NotApplicable, UserError):
        built = instantiate(
            {"trainer": {"callbacks": asking}}, ["callbacks"], str(run.folder), trust=run.trust
        )["callbacks"]
        lines = all_lines(run, [line for callback in built for line in callback.references])
        return {name: ((float(w[0]), float(w[1])), float(b)) for name, (w, b) in lines.items()}
    return {}


def losses(runs: Mapping[str, Run]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves from which the loss beside the slider is read."""
    try:
        found = each(runs, views.loss_view)
    except Exception:  # whatever it is, the panel of the loss says it
        return {}
    return {name if len(runs) > 1 else "": (view.steps, view.loss) for name, view in found.items()}
