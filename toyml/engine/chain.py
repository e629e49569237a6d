"""Loss and gradients of a net, with as little as possible around the arithmetic.

For a chain of linear layers and elementwise activations the derivative is written down: it calls
the very kernels that autograd's formulas call, in the same order, so the gradients are bit-equal
to ``loss.backward()`` while building no graph (two thirds of a toy step). Any other net is
differentiated by autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

aten = torch.ops.aten

Gradients = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Sequence[Tensor | None]]]
"""(x, y) -> (loss, output, gradients in the order of the parameters asked for)."""

MEAN = 1  # ATen's number for reduction="mean"

# Activation: its function, the same in place, and its derivative from (gradient, output) as
# autograd computes it.
ACTIVATIONS: dict[
    type[nn.Module],
    tuple[
        Callable[[Tensor], Tensor],
        Callable[[Tensor], Tensor],
        Callable[[Tensor, Tensor], Tensor],
    ],
] = {
    nn.Sigmoid: (torch.sigmoid, torch.sigmoid_, aten.sigmoid_backward.default),
    nn.Tanh: (torch.tanh, torch.tanh_, aten.tanh_backward.default),
    nn.ReLU: (torch.relu, torch.relu_, lambda g, out: aten.threshold_backward.default(g, out, 0)),
}


def differentiate(
    net: nn.Module,
    loss: nn.Module,
    parameters: Sequence[Tensor],
    into: Sequence[Tensor | None] | None = None,
) -> Gradients:
    """A function that evaluates loss, output and gradients of a net.

    Args:
        net: The net; its tensors are looked up once and their values read at every call.
        loss: The loss module, called as ``loss(output, y)``.
        parameters: Which gradients to return, in this order.
        into: Tensors that may be used to hold them, over and over; ``None`` for a new one each
            time.
    """
    layers = flatten(net)
    known = known_loss(loss, parameters)
    if layers is not None and known is not None and _covers(layers, parameters):
        return _written_down(layers, *known, parameters, into or [None] * len(parameters))
    forward = net if layers is None else _composed(layers)
    learned = [p for p in parameters if p.requires_grad]

    def by_autograd(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor | None]]:
        with torch.enable_grad():
            output = forward(x)
            value = loss(output, y)
            found = iter(torch.autograd.grad(value, learned, allow_unused=True))
        gradients = [next(found) if p.requires_grad else None for p in parameters]
        return value.detach(), output.detach(), gradients

    return by_autograd


def flatten(net: nn.Module) -> list[nn.Module] | None:
    """The layers of a chain without hooks, in order; ``None`` when it is no such chain."""
    if has_hooks(net):
        return None
    if type(net).forward is not nn.Sequential.forward:
        return [net]
    layers: list[nn.Module] = []
    for child in net:  # type: ignore[attr-defined]  # children() would skip a layer used twice
        inner = flatten(child)
        if inner is None:
            return None
        layers += inner
    return [layer for layer in layers if type(layer) is not nn.Identity]


def has_hooks(module: nn.Module) -> bool:
    """Whether calling the module does more than its ``forward``."""
    return bool(
        "forward" in vars(module)  # replaced on this very object
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _composed(layers: Sequence[nn.Module]) -> Callable[[Tensor], Tensor]:
    functions: list[Callable[[Tensor], Tensor]] = [
        ACTIVATIONS[type(layer)][0] if type(layer) in ACTIVATIONS else layer for layer in layers
    ]

    def forward(x: Tensor) -> Tensor:
        for function in functions:
            x = function(x)
        return x

    return forward


def _covers(layers: Sequence[nn.Module], parameters: Sequence[Tensor]) -> bool:
    """Whether every layer is known and every parameter belongs to exactly one of them."""
    if not layers or any(type(m) is not nn.Linear and type(m) not in ACTIVATIONS for m in layers):
        return False
    own = [p for layer in layers for p in layer.parameters()]
    return (
        len(set(map(id, own))) == len(own)
        and set(map(id, own)) == set(map(id, parameters))
        and all(p.requires_grad and not p._backward_hooks for p in own)
    )


Loss = Callable[[Tensor, Tensor], Tensor]


def known_loss(loss: nn.Module, parameters: Sequence[Tensor]) -> tuple[Loss, Loss] | None:
    """A mean loss and its derivative by the output, as functions of (output, y).

    Both are what the module's ``forward`` and autograd end up calling. ``None`` for a loss that
    is not known here.
    """
    if getattr(loss, "reduction", "") != "mean" or has_hooks(loss) or not parameters:
        return None
    if getattr(loss, "weight", None) is not None or getattr(loss, "pos_weight", None) is not None:
        return None
    kind, one = type(loss), parameters[0].new_ones(())
    c: Any = torch._C._nn
    if kind is nn.MSELoss:
        mse = aten.mse_loss_backward.default
        return lambda out, y: c.mse_loss(out, y, MEAN), lambda out, y: mse(one, out, y, MEAN)
    if kind is nn.BCELoss:
        bce = aten.binary_cross_entropy_backward.default
        return (
            lambda out, y: c.binary_cross_entropy(out, y, None, MEAN),
            lambda out, y: bce(one, out, y, None, MEAN),
        )
    if kind is nn.BCEWithLogitsLoss:
        return (
            lambda out, y: torch.binary_cross_entropy_with_logits(out, y, None, None, MEAN),
            lambda out, y: torch.sigmoid(out).sub_(y).div_(out.numel()),
        )
    if kind is nn.HuberLoss:
        huber, delta = aten.huber_loss_backward.default, loss.delta
        return loss, lambda out, y: huber(one, out, y, MEAN, delta)
    if kind is nn.SmoothL1Loss:
        smooth, beta = aten.smooth_l1_loss_backward.default, loss.beta
        return loss, lambda out, y: smooth(one, out, y, MEAN, beta)
    if kind is nn.L1Loss:
        return loss, lambda out, y: torch.sgn(out - y).mul_(one / out.numel())
    return None


def _written_down(
    layers: Sequence[nn.Module],
    loss: Loss,
    derivative: Loss,
    parameters: Sequence[Tensor],
    into: Sequence[Tensor | None],
) -> Gradients:
    place = {id(p): i for i, p in enumerate(parameters)}
    forwards: list[Forward] = []
    backwards: list[Backward] = []
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            forward, backward = _linear(layer, place, first=i == 0)
        else:
            # In place where a linear layer made the input: its own derivative does not need it.
            forward, backward = _activation(layer, i > 0 and isinstance(layers[i - 1], nn.Linear))
        forwards.append(forward)
        backwards.insert(0, backward)

    def gradients(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor | None]]:
        kept = [x]
        for forward in forwards:
            x = forward(x)
            kept.append(x)
        value, gradient, found = loss(x, y), derivative(x, y), list(into)
        for backward in backwards:
            after = kept.pop()
            gradient = backward(gradient, kept[-1], after, found)
        return value, x, found

    return gradients


Forward = Callable[[Tensor], Tensor]
Backward = Callable[[Tensor, Tensor, Tensor, list[Tensor | None]], Tensor]
"""(gradient by the output, input, output, where the parameters' go) -> gradient by the input."""


def _linear(layer: nn.Linear, place: Mapping[int, int], first: bool) -> tuple[Forward, Backward]:
    weight, at_weight = layer.weight.detach(), place[id(layer.weight)]
    turned, narrow = weight.t(), layer.in_features == 1
    bias = None if layer.bias is None else layer.bias.detach()
    at_bias = -1 if layer.bias is None else place[id(layer.bias)]

    def forward(x: Tensor) -> Tensor:
        return torch.mm(x, turned) if bias is None else torch.addmm(bias, x, turned)

    def backward(
        gradient: Tensor, before: Tensor, after: Tensor, found: list[Tensor | None]
    ) -> Tensor:
        found[at_weight] = torch.mm(gradient.t(), before, out=found[at_weight])
        if bias is not None:
            found[at_bias] = torch.sum(gradient, 0, out=found[at_bias])
        if first:
            return gradient
        if narrow and len(before) == 1:
            # A single number looks column-major to autograd, which then multiplies transposed.
            return torch.mm(turned, gradient.t()).t()
        return torch.mm(gradient, weight)

    return forward, backward


def _activation(layer: nn.Module, in_place: bool) -> tuple[Forward, Backward]:
    function, function_, derivative = ACTIVATIONS[type(layer)]

    def backward(
        gradient: Tensor, before: Tensor, after: Tensor, found: list[Tensor | None]
    ) -> Tensor:
        return derivative(gradient, after)

    return function_ if in_place else function, backward
