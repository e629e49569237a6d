"""Outputs on a grid of the input plane: decision regions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toyml.measures.evaluate import outputs
from toyml.measures.forward import Parameters


def decision_grid(
    net: nn.Module,
    parameters: Parameters,
    xs: Tensor,
    ys: Tensor,
    *,
    chunk: int | None = None,
) -> Tensor:
    """Raw outputs of the net at every point of a grid, for every snapshot.

    Entry [s, i, j] is the output of snapshot s at the point (xs[j], ys[i]): rows go up the second
    input, columns along the first, as ``contourf(xs, ys, ...)`` and ``imshow(origin="lower")``
    take them.

    Args:
        net: A module with two inputs.
        parameters: Snapshots, [t, ...] by name.
        xs: Values of the first input [gx], in the parameters' dtype.
        ys: Values of the second input [gy].
        chunk: Snapshots evaluated at once; by default as many as fit the cache.

    Returns:
        [t, gy, gx, k]; logits where the net gives logits.

    Raises:
        ValueError: Axes that are not vectors, or what ``outputs`` refuses.

    Example:
        >>> first = {"weight": torch.tensor([[[1.0, 10.0]]])}
        >>> net = nn.Linear(2, 1, bias=False)
        >>> xs, ys = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0])
        >>> decision_grid(net, first, xs, ys)[0, :, :, 0]
        tensor([[ 1.,  2.,  3.],
                [11., 12., 13.]])
    """
    if xs.ndim != 1 or ys.ndim != 1:
        raise ValueError(
            f"axes have shapes {list(xs.shape)} and {list(ys.shape)}; give two vectors"
        )
    across, up = torch.meshgrid(xs, ys, indexing="xy")
    points = torch.stack([across, up], dim=-1).reshape(-1, 2)
    values = outputs(net, parameters, points, chunk=chunk)
    return values.reshape(len(values), len(ys), len(xs), *values.shape[2:])


def margin_box(x: Tensor, margin: float = 0.15) -> tuple[float, float, float, float]:
    """The box around the points, widened on every side by a fraction of its extent.

    Args:
        x: Points [n, 2].
        margin: Fraction of the width (height) added left and right (below and above). An axis
            along which all points agree is widened by 1 instead.

    Returns:
        xmin, xmax, ymin, ymax.

    Raises:
        ValueError: No points, points that are not in the plane or not finite, or a negative margin.

    Example:
        >>> margin_box(torch.tensor([[0.0, 5.0], [2.0, 5.0]]), margin=0.5)
        (-1.0, 3.0, 4.0, 6.0)
    """
    if x.ndim != 2 or x.shape[1] != 2 or len(x) == 0 or not bool(x.isfinite().all()):
        raise ValueError(f"x has shape {list(x.shape)}; give finite points [n, 2], n at least 1")
    if not margin >= 0:
        raise ValueError(f"margin is {margin}; it has to be 0 or more")
    (xmin, ymin), (xmax, ymax) = x.amin(0).tolist(), x.amax(0).tolist()
    dx = margin * (xmax - xmin) if xmax > xmin else 1.0
    dy = margin * (ymax - ymin) if ymax > ymin else 1.0
    return xmin - dx, xmax + dx, ymin - dy, ymax + dy
