"""One affine layer."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from toyml.models.initial import fill


class Linear(nn.Sequential):
    r"""An affine map and an optional output activation: a linear model or a perceptron.

    .. math:: f(x) = \sigma(W x + b)

    Args:
        inputs: d, the number of inputs.
        outputs: k, the number of outputs.
        output_activation: A module such as ``torch.nn.Sigmoid``; none leaves the affine map.
        bias: Whether there is a b.
        initial: Initial values by parameter name (``linear.weight`` [k, d], ``linear.bias`` [k]);
            names left out keep PyTorch's draw from U(-1/sqrt(d), 1/sqrt(d)).

    Raises:
        ValueError: A size that is not positive, or an initial value of the wrong name or shape.

    Example:
        >>> net = Linear(2, 1, initial={"linear.weight": [[1.0, 2.0]], "linear.bias": [3.0]})
        >>> net(torch.tensor([[1.0, 1.0]]))
        tensor([[6.]], grad_fn=<AddmmBackward0>)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int = 1,
        output_activation: nn.Module | None = None,
        bias: bool = True,
        initial: dict[str, list[float] | list[list[float]]] | None = None,
    ) -> None:
        if inputs < 1 or outputs < 1:
            raise ValueError(f"inputs and outputs are {inputs} and {outputs}; both must be >= 1")
        layers: list[tuple[str, nn.Module]] = [("linear", nn.Linear(inputs, outputs, bias=bias))]
        if output_activation is not None:
            layers.append(("output_activation", output_activation))
        super().__init__(OrderedDict(layers))
        fill(self, initial)
