"""Planes in parameter space: an origin and two directions."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from toyml.measures.flat import flatten, unflatten
from toyml.measures.forward import Parameters


@dataclass(frozen=True)
class Plane:
    r"""The points :math:`\theta_0 + a u + b v` of parameter space.

    The directions need be neither orthogonal nor of length 1, only independent.

    Attributes:
        origin: One snapshot, tensors by name.
        direction_1: u, the same names and shapes.
        direction_2: v, the same names and shapes.

    Raises:
        ValueError: Names or shapes that differ, or directions that span no plane.
    """

    origin: Parameters
    direction_1: Parameters
    direction_2: Parameters

    def __post_init__(self) -> None:
        for which, direction in (("first", self.direction_1), ("second", self.direction_2)):
            shapes = {name: list(p.shape) for name, p in direction.items()}
            expected = {name: list(p.shape) for name, p in self.origin.items()}
            if shapes != expected:
                raise ValueError(
                    f"the {which} direction has shapes {shapes}, the origin {expected}; "
                    "give the same names and shapes"
                )
        (uu, uv), (_, vv) = self.gram().tolist()
        # Relative, because the length of a direction is only a choice of unit.
        if not uu * vv - uv * uv > 1e-12 * uu * vv:
            raise ValueError(
                f"directions of squared lengths {uu:g} and {vv:g} with product {uv:g} span no "
                "plane; give two that are finite, not zero and not parallel"
            )

    def gram(self) -> Tensor:
        """Scalar products of the two directions, [2, 2] in float64."""
        return self.rows() @ self.rows().T

    def rows(self) -> Tensor:
        """The two directions as rows [2, p] in float64, in the order of ``flatten(origin)``."""
        rows = [
            flatten({name: direction[name].double().unsqueeze(0) for name in self.origin})
            for direction in (self.direction_1, self.direction_2)
        ]
        return torch.cat(rows)


def plane_of_parameters(parameters: Parameters, first: str, second: str) -> Plane:
    """The plane of two scalar parameters, in their own units; the others stay as they are.

    The coordinates (a, b) of a point are the two parameters' values.

    Args:
        parameters: One snapshot, tensors by name.
        first: Such as ``"0.weight[0,1]"``, or ``"scale"`` for a tensor that is a scalar.
        second: Another.

    Raises:
        ValueError: A name that is not a scalar of these parameters, or twice the same.

    Example:
        >>> net = {"weight": torch.tensor([[5.0]]), "bias": torch.tensor([7.0])}
        >>> plane = plane_of_parameters(net, "weight[0,0]", "bias[0]")
        >>> at(plane, torch.tensor([1.0]), torch.tensor([2.0]))
        {'weight': tensor([[[1.]]]), 'bias': tensor([[2.]])}
    """
    if first == second:
        raise ValueError(f"{first!r} is given twice; a plane needs two different parameters")
    origin = {name: p.detach().clone() for name, p in parameters.items()}
    directions = []
    for scalar in (first, second):
        name, index = _scalar(origin, scalar)
        direction = {other: torch.zeros_like(p) for other, p in origin.items()}
        direction[name][index] = 1
        origin[name][index] = 0
        directions.append(direction)
    return Plane(origin, *directions)


def plane_of_rows(origin: Parameters, directions: Tensor) -> Plane:
    """The plane through a snapshot with directions given as rows.

    Args:
        origin: One snapshot, tensors by name.
        directions: [2, p], in the order of ``flatten``.

    Raises:
        ValueError: Another number of columns than the snapshot has scalars, or no plane.
    """
    like = {name: p.detach().unsqueeze(0) for name, p in origin.items()}
    u, v = (
        {name: p.to(origin[name]) for name, p in unflatten(row, like).items()} for row in directions
    )
    return Plane({name: p.detach() for name, p in origin.items()}, u, v)


def at(plane: Plane, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """The parameters at points of the plane.

    Args:
        plane: The plane.
        a: Coordinates along the first direction, [...].
        b: Coordinates along the second, [...].

    Returns:
        Parameters, [..., *shape] by name: with a of shape [t], a stack of t snapshots.

    Raises:
        ValueError: Coordinates of different shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"a has shape {list(a.shape)}, b {list(b.shape)}; give pairs")
    return {
        name: p + _column(a, p) * plane.direction_1[name] + _column(b, p) * plane.direction_2[name]
        for name, p in plane.origin.items()
    }


def coordinates(plane: Plane, trajectory: Parameters) -> Tensor:
    r"""Coordinates (a, b) of each snapshot's orthogonal projection onto the plane.

    They minimise :math:`\|\theta_0 + a u + b v - \theta\|_2`, also for directions that are not
    orthogonal. Computed in float64; exact for planes of two parameters.

    Args:
        plane: The plane.
        trajectory: Snapshots, [t, ...] by name.

    Returns:
        [t, 2] in the dtype of the trajectory.

    Raises:
        ValueError: Names that are not the plane's.
    """
    directions, away = plane.rows(), _away(plane, trajectory)
    (uu, uv), (_, vv) = plane.gram()
    onto_u, onto_v = (away @ directions.T).unbind(1)
    determinant = uu * vv - uv * uv
    a = (vv * onto_u - uv * onto_v) / determinant
    b = (uu * onto_v - uv * onto_u) / determinant
    return torch.stack([a, b], dim=1).to(next(iter(trajectory.values())).dtype)


def off_plane_distance(plane: Plane, trajectory: Parameters) -> Tensor:
    """Distance of each snapshot from the plane: zero where a picture of the plane is the truth.

    Args:
        plane: The plane.
        trajectory: Snapshots, [t, ...] by name.

    Returns:
        Euclidean distances to the projection, [t] in float64.

    Raises:
        ValueError: Names that are not the plane's.
    """
    within = coordinates(plane, {name: p.double() for name, p in trajectory.items()})
    beside = _away(plane, trajectory) - within @ plane.rows()
    lengths: Tensor = torch.linalg.vector_norm(beside, dim=1)
    return lengths


def _column(coefficient: Tensor, like: Tensor) -> Tensor:
    return coefficient.reshape(*coefficient.shape, *(1,) * like.ndim) if like.ndim else coefficient


def _away(plane: Plane, trajectory: Parameters) -> Tensor:
    if not set(plane.origin) <= set(trajectory):  # buffers may stand beside the parameters
        raise ValueError(
            f"the trajectory has {', '.join(trajectory)}, the plane {', '.join(plane.origin)}; "
            "give snapshots of the same net"
        )
    return flatten({name: trajectory[name].double() - p for name, p in plane.origin.items()})


def _scalar(parameters: Parameters, scalar: str) -> tuple[str, tuple[int, ...]]:
    match = re.fullmatch(r"(.+?)(?:\[(\d+(?:,\s*\d+)*)\])?", scalar)
    name, inside = (match[1], match[2]) if match else (scalar, None)
    index = tuple(int(i) for i in inside.split(",")) if inside else ()
    shape = parameters[name].shape if name in parameters else None
    if (
        shape is None
        or len(index) != len(shape)
        or any(i >= size for i, size in zip(index, shape, strict=True))
    ):
        known = ", ".join(f"{name}{list(p.shape)}" for name, p in parameters.items())
        raise ValueError(f"no scalar parameter {scalar!r}; the tensors and their shapes: {known}")
    return name, index
