"""A loss module as a function of the outputs of many snapshots."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn
from torch.func import vmap

ELEMENTWISE_LOSSES: frozenset[type[nn.Module]] = frozenset(
    {
        nn.BCELoss,
        nn.BCEWithLogitsLoss,
        nn.HuberLoss,
        nn.L1Loss,
        nn.MSELoss,
        nn.SmoothL1Loss,
        nn.SoftMarginLoss,
    }
)
"""Losses that average one term per number of the output."""

Objective = Callable[[Tensor], Tensor]


def objective(loss: nn.Module, y: Tensor) -> Objective:
    """The loss of each snapshot's outputs against the same targets.

    Args:
        loss: Module called as ``loss(output, y)`` that returns one number; with PyTorch's default
            reduction, the mean over points and outputs.
        y: Targets, [n, k] or what the loss takes.

    Returns:
        A function from outputs [t, n, k] to losses [t].

    Raises:
        ValueError: The loss returns one number per point; or, when called, floating-point targets
            whose shape is not the output's (they would be broadcast to a wrong loss).

    Example:
        >>> import torch
        >>> y = torch.tensor([[1.0], [3.0]])
        >>> objective(nn.MSELoss(), y)(torch.stack([y, y + 2]))
        tensor([0., 4.])
    """
    reduction = getattr(loss, "reduction", "mean")
    name = type(loss).__name__
    if reduction == "none":
        raise ValueError(f"{name} has reduction 'none'; give a loss that is one number ('mean')")
    if type(loss) not in ELEMENTWISE_LOSSES:

        def evaluate(output: Tensor) -> Tensor:
            # Weights of classes have the precision of the fit, and outputs that of the measure.
            own = {b.dtype for b in loss.buffers() if b.is_floating_point()}
            cast = copy.deepcopy(loss).to(output.dtype) if own - {output.dtype} else loss
            values: Tensor = vmap(lambda one: cast(one, y))(output)
            return values
    else:
        # One elementwise pass over all snapshots instead of a mapped reduction.
        terms = copy.copy(loss)
        terms.reduction = "none"  # type: ignore[assignment]

        def evaluate(output: Tensor) -> Tensor:
            each = terms(output, y.expand_as(output)).flatten(1)
            values: Tensor = each.sum(1) if reduction == "sum" else each.mean(1)
            return values

    def checked(output: Tensor) -> Tensor:
        if y.is_floating_point() and output.shape[1:] != y.shape:
            raise ValueError(
                f"the net's output has shape {list(output.shape[1:])} but y has {list(y.shape)}, "
                f"which {name} would broadcast to a wrong loss; reshape y"
            )
        values: Tensor = evaluate(output)
        if values.ndim != 1:
            raise ValueError(
                f"{name} returned shape {list(values.shape[1:])} per snapshot; "
                "give a loss that is one number"
            )
        return values

    return checked
