"""Losses at many points of parameter space: compiled where that pays, else as tensor programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from toyml.compiled import LossKernel, NotCompilable, compile_losses
from toyml.measures.chain import read_chain
from toyml.measures.forward import Forward, Parameters, chunks, fitting, stack_size
from toyml.measures.objective import objective

WORTH_COMPILING = 2**24
"""Units evaluated, over all points and rows, from which on C code is generated for them.

As tensor programs they take about a tenth of a second, in C a tenth of that; the compiler takes
some tenths, once per net, losses and number of rows on a machine. Decided by size alone, so that
the same call gives the same bits again.
"""

Points = Callable[[slice], Parameters]
"""Makes the parameters [c, ...] of some consecutive points."""


def losses_of_points(
    net: nn.Module,
    losses: Sequence[nn.Module],
    points: Points,
    count: int,
    x: Tensor,
    y: Tensor,
    chunk: int | None,
) -> Tensor:
    """Losses [len(losses), count] at all points, in memory that does not grow with their number.

    Where the net is a chain that ``toyml.compiled`` knows and the work is worth it, generated C
    evaluates them, equal up to rounding. Everything else runs as tensor programs over ``chunk``
    points at once, all losses on each forward pass.
    """
    first = points(slice(0, 1))
    scalars = sum(p.numel() for p in first.values())
    block = fitting(scalars * x.element_size(), x.device)
    values = x.new_empty(len(losses), count)
    kernel = _kernel(net, losses, count, x, y)
    if kernel is not None:
        names = [name for name, _ in net.named_parameters()]
        for start in range(0, count, block):
            piece = slice(start, min(start + block, count))
            made = points(piece)
            rows = torch.cat([made[name].detach().flatten(1) for name in names], dim=1)
            values[:, piece] = kernel(rows, x, y)
        return values
    measures = [objective(loss, y) for loss in losses]
    with torch.no_grad(), Forward(net, x) as forward:
        size = forward.chunk(first) if chunk is None else chunk
        # A small net's parameters are made for many chunks at once: one by one, that would take
        # as long as evaluating them.
        block = size * max(1, block // size)
        done = 0
        for start in range(0, count, block):
            made = points(slice(start, min(start + block, count)))
            for part in chunks(made, stack_size(made), size):
                output = forward(part)
                piece = slice(done, done := done + len(output))
                for row, measure in zip(values, measures, strict=True):
                    row[piece] = measure(output)
    return values


def _kernel(
    net: nn.Module, losses: Sequence[nn.Module], count: int, x: Tensor, y: Tensor
) -> LossKernel | None:
    layers = read_chain(net)
    if layers is None or not x.is_cpu or x.ndim != 2:
        return None
    if count * len(x) * sum(layer.width for layer in layers) < WORTH_COMPILING:
        return None
    if y.shape != (len(x), layers[-1].width) or y.dtype != x.dtype or not y.is_cpu:
        return None
    try:
        return compile_losses(net, losses, len(x), x.dtype)
    except NotCompilable:
        return None
