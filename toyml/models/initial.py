"""Initial values given by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn


def fill(
    net: nn.Module, initial: Mapping[str, Sequence[float] | Sequence[Sequence[float]]] | None
) -> None:
    """Write the given values into the net's parameters.

    Args:
        net: The module to fill, in place.
        initial: Values by parameter name, nested lists in the parameter's shape.

    Raises:
        ValueError: A name the net does not have, or values of another shape.
    """
    parameters = dict(net.named_parameters())
    for name, values in (initial or {}).items():
        if name not in parameters:
            raise ValueError(
                f"initial value for {name!r}, but the parameters are {', '.join(parameters)}"
            )
        try:
            given = torch.as_tensor(values, dtype=torch.float64)
        except (ValueError, TypeError) as error:
            raise ValueError(f"initial value for {name!r} is no array: {error}") from error
        if given.shape != parameters[name].shape:
            raise ValueError(
                f"initial value for {name!r} has shape {list(given.shape)}, "
                f"the parameter has {list(parameters[name].shape)}"
            )
        with torch.no_grad():
            parameters[name].copy_(given)
