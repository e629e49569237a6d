"""Fully connected nets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from toyml.models.initial import fill


class MLP(nn.Sequential):
    r"""A fully connected net.

    .. math:: h_1 = \phi(W_1 x + b_1), \dots, \qquad f(x) = \sigma(W_L h_{L-1} + b_L)

    Layers are named ``hidden1``, ``hidden2``, ..., ``output``; so are their parameters
    (``hidden1.weight`` [h, d], ``output.bias`` [k]).

    Args:
        widths: [d, h, ..., k]: inputs, hidden units of each layer, outputs.
        activation: Module after every hidden layer; it has no parameters, one serves all layers.
        output_activation: Module after the last layer; none leaves it affine.
        bias: Whether the layers have biases.
        initial: Initial values by parameter name; names left out keep PyTorch's draw.

    Raises:
        ValueError: Fewer than two widths, a width below 1, or a wrong initial value.

    Example:
        >>> sum(p.numel() for p in MLP([2, 5, 1]).parameters())
        21
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: nn.Module | None = None,
        output_activation: nn.Module | None = None,
        bias: bool = True,
        initial: dict[str, list[float] | list[list[float]]] | None = None,
    ) -> None:
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(
                f"widths are {list(widths)}; give at least [inputs, outputs], each at least 1"
            )
        activation = nn.Sigmoid() if activation is None else activation
        if any(True for _ in activation.parameters()):
            raise ValueError(
                f"activation {type(activation).__name__} has parameters of its own, which the "
                "layers would share; build the net from torch.nn.Sequential instead"
            )
        layers: list[tuple[str, nn.Module]] = []
        for i, (d, h) in enumerate(pairwise(widths[:-1]), start=1):
            layers.append((f"hidden{i}", nn.Linear(d, h, bias=bias)))
            layers.append((f"activation{i}", activation))
        layers.append(("output", nn.Linear(widths[-2], widths[-1], bias=bias)))
        if output_activation is not None:
            layers.append(("output_activation", output_activation))
        super().__init__(OrderedDict(layers))
        fill(self, initial)
