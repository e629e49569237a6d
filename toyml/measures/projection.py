"""How far a picture of a plane can be trusted about a path that does not lie in it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from toyml.measures.evaluate import losses
from toyml.measures.flat import flatten
from toyml.measures.forward import Parameters
from toyml.measures.plane import Plane, at, coordinates, off_plane_distance

WRONG_HEIGHT = 0.1
"""A height is wrong when it differs from the true loss by more than this part of the true loss."""

SMALL_HEIGHT = 0.01
"""True losses below this part of the path's range count as that much: the eye sees no smaller."""

FAR_DISTANCE = 0.1
"""A snapshot is far off when its distance is more than this part of the path's extent."""

NEGLIGIBLE = 1e-4
"""A path lies in the plane when no snapshot is further off than this part of its extent."""


class Projection(NamedTuple):
    """A path beside its shadow on a plane.

    Attributes:
        coordinates: Of each snapshot's orthogonal projection, [t, 2].
        distance: Of each snapshot from its projection, [t], in float64.
        true: Loss of each snapshot, [t].
        on_plane: Loss at its projection, [t]: the height a picture of the plane shows.
        explained: Part of the path's variance within the plane, in [0, 1]; 1 if it does not move.
        extent: Largest distance between a snapshot and the path's mean, the unit of ``distance``.
    """

    coordinates: Tensor
    distance: Tensor
    true: Tensor
    on_plane: Tensor
    explained: float
    extent: float


def project(
    net: nn.Module, loss: nn.Module, plane: Plane, trajectory: Parameters, x: Tensor, y: Tensor
) -> Projection:
    r"""Every snapshot against its orthogonal projection onto a plane.

    The variance explained is :math:`\sum_s \|P(\theta_s - \bar\theta)\|^2 /
    \sum_s \|\theta_s - \bar\theta\|^2` with P the projection onto the plane's directions: it says
    how much of the path's movement the plane shows, wherever it lies. Snapshots that are not
    finite play no part in it.

    Args:
        net: Any module that maps x [n, d] to [n, k].
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        plane: The plane, in the parameters of the net.
        trajectory: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the dtype of plane and trajectory.
        y: Targets.

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together.

    Example:
        >>> from toyml.measures import plane_of_parameters
        >>> net = nn.Linear(2, 1)
        >>> path = {"weight": torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]]), "bias": torch.zeros(2, 1)}
        >>> start = {name: p[0] for name, p in path.items()}
        >>> plane = plane_of_parameters(start, "weight[0,0]", "bias[0]")
        >>> found = project(net, nn.L1Loss(), plane, path, torch.ones(1, 2), torch.zeros(1, 1))
        >>> found.true, found.on_plane, found.distance, round(found.explained, 4)
        (tensor([0., 7.]), tensor([0., 3.]), tensor([0., 4.], dtype=torch.float64), 0.36)
    """
    within = coordinates(plane, trajectory)
    explained, extent = _spread(plane, trajectory)
    return Projection(
        within,
        off_plane_distance(plane, trajectory),
        losses(net, loss, trajectory, x, y),
        losses(net, loss, at(plane, *within.unbind(1)), x, y),
        explained,
        extent,
    )


def _spread(plane: Plane, trajectory: Parameters) -> tuple[float, float]:
    """The part of the path's variance within the plane, and the path's extent."""
    path = flatten({name: trajectory[name].detach().double() for name in plane.origin})
    path = path[path.isfinite().all(1)]
    if len(path) == 0:
        return 1.0, 0.0
    centred = path - path.mean(0)
    squares = centred.square().sum(1)
    onto = centred @ plane.rows().T
    inside = (torch.linalg.solve(plane.gram(), onto.T).T * onto).sum()
    moved = bool(squares.sum() > 0)
    explained = float((inside / squares.sum()).clamp(0, 1)) if moved else 1.0
    return explained, float(squares.max().sqrt())


def verdict(steps: Sequence[int], projection: Projection) -> str:
    """What may be read from a picture of the plane, in one or two sentences.

    The first says what part of the path's variance the plane holds. The second compares heights:
    at a snapshot a height is wrong when it differs from the true loss by more than
    ``WRONG_HEIGHT`` of it (losses below ``SMALL_HEIGHT`` of their range along the path count as
    that much). Where that is so and the snapshot is further off the plane than ``FAR_DISTANCE``
    of the path's extent, it is far off. Distance alone is no fault: the loss may not depend on
    what the plane leaves out. Snapshots whose loss is not finite are not judged.

    Args:
        steps: The step of each snapshot [t].
        projection: What ``project`` found.

    Raises:
        ValueError: Another number of steps than of snapshots.

    Example:
        >>> found = Projection(
        ...     coordinates=torch.zeros(3, 2),
        ...     distance=torch.tensor([0.0, 0.1, 3.0]),
        ...     true=torch.tensor([9.0, 4.0, 1.0]),
        ...     on_plane=torch.tensor([9.0, 4.1, 2.0]),
        ...     explained=0.99387,
        ...     extent=5.0,
        ... )
        >>> print(verdict([0, 200, 400], found).replace(". ", "." + chr(10)))
        This plane holds 99.3 % of the path.
        At step 400 the path is far off this plane: read no heights from it.
    """
    t = len(projection.true)
    if len(steps) != t:
        raise ValueError(f"there are {len(steps)} steps and {t} snapshots; give one step for each")
    away = projection.distance / projection.extent if projection.extent else projection.distance
    if bool((away <= NEGLIGIBLE).all()):
        return "This plane holds the whole path: its heights are the path's losses."
    held = f"This plane holds {floor(1000 * projection.explained) / 10:.1f} % of the path."
    judged = projection.true.isfinite()
    if not bool(judged.any()):
        return f"{held} No loss along the path is finite."
    error = height_errors(projection.true, projection.on_plane)
    wrong, far = error > WRONG_HEIGHT, judged & (away > FAR_DISTANCE)
    if bool(wrong.any()):
        which = _where(steps, wrong.tolist())
        why = (
            "the path is far off this plane"
            if bool((wrong & far).any())
            else "the loss is steep across this plane, near as the path is"
        )
        return f"{held} {which} {why}: read no heights from it."
    right = (
        f"its heights are within {max(1, ceil(100 * float(error.max())))} % of the path's losses."
    )
    if bool(far.any()):
        most = 100 * float(away[judged].max())
        return f"{held} The path leaves it by up to {most:.0f} % of its extent, but {right}"
    return f"{held} All along {right}"


def height_errors(true: Tensor, on_plane: Tensor) -> Tensor:
    """How far a picture's heights are from the path's losses, relative to those.

    Losses below ``SMALL_HEIGHT`` of their range along the path count as that much. A height is
    wrong where this is above ``WRONG_HEIGHT``.

    Args:
        true: Loss of each snapshot [t].
        on_plane: Loss at its projection [t].

    Returns:
        [t] in float64; 0 where the true loss is not finite and cannot be judged.

    Example:
        >>> height_errors(torch.tensor([10.0, 5.0, 0.0]), torch.tensor([10.0, 6.0, 0.05]))
        tensor([0.0000, 0.2000, 0.5000], dtype=torch.float64)
    """
    true, shown = true.double(), on_plane.double()
    judged = true.isfinite()
    if not bool(judged.any()):
        return torch.zeros_like(true)
    span = true[judged].max() - true[judged].min()
    error = (shown - true).abs() / true.abs().clamp(min=float(SMALL_HEIGHT * span))
    return torch.where(judged & (shown != true), error, 0.0).nan_to_num(inf)


def _where(steps: Sequence[int], chosen: Sequence[bool]) -> str:
    """The chosen snapshots in words, as the start of a sentence."""
    places = [i for i, here in enumerate(chosen) if here]
    first, last = places[0], places[-1]
    if len(places) == len(steps):
        return "All along"
    if first == last:
        return f"At step {steps[first]:,}"
    if len(places) == last - first + 1:
        if last == len(steps) - 1:
            return f"From step {steps[first]:,} on"
        if first == 0:
            return f"Up to step {steps[last]:,}"
        return f"Between steps {steps[first]:,} and {steps[last]:,}"
    return (
        f"At {len(places)} of {len(steps)} snapshots, between steps {steps[first]:,} and "
        f"{steps[last]:,},"
    )
