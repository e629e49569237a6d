"""Several runs over one plane: the same axes, the same ground."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from toyml import measures
from toyml.claims import NotApplicable
from toyml.measures import Plane
from toyml.run import Run
from toyml.views.landscape import LandscapeView, drawn, minimum_on, name_of, window_of
from toyml.views.planes import ParameterPlane, default_plane, doubled


def shared_landscape_views(
    runs: Mapping[str, Run], grid: int = 51, most: int = 200
) -> dict[str, LandscapeView]:
    """The paths of several runs over one plane, with the loss of the first run as ground.

    The plane is that of the two parameters of nets that have two, and otherwise the principal
    plane of all paths together. Each run's true losses are its own, on its own rows.

    Args:
        runs: Runs by name; those whose parameters have other shapes than the first one's are left
            out.
        grid: Points per side.
        most: Snapshots of each path, at most.

    Returns:
        For each run that is shown, a view with the shared axes and ground.

    Raises:
        NotApplicable: Fewer than two runs have the same parameters, or the first one's loss cannot
            be evaluated.
    """
    first = next(iter(runs.values()))
    same = {n: r for n, r in runs.items() if r.trajectory.shapes == first.trajectory.shapes}
    if len(same) < 2:
        raise NotApplicable("no other run has the parameters of the first")
    found = {name: drawn(run, most) for name, run in same.items()}
    chosen = {name: indices for name, (indices, _) in found.items()}
    paths = {name: doubled(run.trajectory.select(chosen[name])) for name, run in same.items()}
    kind = default_plane(first)
    if isinstance(kind, ParameterPlane):
        plane, axes = kind.lay(first, chosen[next(iter(same))]), kind.axes(first)
    else:
        own = first.trajectory.shapes  # without buffers
        plane = plane_of_all({n: {k: path[k] for k in own} for n, path in paths.items()})
        axes = ("principal component 1 of all paths", "principal component 2")
    shadows = {}
    for name, run in same.items():
        x, y = run.rows()
        shadows[name] = measures.project(run.net, run.loss, plane, paths[name], x, y)
    every = torch.cat([shadow.coordinates for shadow in shadows.values()]).numpy()
    # In units of each run's own beginning, so that another loss does not count as run away.
    heights = torch.cat([s.true / s.true[0].clamp(min=1e-300) for s in shadows.values()]).numpy()
    a, b = (
        torch.linspace(low, high, grid, dtype=torch.float64)
        for low, high in window_of(every, heights, 0.0)
    )
    x, y = (rows.double() for rows in first.data)
    ground = measures.landscape(first.net, {"": first.loss}, plane, a, b, x, y)[""].numpy()
    minimum = minimum_on(first, plane)
    return {
        name: LandscapeView(
            axes,
            a.numpy(),
            b.numpy(),
            {name_of(first.loss): ground},
            run.trajectory.steps[chosen[name]],
            shadow.coordinates.numpy(),
            shadow.true.numpy(),
            shadow.on_plane.numpy(),
            shadow.distance.numpy(),
            shadow.extent,
            shadow.explained,
            f"{measures.verdict(run.trajectory.steps[chosen[name]].tolist(), shadow)} "
            f"{found[name][1]}".strip(),
            minimum,
        )
        for (name, run), shadow in zip(same.items(), shadows.values(), strict=True)
    }


def plane_of_all(paths: Mapping[str, measures.Parameters]) -> Plane:
    """The principal plane of the snapshots of all paths.

    Raises:
        NotApplicable: They span no plane.
    """
    first, *_ = paths.values()
    together = {name: torch.cat([path[name] for path in paths.values()]) for name in first}
    try:
        return measures.principal_plane(together)
    except ValueError as error:
        raise NotApplicable(str(error)) from error
