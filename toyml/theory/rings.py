r"""How well a few straight lines can tell a disk from a ring around it.

The population: class 0 has its radius uniform in [0, R], class 1 uniform in [r, s] with r > R,
both at a uniform angle, in equal numbers. A net whose hidden units are steep sees only on which
side of its lines a point lies; the least binary cross-entropy of a prediction that is constant on
the sides is the conditional entropy of the label (natural logarithm, mean over points).

These are guides to what one, two or three hidden units can do, and :func:`monotone_floor` is a
bound: no net with one hidden unit and a monotone activation is below it on the data.
"""

from __future__ import annotations

from math import acos, acosh, ceil, inf, pi, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from toyml.theory.rows import as_column, as_rows


class Floor(NamedTuple):
    """The least loss of a kind of prediction, and where it is reached."""

    loss: float
    """Mean binary cross-entropy, nats."""
    accuracy: float
    """Share of points on the right side, in [0, 1]."""
    offset: float
    """Distance of the line (or of both lines of a strip) from the centre."""


class DataFloor(NamedTuple):
    """The least loss of a kind of prediction on given rows."""

    loss: float
    """Mean binary cross-entropy, nats."""
    accuracy: float
    """Share of rows on the right side, in [0, 1]."""
    normal: Tensor
    """Unit normal [2] of the lines, float64."""
    offsets: Tensor
    """Products with the normal [1] or [2] at which the prediction changes."""


def tail(radius_min: float, radius_max: float, offset: float) -> float:
    r"""Share of a class beyond a line: radius uniform, angle uniform.

    .. math:: \frac{1}{\pi (b - a)} \int_{\max(a, c)}^b \arccos\frac cr \, dr
       = \frac{1}{\pi (b - a)}
         \Bigl[ r \arccos\frac cr - c \operatorname{arcosh}\frac rc \Bigr]_{\max(a, c)}^{b}

    Args:
        radius_min: a ≥ 0.
        radius_max: b > a.
        offset: Distance c > 0 of the line from the centre.

    Returns:
        In [0, 1/2).

    Raises:
        ValueError: Radii that are not 0 ≤ a < b, or an offset that is not positive.

    Example:
        >>> tail(0.0, 1.0, 1.0)
        0.0
    """
    if not 0 <= radius_min < radius_max < inf or not offset > 0:
        raise ValueError(
            f"radii are {radius_min} and {radius_max}, offset {offset}; "
            "they have to be 0 <= min < max and positive"
        )
    if offset >= radius_max:
        return 0.0

    def primitive(r: float) -> float:
        return r * acos(offset / r) - offset * acosh(r / offset)

    area = primitive(radius_max) - primitive(max(radius_min, offset))
    return area / (pi * (radius_max - radius_min))


def tangent_line(disk: float, ring_min: float, ring_max: float) -> Floor:
    """The line that touches the disk: everything beyond it is ring.

    Args:
        disk: Radius R of the disk, positive.
        ring_min: Inner radius r of the ring, above R.
        ring_max: Outer radius s of the ring.

    Returns:
        For the radii 1, 3, 4: loss 0.52576, accuracy 0.7035.

    Raises:
        ValueError: Radii that are not 0 < R < r < s.
    """
    check_radii(disk, ring_min, ring_max)
    return cut((disk, ring_min, ring_max), disk, lines=1)


def best_line(disk: float, ring_min: float, ring_max: float) -> Floor:
    """The line of least loss; it may cut a little off the disk.

    Args:
        disk: Radius R of the disk, positive.
        ring_min: Inner radius r of the ring, above R.
        ring_max: Outer radius s of the ring.

    Returns:
        For the radii 1, 3, 4: loss 0.52576, accuracy 0.7036.

    Raises:
        ValueError: Radii that are not 0 < R < r < s.
    """
    return best_cut((disk, ring_min, ring_max), lines=1)


def best_strip(disk: float, ring_min: float, ring_max: float) -> Floor:
    """The strip between two parallel lines, symmetric about the centre, of least loss.

    Args:
        disk: Radius R of the disk, positive.
        ring_min: Inner radius r of the ring, above R.
        ring_max: Outer radius s of the ring.

    Returns:
        For the radii 1, 3, 4: loss 0.25735, accuracy 0.9072 (touching the disk: 0.25743, 0.9071).

    Raises:
        ValueError: Radii that are not 0 < R < r < s.
    """
    return best_cut((disk, ring_min, ring_max), lines=2)


def lines_to_enclose(disk: float, ring_min: float) -> int:
    r"""How many lines a polygon needs that holds the disk and stays inside the ring's hole.

    A regular polygon of k sides around a disk of radius R reaches :math:`R / \cos(\pi / k)`, so

    .. math:: k = \Bigl\lceil \frac{\pi}{\arccos(R / r)} \Bigr\rceil \ge 3,

    and that many hidden units can bring the loss to zero, while fewer cannot.

    Args:
        disk: Radius R of the disk, positive.
        ring_min: Inner radius r of the ring, above R.

    Returns:
        At least 3.

    Raises:
        ValueError: Radii that are not 0 < R < r.

    Example:
        >>> lines_to_enclose(1.0, 3.0), lines_to_enclose(1.0, 1.9)
        (3, 4)
    """
    check_radii(disk, ring_min, inf)
    # The corners of a triangle around the unit disk are exactly 2 away: rounding must not add one.
    return max(3, ceil(pi / acos(disk / ring_min) - 1e-12))


def line_on_data(x: Tensor, y: Tensor, directions: int = 720) -> DataFloor:
    """The line whose two sides tell most about the labels of given rows.

    For every direction, all offsets between neighbouring rows are tried, so the loss is exact for
    the directions tried: over the half circle, equally spaced.

    Args:
        x: Points [n, 2].
        y: Labels 0 or 1, [n] or [n, 1].
        directions: Number of directions.

    Returns:
        The best of them.

    Raises:
        ValueError: Points that are not in the plane, labels other than 0 and 1, no direction.
    """
    x, y = plane_rows(x, y)
    normals = half_circle(x, directions)
    best: DataFloor | None = None
    for normal in normals:
        heights, ones, zeros, cuts = counts(x @ normal, y)
        loss = (entropy(zeros, ones) + entropy(zeros[-1] - zeros, ones[-1] - ones)) / len(x)
        at = int(loss.argmin())
        if best is None or loss[at] < best.loss:
            right = torch.maximum(zeros, ones) + torch.maximum(zeros[-1] - zeros, ones[-1] - ones)
            offset = between(heights, cuts[at : at + 1])
            best = DataFloor(float(loss[at]), float(right[at]) / len(x), normal, offset)
    assert best is not None
    return best


def strip_on_data(x: Tensor, y: Tensor, directions: int = 90) -> DataFloor:
    """The strip between two parallel lines that tells most about the labels of given rows.

    As :func:`line_on_data`, with all pairs of offsets at which the label changes (the best ones
    are among them: Fayyad and Irani 1992).

    Args:
        x: Points [n, 2].
        y: Labels 0 or 1, [n] or [n, 1].
        directions: Number of directions.

    Returns:
        The best of them.

    Raises:
        ValueError: Points that are not in the plane, labels other than 0 and 1, no direction.
    """
    x, y = plane_rows(x, y)
    best: DataFloor | None = None
    for normal in half_circle(x, directions):
        heights, ones, zeros, cuts = counts(x @ normal, y)
        low, high = torch.triu_indices(len(cuts), len(cuts), 1, device=x.device)
        ones_in, zeros_in = ones[high] - ones[low], zeros[high] - zeros[low]
        ones_out, zeros_out = ones[-1] - ones_in, zeros[-1] - zeros_in
        loss = (entropy(zeros_in, ones_in) + entropy(zeros_out, ones_out)) / len(x)
        at = int(loss.argmin())
        if best is None or loss[at] < best.loss:
            right = max(zeros_in[at], ones_in[at]) + max(zeros_out[at], ones_out[at])
            offsets = between(heights, cuts[torch.stack([low[at], high[at]])])
            best = DataFloor(float(loss[at]), float(right) / len(x), normal, offsets)
    assert best is not None
    return best


def monotone_floor(x: Tensor, y: Tensor, directions: int = 360) -> DataFloor:
    r"""The least loss of any prediction that is monotone across parallel lines.

    A net with one hidden unit computes :math:`f(w \cdot x + b)` with f monotone (for every
    monotone activation, sigmoid and ReLU among them), so on these rows its loss is at least the
    minimum over directions of isotonic regression's, which the greatest convex minorant of the
    cumulated labels gives exactly (Barlow et al. 1972). Both orientations are tried, equally
    spaced over the whole circle.

    Args:
        x: Points [n, 2].
        y: Labels 0 or 1, [n] or [n, 1].
        directions: Number of directions.

    Returns:
        The best of them; offsets are where the prediction rises, accuracy is at 1/2.

    Raises:
        ValueError: Points that are not in the plane, labels other than 0 and 1, no direction.
    """
    x, y = plane_rows(x, y)
    normals = half_circle(x, directions)
    best: DataFloor | None = None
    for normal in torch.cat([normals, -normals]):
        heights, ones, zeros, cuts = counts(x @ normal, y)
        corners = convex_minorant((ones + zeros).tolist(), ones.tolist())
        ones_in, zeros_in = ones[corners].diff(), zeros[corners].diff()
        loss = float(entropy(zeros_in, ones_in).sum()) / len(x)
        if best is None or loss < best.loss:
            right = float(torch.maximum(zeros_in, ones_in).sum()) / len(x)
            best = DataFloor(loss, right, normal, between(heights, cuts[corners[1:-1]]))
    assert best is not None
    return best


def best_cut(radii: tuple[float, float, float], lines: int) -> Floor:
    """Golden-section search of the offset of least loss."""
    check_radii(*radii)
    low, high = 1e-9 * radii[0], radii[1]
    golden = (sqrt(5) - 1) / 2
    for _ in range(100):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if cut(radii, left, lines).loss < cut(radii, right, lines).loss:
            high = right
        else:
            low = left
    return cut(radii, (low + high) / 2, lines)


def cut(radii: tuple[float, float, float], offset: float, lines: int) -> Floor:
    """Loss and accuracy of one line, or of two parallel lines, at an offset."""
    disk, ring_min, ring_max = radii
    zeros = lines * tail(0.0, disk, offset) / 2
    ones = lines * tail(ring_min, ring_max, offset) / 2
    shares = torch.tensor([[zeros, ones], [0.5 - zeros, 0.5 - ones]], dtype=torch.float64)
    loss = float(entropy(shares[:, 0], shares[:, 1]).sum())
    return Floor(loss, float(shares.amax(1).sum()), offset)


def entropy(zeros: Tensor, ones: Tensor) -> Tensor:
    """Size of each group times the entropy of its labels: its least summed cross-entropy."""
    size = zeros + ones
    return torch.xlogy(size, size) - torch.xlogy(zeros, zeros) - torch.xlogy(ones, ones)


def counts(heights: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sorted heights, and the labels below each offset at which the best cuts can lie.

    Returns:
        Heights [n]; number of ones and of zeros below each cut [m]; rows below each cut [m].
    """
    heights, order = heights.sort()
    labels = y[order]
    # Cuts lie between different heights, and never best inside a run of one label. A height that
    # several rows share may hold both labels, so both its ends count as changes.
    new_height = heights[1:] > heights[:-1]
    tied = torch.cat([~new_height, new_height.new_zeros(1)])
    tied = tied | torch.cat([new_height.new_zeros(1), ~new_height])
    changes = new_height & ((labels[1:] != labels[:-1]) | tied[1:] | tied[:-1])
    inner = changes.nonzero()[:, 0] + 1
    cuts = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(labels))])
    below = torch.cat([labels.new_zeros(1), labels.cumsum(0)])[cuts]
    return heights, below, cuts - below, cuts


def between(heights: Tensor, cuts: Tensor) -> Tensor:
    """Offsets midway between the rows on both sides of each cut."""
    below = heights[(cuts - 1).clamp(min=0)]
    above = heights[cuts.clamp(max=len(heights) - 1)]
    return (below + above) / 2


def convex_minorant(x: list[float], y: list[float]) -> list[int]:
    """Indices of the corners of the greatest convex function below the points."""
    corners: list[int] = []
    for i in range(len(x)):
        while len(corners) > 1:
            j, k = corners[-2:]
            if (y[k] - y[j]) * (x[i] - x[k]) < (y[i] - y[k]) * (x[k] - x[j]):
                break
            corners.pop()
        corners.append(i)
    return corners


def half_circle(x: Tensor, directions: int) -> Tensor:
    """Unit vectors [directions, 2], equally spaced over half a turn."""
    if directions < 1:
        raise ValueError(f"directions is {directions}; at least one is needed")
    angles = torch.arange(directions, dtype=x.dtype, device=x.device) * (pi / directions)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def plane_rows(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Points [n, 2] and labels [n], float64."""
    x = as_rows(x)
    y = as_column(y, len(x))
    if x.shape[1] != 2 or not bool(((y == 0) | (y == 1)).all()):
        raise ValueError(
            f"x has {x.shape[1]} inputs and labels are {sorted(set(y.tolist()))[:4]}; "
            "give points of the plane and labels 0 and 1"
        )
    return x, y


def check_radii(disk: float, ring_min: float, ring_max: float) -> None:
    """Refuse a disk that touches its ring."""
    if not 0 < disk < ring_min < ring_max:
        raise ValueError(
            f"radii are {disk}, {ring_min}, {ring_max}; they have to be "
            "0 < disk < inner ring < outer ring"
        )
