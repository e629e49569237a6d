"""The loss over a plane with the path on it, and how far the two can be believed together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toyml import measures
from toyml.claims import NotApplicable
from toyml.claims.minimum import exact_minimum
from toyml.measures.projection import WRONG_HEIGHT
from toyml.run import Run
from toyml.views.frames import frames
from toyml.views.kept import kept
from toyml.views.planes import RunPlane, default_plane, doubled

MARGIN = 0.18
"""Room on each side of the path, as a part of the window."""

FLATTEST = 0.35
"""The shorter side of a window is at least that part of the longer one."""

HIGH = 10.0
"""Snapshots with a loss that many times the first one's do not stretch the window."""

RUN_AWAY = 1e6
"""A path ends where the loss is that many times the first one."""

NEGLIGIBLE = 1e-4
"""A path lies in a plane when no snapshot is further off than this part of its extent."""


class LandscapeView(NamedTuple):
    """A loss over a plane and a path.

    Attributes:
        names: Of the two axes.
        a: Horizontal coordinates [g].
        b: Vertical coordinates [g].
        surfaces: Losses on the grid [g, g] by name (rows go with b); the run's own comes first.
        steps: Numbers of updates done [t].
        path: The snapshots' projections onto the plane [t, 2].
        true: The run's loss at each snapshot [t].
        on_plane: Its loss at the projection [t]: the height at which the picture shows it.
        distance: Of each snapshot from the plane [t].
        extent: Largest distance of a snapshot from the path's mean, the unit of ``distance``.
        explained: Part of the path's variance that lies in the plane, 0 to 1.
        words: What may be read from the picture, in a sentence or two.
        minimum: Coordinates of the exact minimum of the run's loss [2], where one is known.
    """

    names: tuple[str, str]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    surfaces: dict[str, NDArray[np.float64]]
    steps: NDArray[np.int64]
    path: NDArray[np.float64]
    true: NDArray[np.float64]
    on_plane: NDArray[np.float64]
    distance: NDArray[np.float64]
    extent: float
    explained: float
    words: str
    minimum: NDArray[np.float64] | None

    @property
    def surface(self) -> NDArray[np.float64]:
        """The run's own loss on the grid [g, g]."""
        return next(iter(self.surfaces.values()))

    @property
    def whole(self) -> bool:
        """Whether the path lies in the plane, so that its heights are its losses."""
        return bool((self.distance <= NEGLIGIBLE * self.extent).all())

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Where the picture's height differs from the path's loss by more than a tenth [t]."""
        errors = measures.height_errors(torch.tensor(self.true), torch.tensor(self.on_plane))
        return (errors > WRONG_HEIGHT).numpy()


@kept
def landscape_view(
    run: Run,
    plane: RunPlane | None = None,
    grid: int = 51,
    most: int = 200,
    losses: tuple[nn.Module, ...] = (),
    window: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> LandscapeView:
    """The losses of all training rows over a plane through a run, in float64.

    Args:
        run: The run.
        plane: Which plane; by default the two parameters of a net that has two, and the principal
            plane of the path otherwise.
        grid: Points per side.
        most: Snapshots on the path, at most.
        losses: More losses than the run's own.
        window: Least and greatest coordinate, horizontal then vertical; by default the path with a
            margin, and as far as the plane asks for.

    Raises:
        NotApplicable: Nothing finite was recorded, the plane does not exist, or no loss on it is
            finite.
    """
    chosen, left_out = drawn(run, most)
    kind = default_plane(run) if plane is None else plane
    flat = kind.lay(run, chosen)
    x, y = run.rows()
    trajectory = doubled(run.trajectory.select(chosen))
    shadow = measures.project(run.net, run.loss, flat, trajectory, x, y)
    path, true = shadow.coordinates.numpy(), shadow.true.numpy()
    minimum = minimum_on(run, flat)
    sides = window or window_of(path, true, kind.reach(run))
    a, b = (torch.linspace(low, high, grid, dtype=torch.float64) for low, high in sides)
    every = {name_of(loss): loss for loss in (run.loss, *losses)}
    every[name_of(run.loss)] = run.loss
    surfaces = measures.landscape(run.net, every, flat, a, b, x, y)
    found = {name: surface.numpy() for name, surface in surfaces.items()}
    if not np.isfinite(found[name_of(run.loss)]).any():
        raise NotApplicable("no loss on the plane is a finite number")
    steps = run.trajectory.steps[chosen]
    return LandscapeView(
        kind.axes(run),
        a.numpy(),
        b.numpy(),
        found,
        steps,
        path,
        true,
        shadow.on_plane.numpy(),
        shadow.distance.numpy(),
        shadow.extent,
        shadow.explained,
        f"{measures.verdict(steps.tolist(), shadow)} {left_out} {statistics(run)}".strip(),
        minimum,
    )


def drawn(run: Run, most: int) -> tuple[NDArray[np.int64], str]:
    """Positions of the snapshots that a landscape shows, and a sentence on what is left out.

    A training that diverges soon leaves any picture in which its beginning can be seen: the path
    ends before the loss is ``RUN_AWAY`` times the first one (the first two are always there).

    Args:
        run: The run.
        most: Snapshots, at most.

    Raises:
        NotApplicable: No snapshot has finite parameters.
    """
    chosen = frames(run, most)
    # What a training that diverged has left is on no plane, and a loss may refuse to see it.
    chosen = chosen[np.isfinite(run.trajectory.parameters.flat[chosen]).all(1)]
    if not len(chosen):
        raise NotApplicable("the run has recorded no step with finite parameters")
    x, y = run.rows()
    states = doubled(run.trajectory.select(chosen))
    loss = measures.losses(run.net, run.loss, states, x, y).numpy()
    gone = np.flatnonzero(loss > RUN_AWAY * loss[0]) if loss[0] > 0 else np.empty(0, np.int64)
    if not len(gone):
        return chosen, ""
    chosen = chosen[: max(int(gone[0]), 2)]
    return chosen, (
        f"The path is drawn up to step {run.trajectory.steps[chosen[-1]]:,}: then the loss is more "
        "than a million times the first one."
    )


def statistics(run: Run) -> str:
    """Which buffers the surface is drawn with, where they change along the path."""
    if not run.trajectory.buffers:
        return ""
    return "The surface has the net's buffers of the last step, each point of the path its own."


def window_of(
    path: NDArray[np.float64], loss: NDArray[np.float64], reach: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The path with a margin, not too flat, and at least ``reach`` around the plane's origin.

    Args:
        path: Points [t, 2].
        loss: The loss at each [t]; what has run away does not count.
        reach: Half the least width.

    Example:
        >>> points = np.array([[0.0, 0.0], [10.0, 1.0]])
        >>> window_of(points, np.ones(2), 0.0)
        ((-2.8125, 12.8125), (-2.234375, 3.234375))
    """
    shown = np.isfinite(path).all(1) & np.isfinite(loss)
    if shown.any():
        shown &= ~(loss > HIGH * max(loss[shown][0], np.median(loss[shown])))
    points = path[shown] if shown.any() else np.zeros((1, 2))
    if reach:
        points = np.concatenate([points, [[-reach, -reach], [reach, reach]]])
    low, high = points.min(0), points.max(0)
    width = high - low
    longest = float(width.max()) or 1.0
    half = np.maximum(width, FLATTEST * longest) / (1 - 2 * MARGIN) / 2
    middle = (low + high) / 2
    (left, bottom), (right, top) = (middle - half).tolist(), (middle + half).tolist()
    return (left, right), (bottom, top)


def minimum_on(run: Run, plane: measures.Plane) -> NDArray[np.float64] | None:
    """Coordinates of the exact minimum of the run's loss, if one is known and lies in the plane."""
    try:
        minimum = exact_minimum(run)
    except NotApplicable:
        return None
    like = {name: p[None] for name, p in plane.origin.items()}
    stack = measures.unflatten(minimum[None], like)
    if float(measures.off_plane_distance(plane, stack)) > 1e-9 * float(minimum.norm()):
        return None
    return measures.coordinates(plane, stack)[0].numpy()


def name_of(loss: nn.Module) -> str:
    """The loss's class, without the word that says so.

    Example:
        >>> name_of(nn.MSELoss()), name_of(nn.BCEWithLogitsLoss())
        ('MSE', 'BCEWithLogits')
    """
    return type(loss).__name__.removesuffix("Loss") or type(loss).__name__
