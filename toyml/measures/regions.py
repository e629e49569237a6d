"""The regions into which the lines of hidden units cut the plane, as the data see them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Region(NamedTuple):
    """A region with at least one data point in it.

    Attributes:
        signs: For each unit whether the region is on its positive side [h], boolean.
        zeros: Number of points of class 0 in it.
        ones: Number of points of class 1 in it.
    """

    signs: Tensor
    zeros: int
    ones: int


def regions(weights: Tensor, biases: Tensor, x: Tensor, y: Tensor) -> list[Region]:
    """The occupied regions between the lines w · x + b = 0, by the signs of their points.

    Lines cut the plane into convex regions, one for each pattern of signs that occurs; h lines in
    general position make 1 + h + h (h - 1) / 2 of them, seven for three.

    Args:
        weights: One snapshot's input weights [h, d].
        biases: Biases [h].
        x: Points [n, d].
        y: Labels [n] or [n, 1]; above 0.5 is class 1.

    Returns:
        The regions, most populous first.

    Raises:
        ValueError: Shapes that do not belong together.

    Example:
        >>> lines = torch.tensor([[1.0, 0.0]]), torch.tensor([-1.0])
        >>> points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
        >>> [(r.zeros, r.ones) for r in regions(*lines, points, torch.tensor([0, 1, 1]))]
        [(0, 2), (1, 0)]
    """
    labels = y.reshape(-1) > 0.5
    if weights.ndim != 2 or weights.shape != (len(biases), x.shape[1]) or len(labels) != len(x):
        raise ValueError(
            f"shapes are {[list(a.shape) for a in (weights, biases, x, y)]}; weights, biases, x, y "
            "have to be [h, d], [h], [n, d] and [n]"
        )
    positive = x @ weights.T + biases > 0
    signs, place = torch.unique(positive, dim=0, return_inverse=True)
    ones = torch.bincount(place, weights=labels.double(), minlength=len(signs))
    total = torch.bincount(place, minlength=len(signs))
    order = total.argsort(descending=True, stable=True).tolist()
    return [Region(signs[i], int(total[i] - ones[i]), int(ones[i])) for i in order]


def is_bounded(weights: Tensor, signs: Tensor) -> bool:
    """Whether a region between lines of the plane is bounded: a polygon.

    It is unless some direction leads out of it for ever, that is unless all of its inward normals
    lie in one closed half plane. Two lines never bound a region, three can.

    Args:
        weights: Normals of the lines [h, 2].
        signs: Whether the region is on the positive side of each [h], boolean.

    Raises:
        ValueError: Lines that are not in the plane.

    Example:
        >>> triangle = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        >>> is_bounded(triangle, torch.tensor([True, True, True]))
        True
        >>> is_bounded(triangle, torch.tensor([True, True, False]))
        False
    """
    if weights.ndim != 2 or weights.shape[1] != 2 or len(signs) != len(weights):
        raise ValueError(
            f"weights have shape {list(weights.shape)} and signs {list(signs.shape)}; "
            "give [h, 2] and [h]"
        )
    normals = torch.where(signs[:, None], weights, -weights).double()
    normals = normals[(normals != 0).any(1)]
    if len(normals) < 3:
        return False
    angles = torch.atan2(normals[:, 1], normals[:, 0]).sort().values
    gaps = torch.cat([angles[1:], angles[:1] + 2 * torch.pi]) - angles
    return bool(gaps.max() < torch.pi)
