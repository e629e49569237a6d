"""Settings of an optimizer that are one number, or one number per replica."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Setting = float | list[float] | Tensor
"""One number for all replicas, or R numbers, one for each."""

Known = float | Tensor
"""The same after the check: a number, or a float64 tensor [R]."""

Coefficient = float | list[Tensor]
"""A number, or one tensor per parameter that broadcasts to it."""

Spread = Callable[[Tensor, Tensor], Tensor]
"""(values [R], parameter) -> the values in a shape and dtype that broadcast to the parameter."""


def setting(name: str, value: Setting, least: float = 0.0, below: float = math.inf) -> Known:
    """Check a setting and bring it into one of two forms.

    Args:
        name: What it is called in the error.
        value: A number, or R of them.
        least: The least that is allowed.
        below: What every number has to stay below.

    Raises:
        ValueError: A number out of range (or NaN), or a shape that is not [R].

    Example:
        >>> setting("lr", 0.1), setting("lr", [0.1, 0.2])
        (0.1, tensor([0.1000, 0.2000], dtype=torch.float64))
    """
    try:
        values = torch.as_tensor(value, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is {value!r}: give a number, or one per replica") from error
    if values.ndim > 1 or values.numel() == 0:
        shape = list(values.shape)
        raise ValueError(f"{name} has shape {shape}; give one number, or [R], one per replica")
    wrong = values[~((values >= least) & (values < below))].flatten()
    if len(wrong):
        end = "finite" if below == math.inf else f"below {below:g}"
        raise ValueError(f"{name} is {float(wrong[0])}; it has to be at least {least:g} and {end}")
    return float(values) if values.ndim == 0 else values


def same_replicas(settings: dict[str, Known], parameters: Sequence[Tensor]) -> None:
    """See that settings per replica and parameters have the same R.

    Raises:
        ValueError: They do not.
    """
    for name, value in settings.items():
        if not isinstance(value, Tensor):
            continue
        for p in parameters:
            if p.ndim == 0 or len(p) != len(value):
                raise ValueError(
                    f"{name} has {len(value)} values but a parameter has shape {list(p.shape)}: "
                    "its first axis has to be the replicas"
                )


def leading(values: Tensor, parameter: Tensor) -> Tensor:
    """The values [R] for a parameter [R, ...]: one axis of length 1 for each of its others."""
    return values.to(parameter).view(-1, *[1] * (parameter.ndim - 1))


def is_zero(value: Known) -> bool:
    """Whether a setting is zero for every replica, so that there is nothing to compute."""
    return not bool(value.any()) if isinstance(value, Tensor) else value == 0


def coefficient(value: Known, parameters: Sequence[Tensor], spread: Spread) -> Coefficient:
    """A setting in the form the operations below take."""
    if isinstance(value, Tensor):
        return [spread(value, p) for p in parameters]
    return value


# -- operations on lists of tensors ----------------------------------------------------------------


def add_(targets: list[Tensor], sources: list[Tensor], factor: Coefficient) -> None:
    """Targets += factor * sources."""
    if isinstance(factor, list):
        torch._foreach_addcmul_(targets, sources, factor)
    else:
        torch._foreach_add_(targets, sources, alpha=factor)


def plus(first: list[Tensor], second: list[Tensor], factor: Coefficient) -> list[Tensor]:
    """First + factor * second, anew."""
    if isinstance(factor, list):
        return list(torch._foreach_addcmul(first, second, factor))
    return list(torch._foreach_add(first, second, alpha=factor))


def scale_(targets: list[Tensor], factor: Coefficient) -> None:
    """Targets *= factor."""
    if factor != 1.0:
        torch._foreach_mul_(targets, factor)
