"""Angles, distances and lengths of weights."""

from __future__ import annotations

import torch
from torch import Tensor

from toyml.measures.flat import flatten
from toyml.measures.forward import Parameters


def angle(w: Tensor, reference: Tensor) -> Tensor:
    r"""The angle from a reference direction to each vector of the plane.

    .. math:: \operatorname{atan2}(r_1 w_2 - r_2 w_1,\; r_1 w_1 + r_2 w_2)

    Args:
        w: Vectors [..., 2].
        reference: [2].

    Returns:
        Degrees in [-180, 180], counter-clockwise positive, [...]; 0 for a zero vector.

    Raises:
        ValueError: Vectors that are not in the plane.

    Example:
        >>> angle(torch.tensor([[0.0, 3.0], [1.0, -1.0]]), torch.tensor([2.0, 0.0]))
        tensor([ 90., -45.])
    """
    if w.shape[-1:] != (2,) or reference.shape != (2,):
        raise ValueError(
            f"w has shape {list(w.shape)} and reference {list(reference.shape)}; "
            "give [..., 2] and [2]"
        )
    r1, r2 = reference.to(w).unbind()
    w1, w2 = w.unbind(-1)
    return torch.rad2deg(torch.atan2(r1 * w2 - r2 * w1, r1 * w1 + r2 * w2))


def distances(w: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    r"""Signed distances of points from the boundary :math:`w \cdot x + b = 0`.

    .. math:: (2 y_i - 1) \frac{w \cdot x_i + b}{\|w\|_2}

    Args:
        w: Normals [..., d].
        b: Offsets [...].
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].

    Returns:
        [..., n] in the units of x: positive for points on the side of their label.

    Raises:
        ValueError: Labels other than 0 and 1, or shapes that do not belong together.

    Example:
        >>> w, b = torch.tensor([3.0, 4.0]), torch.tensor(-5.0)
        >>> distances(w, b, torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([1, 0]))
        tensor([ 4., -4.])
    """
    labels = y.reshape(-1)
    if w.shape[:-1] != b.shape or x.ndim != 2 or (len(labels), w.shape[-1]) != tuple(x.shape):
        raise ValueError(
            f"w, b, x, y have shapes {[list(each.shape) for each in (w, b, x, y)]}; "
            "give [..., d], [...], [n, d] and [n] or [n, 1]"
        )
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise ValueError(f"labels are {sorted(set(labels.tolist()))}; they have to be 0 and 1")
    sides = (w @ x.T + b[..., None]) * (2 * labels.to(w) - 1)
    signed: Tensor = sides / torch.linalg.vector_norm(w, dim=-1, keepdim=True)
    return signed


def norms(parameters: Parameters) -> Tensor:
    """Euclidean length of all parameters together, for every snapshot.

    Args:
        parameters: Snapshots, [t, ...] by name.

    Returns:
        [t].

    Example:
        >>> norms({"w": torch.tensor([[[3.0, 0.0]]]), "b": torch.tensor([[4.0]])})
        tensor([5.])
    """
    lengths: Tensor = torch.linalg.vector_norm(flatten(parameters), dim=1)
    return lengths


def tensor_norms(parameters: Parameters) -> dict[str, Tensor]:
    """Euclidean length of each parameter tensor (Frobenius for matrices), for every snapshot.

    Args:
        parameters: Snapshots, [t, ...] by name.

    Returns:
        [t] by name.

    Example:
        >>> tensor_norms({"w": torch.tensor([[[3.0, 4.0]]]), "b": torch.tensor([[-2.0]])})
        {'w': tensor([5.]), 'b': tensor([2.])}
    """
    return {name: norms({name: p}) for name, p in parameters.items()}
