"""Outputs, losses and gradients of one net at many snapshots.

A snapshot is a mapping from the names in ``net.named_parameters()`` to tensors; a stack of t
snapshots is the same mapping with a leading axis [t]. Everything here evaluates the net in
evaluation mode (no dropout, stored statistics), in chunks of snapshots that fit the cache, and
leaves the module, its buffers, its training flag and every random generator as they were.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toyml.measures.forward import Forward, Parameters, check, chunks, gathered
from toyml.measures.objective import Objective, objective
from toyml.measures.points import losses_of_points


def snapshot(net: nn.Module) -> dict[str, Tensor]:
    """The net's parameters as a stack of one snapshot, copied.

    Example:
        >>> {name: list(p.shape) for name, p in snapshot(nn.Linear(2, 3)).items()}
        {'weight': [1, 3, 2], 'bias': [1, 3]}
    """
    return {name: p.detach().clone().unsqueeze(0) for name, p in net.named_parameters()}


def outputs(
    net: nn.Module, parameters: Parameters, x: Tensor, *, chunk: int | None = None
) -> Tensor:
    """Outputs of the net at every snapshot.

    Args:
        net: Any module that maps x [n, d] to [n, k].
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.
        chunk: Snapshots evaluated at once; by default as many as fit the cache.

    Returns:
        [t, n, k].

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together, or a chunk below 1.

    Example:
        >>> stack = {"weight": torch.tensor([[[1.0]], [[2.0]]])}
        >>> outputs(nn.Linear(1, 1, bias=False), stack, torch.tensor([[3.0]])).flatten()
        tensor([3., 6.])
    """
    t = check(net, parameters, x)
    with torch.no_grad(), Forward(net, x) as forward:
        size = forward.chunk(parameters) if chunk is None else chunk
        return gathered(forward, parameters, t, size)


def losses(
    net: nn.Module,
    loss: nn.Module,
    parameters: Parameters,
    x: Tensor,
    y: Tensor,
    *,
    chunk: int | None = None,
) -> Tensor:
    """The loss at every snapshot.

    Args:
        net: Any module that maps x [n, d] to [n, k].
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.
        chunk: Snapshots evaluated at once; by default as many as fit the cache.

    Returns:
        [t].

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together, or a chunk below 1.

    Example:
        >>> stack = {"weight": torch.tensor([[[1.0]], [[2.0]]])}
        >>> x, y = torch.tensor([[3.0]]), torch.tensor([[4.0]])
        >>> losses(nn.Linear(1, 1, bias=False), nn.MSELoss(), stack, x, y)
        tensor([1., 4.])
    """
    t = check(net, parameters, x, y)
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is {chunk}; it has to be at least 1 snapshot")

    def points(piece: slice) -> Parameters:
        return {name: p[piece].detach() for name, p in parameters.items()}

    return losses_of_points(net, [loss], points, t, x, y, chunk)[0]


def gradients(
    net: nn.Module,
    loss: nn.Module,
    parameters: Parameters,
    x: Tensor,
    y: Tensor,
    *,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """The gradient of the loss at every snapshot.

    Args:
        net: Any module that maps x [n, d] to [n, k].
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.
        chunk: Snapshots evaluated at once; by default as many as fit the cache.

    Returns:
        Gradients, [t, ...] by name; zero where the loss does not depend on a parameter.

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together, or a chunk below 1.

    Example:
        >>> stack = {"weight": torch.tensor([[[1.0]], [[2.0]]])}
        >>> x, y = torch.tensor([[3.0]]), torch.tensor([[4.0]])
        >>> net = nn.Linear(1, 1, bias=False)
        >>> gradients(net, nn.MSELoss(), stack, x, y)["weight"].flatten()
        tensor([-6., 12.])
    """
    t = check(net, parameters, x, y)
    measure = objective(loss, y)
    with Forward(net, x) as forward:
        size = forward.chunk(parameters) if chunk is None else chunk
        pieces = [
            chunk_gradients(forward, measure, part)[1] for part in chunks(parameters, t, size)
        ]
    own = {name for name, _ in net.named_parameters()}
    return {
        name: torch.cat([piece[i].detach() for piece in pieces])
        for i, name in enumerate(name for name in parameters if name in own)
    }


def chunk_gradients(
    forward: Forward, measure: Objective, part: Parameters, *, differentiable: bool = False
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Leaves of one chunk and the gradients there; one backward pass for all its snapshots.

    Snapshots do not interact, so the gradient of the sum of their losses is the stack of their
    gradients.
    """
    with torch.enable_grad():
        own = {name for name, _ in forward.net.named_parameters()}
        leaves = {name: p.detach().requires_grad_() for name, p in part.items() if name in own}
        total = measure(forward({**part, **leaves})).sum()
        order = list(leaves.values())
        if not total.requires_grad:
            return order, tuple(torch.zeros_like(p) for p in order)
        return order, torch.autograd.grad(
            total, order, create_graph=differentiable, materialize_grads=True
        )
