"""Losses on a grid of a plane in parameter space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from toyml.measures.forward import Parameters, check
from toyml.measures.plane import Plane, at
from toyml.measures.points import losses_of_points


def landscape(
    net: nn.Module,
    losses: Mapping[str, nn.Module],
    plane: Plane,
    a: Tensor,
    b: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """One or more losses at every point of a grid; all of them share each forward pass.

    Entry [i, j] is the loss at a[j], b[i]: rows go up the second direction, columns along the
    first, as ``contour(a, b, ...)`` takes them. Memory beyond the result does not grow with the
    grid.

    Args:
        net: Any module that maps x [n, d] to [n, k].
        losses: Loss modules by name, each with its own reduction (the mean by default); they need
            not be the one trained on.
        plane: The plane, in the parameters of the net.
        a: Coordinates along the first direction [g1], in the dtype of the plane.
        b: Coordinates along the second direction [g2].
        x: Inputs [n, d], in the dtype of the plane.
        y: Targets.
        chunk: Grid points evaluated at once; by default as many as fit the cache.

    Returns:
        [g2, g1] by name of the loss.

    Raises:
        ValueError: No losses, axes that are not vectors of the plane's dtype, a chunk below 1, or
            what ``toyml.measures.losses`` refuses.

    Example:
        >>> from toyml.measures.plane import plane_of_parameters
        >>> start = {"weight": torch.zeros(1, 1), "bias": torch.zeros(1)}
        >>> plane = plane_of_parameters(start, "weight[0,0]", "bias[0]")
        >>> x, y = torch.ones(1, 1), torch.zeros(1, 1)
        >>> a, b = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 10.0])
        >>> landscape(nn.Linear(1, 1), {"L1": nn.L1Loss()}, plane, a, b, x, y)["L1"]
        tensor([[ 0.,  1.,  2.],
                [10., 11., 12.]])
    """
    values = landscapes(net, losses, [plane], a, b, x, y, chunk=chunk)
    return {name: grids[0] for name, grids in values.items()}


def landscapes(
    net: nn.Module,
    losses: Mapping[str, nn.Module],
    planes: Sequence[Plane],
    a: Tensor,
    b: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """The same grid on several planes, such as ``planes_along`` a path: one for each snapshot.

    Args:
        net: Any module that maps x [n, d] to [n, k].
        losses: Loss modules by name, as for ``landscape``.
        planes: At least one, all in the parameters of the net.
        a: Coordinates along the first direction of each [g1].
        b: Coordinates along the second [g2].
        x: Inputs [n, d], in the dtype of the planes.
        y: Targets.
        chunk: Grid points evaluated at once; by default as many as fit the cache.

    Returns:
        [number of planes, g2, g1] by name of the loss.

    Raises:
        ValueError: No planes, or what ``landscape`` refuses.
    """
    if not planes:
        raise ValueError("planes is empty; give at least one")
    for plane in planes:
        check_grid(net, losses, plane.origin, (a, b), x, y, chunk)
    across, up = (axis.reshape(-1) for axis in torch.meshgrid(a, b, indexing="xy"))
    size = len(across)

    def points(piece: slice) -> Parameters:
        parts = []
        for k in range(piece.start // size, (piece.stop - 1) // size + 1):
            some = slice(max(piece.start - k * size, 0), piece.stop - k * size)
            parts.append(at(planes[k], across[some], up[some]))
        if len(parts) == 1:
            return parts[0]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    total = len(planes) * size
    values = losses_of_points(net, list(losses.values()), points, total, x, y, chunk)
    shape = (len(planes), len(b), len(a))
    return {name: row.view(shape) for name, row in zip(losses, values, strict=True)}


def check_grid(
    net: nn.Module,
    losses: Mapping[str, nn.Module],
    origin: Parameters,
    axes: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    chunk: int | None,
) -> None:
    """Refuse what no losses can be evaluated on.

    Raises:
        ValueError: No losses, axes that are not vectors of x's dtype, a chunk below 1, or what
            ``toyml.measures.losses`` refuses.
    """
    if not losses:
        raise ValueError("losses is empty; give at least one loss module by name")
    for axis in axes:
        if axis.ndim != 1 or len(axis) == 0 or axis.dtype != x.dtype:
            raise ValueError(
                f"an axis has shape {list(axis.shape)} and is {axis.dtype}; "
                f"give a vector of {x.dtype}, the dtype of x"
            )
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is {chunk}; it has to be at least 1 grid point")
    check(net, {name: p.detach().unsqueeze(0) for name, p in origin.items()}, x, y)
