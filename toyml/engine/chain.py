"""Loss and gradients of a net, with as little as possible around the arithmetic.

For a chain of linear layers and elementwise activations the derivative is written down: it calls
the very kernels that autograd's formulas call, in the same order, so the gradients are bit-equal
to ``loss.backward()`` while building no graph (two thirds of a toy step). Any other net is
differentiated by autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

aten = torch.ops.aten

Gradients = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Sequence[Tensor | None]]]
"""(x, y) -> (loss, output, gradients in the order of the parameters asked for)."""

MEAN = 1  # ATen's number for reduction="mean"

# Activation: its function, and its derivative from (gradient, output) as autograd computes it.
ACTIVATIONS: dict[
    type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]
] = {
    nn.Sigmoid: (torch.sigmoid, aten.sigmoid_backward.default),
    nn.Tanh: (torch.tanh, aten.tanh_backward.default),
    nn.ReLU: (torch.relu, lambda g, out: aten.threshold_backward.default(g, out, 0)),
}


def differentiate(net: nn.Module, loss: nn.Module, parameters: Sequence[Tensor]) -> Gradients:
    """A function that evaluates loss, output and gradients of a net.

    Args:
        net: The net; looked at once, its parameters are read at every call.
        loss: The loss module, called as ``loss(output, y)``.
        parameters: Which gradients to return, in this order.
    """
    layers = flatten(net)
    derivative = loss_derivative(loss)
    if layers is not None and derivative is not None and _covers(layers, parameters):
        return _written_down(layers, loss, derivative, parameters)
    forward = net if layers is None else _composed(layers)

    def by_autograd(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor | None]]:
        with torch.enable_grad():
            output = forward(x)
            value = loss(output, y)
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
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
        module._forward_hooks
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


def loss_derivative(loss: nn.Module) -> Callable[[Tensor, Tensor], Tensor] | None:
    """d mean loss / d output as autograd computes it, or ``None`` for a loss not known here."""
    if getattr(loss, "reduction", "") != "mean" or has_hooks(loss):
        return None
    if getattr(loss, "weight", None) is not None or getattr(loss, "pos_weight", None) is not None:
        return None

    def one(output: Tensor) -> Tensor:
        return output.new_ones(())

    kind = type(loss)
    if kind is nn.MSELoss:
        return lambda out, y: aten.mse_loss_backward.default(one(out), out, y, MEAN)
    if kind is nn.BCELoss:
        backward = aten.binary_cross_entropy_backward.default
        return lambda out, y: backward(one(out), out, y, None, MEAN)
    if kind is nn.BCEWithLogitsLoss:
        return lambda out, y: torch.sigmoid(out).sub_(y).div_(out.numel())
    if kind is nn.HuberLoss:
        delta = loss.delta
        return lambda out, y: aten.huber_loss_backward.default(one(out), out, y, MEAN, delta)
    if kind is nn.SmoothL1Loss:
        beta = loss.beta
        return lambda out, y: aten.smooth_l1_loss_backward.default(one(out), out, y, MEAN, beta)
    if kind is nn.L1Loss:
        return lambda out, y: torch.sgn(out - y).mul_(one(out) / out.numel())
    return None


def _written_down(
    layers: Sequence[nn.Module],
    loss: nn.Module,
    derivative: Callable[[Tensor, Tensor], Tensor],
    parameters: Sequence[Tensor],
) -> Gradients:
    linear = nn.functional.linear
    steps: list[tuple[Callable[..., Tensor], Tensor | None, Tensor | None, int, int]] = []
    place = {id(p): i for i, p in enumerate(parameters)}
    for layer in layers:
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight, layer.bias
            at = place[id(bias)] if bias is not None else -1
            steps.append((linear, weight, bias, place[id(weight)], at))
        else:
            steps.append((*ACTIVATIONS[type(layer)], None, -1, -1))  # type: ignore[arg-type]
    forwards = [(f, w, b) if f is linear else (f, None, None) for f, w, b, _, _ in steps]
    backwards = list(reversed(steps))
    count, last = len(parameters), len(steps) - 1

    def gradients(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor | None]]:
        kept = [x]
        for function, weight, bias in forwards:
            x = function(x) if weight is None else function(x, weight, bias)
            kept.append(x)
        output = kept.pop()
        value = loss(output, y)
        gradient = derivative(output, y)
        found: list[Tensor | None] = [None] * count
        for i, (function, second, _, at_weight, at_bias) in enumerate(backwards):
            before = kept.pop()
            if function is not linear:
                # second is the derivative; it wants the activation's output.
                gradient = second(gradient, x)  # type: ignore[misc]
                x = before
                continue
            found[at_weight] = gradient.t().mm(before)
            if at_bias >= 0:
                found[at_bias] = gradient.sum(0)
            if i < last:
                gradient = gradient.mm(second)  # type: ignore[arg-type]
            x = before
        return value, output, found

    return gradients
