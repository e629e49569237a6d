"""Parameters as rows of one matrix, and the names of its columns."""

from __future__ import annotations

from itertools import accumulate, product
from math import prod

import torch
from torch import Tensor

from toyml.measures.forward import Parameters, stack_size


def flatten(parameters: Parameters) -> Tensor:
    """All scalars of every snapshot, in the order of the mapping, each tensor row by row.

    Args:
        parameters: Snapshots, [t, ...] by name.

    Returns:
        [t, p].

    Raises:
        ValueError: Tensors that do not share a leading axis.

    Example:
        >>> flatten({"w": torch.tensor([[[1.0, 2.0]]]), "b": torch.tensor([[3.0]])})
        tensor([[1., 2., 3.]])
    """
    t = stack_size(parameters)
    return torch.cat([p.reshape(t, prod(p.shape[1:])) for p in parameters.values()], dim=1)


def unflatten(flat: Tensor, like: Parameters) -> dict[str, Tensor]:
    """The inverse of ``flatten``: rows [..., p] back to tensors [..., *shape] by name.

    Args:
        flat: Rows of scalars, [..., p].
        like: Snapshots [t, ...] whose names and shapes are taken, not their values.

    Raises:
        ValueError: Another number of columns than the shapes have scalars.

    Example:
        >>> unflatten(torch.tensor([[4.0, 5.0]]), {"b": torch.zeros(7, 2)})
        {'b': tensor([[4., 5.]])}
    """
    sizes = [prod(p.shape[1:]) for p in like.values()]
    if flat.shape[-1] != sum(sizes):
        raise ValueError(
            f"rows have {flat.shape[-1]} columns; give {sum(sizes)}, the scalars of the shapes"
        )
    return {
        name: flat[..., end - size : end].reshape((*flat.shape[:-1], *p.shape[1:]))
        for (name, p), size, end in zip(like.items(), sizes, accumulate(sizes), strict=True)
    }


def scalar_names(parameters: Parameters) -> list[str]:
    """The name of each column of ``flatten``: the tensor's name and the index in it.

    Args:
        parameters: Snapshots, [t, ...] by name.

    Example:
        >>> scalar_names({"0.weight": torch.zeros(9, 1, 2), "0.bias": torch.zeros(9, 1)})
        ['0.weight[0,0]', '0.weight[0,1]', '0.bias[0]']
    """
    return [
        f"{name}[{','.join(map(str, index))}]" if index else name
        for name, p in parameters.items()
        for index in product(*map(range, p.shape[1:]))
    ]
