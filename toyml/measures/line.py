"""Losses on the straight line between two snapshots."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from toyml.measures.forward import Parameters
from toyml.measures.landscape import check_grid
from toyml.measures.points import losses_of_points


def losses_along(
    net: nn.Module,
    losses: Mapping[str, nn.Module],
    first: Parameters,
    second: Parameters,
    ts: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    r"""One or more losses at :math:`(1 - t)\,\theta_1 + t\,\theta_2` (Goodfellow et al. 2015).

    The snapshots may be of one run or of two: a start and its end, or the ends of two runs. A
    straight line between nets whose units are in another order says little about either.

    Args:
        net: Any module that maps x [n, d] to [n, k].
        losses: Loss modules by name, each with its own reduction (the mean by default).
        first: One snapshot, tensors by name.
        second: Another.
        ts: Where, [g], in the dtype of the snapshots: 0 is the first, 1 the second.
        x: Inputs [n, d], in the dtype of the snapshots.
        y: Targets.
        chunk: Points evaluated at once; by default as many as fit the cache.

    Returns:
        [g] by name of the loss.

    Raises:
        ValueError: What ``landscape`` refuses.

    Example:
        >>> import torch
        >>> first, second = {"weight": torch.tensor([[1.0]])}, {"weight": torch.tensor([[3.0]])}
        >>> ts, x, y = torch.tensor([0.0, 0.5, 1.0]), torch.ones(1, 1), torch.zeros(1, 1)
        >>> net = nn.Linear(1, 1, bias=False)
        >>> losses_along(net, {"MSE": nn.MSELoss()}, first, second, ts, x, y)["MSE"]
        tensor([1., 4., 9.])
    """
    check_grid(net, losses, first, (ts,), x, y, chunk)
    check_grid(net, losses, second, (), x, y, chunk)

    def points(piece: slice) -> dict[str, Tensor]:
        some = ts[piece]
        return {
            name: _between(p.detach(), second[name].detach(), some) for name, p in first.items()
        }

    values = losses_of_points(net, list(losses.values()), points, len(ts), x, y, chunk)
    return dict(zip(losses, values, strict=True))


def _between(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    # Not lerp: both ends have to be the snapshots to the bit.
    column = t.reshape(-1, *(1,) * start.ndim)
    return (1 - column) * start + column * end
