"""Chains of narrow layers for many replicas at once, the derivative written down.

Everything is stored replicas last: parameters as rows [p, r], activations as [n, units, r]. All
replicas see the same inputs, so the first layer is one matrix product whichever way it is gone
through, and every other operation runs over the r replicas side by side. A step takes about
twenty operations, and a setting [r] broadcasts along the rows as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toyml.measures.chain import read_chain
from toyml.replicas.losses import Measure

aten = torch.ops.aten

NARROW = 16
"""Layers wider than this after the first are better served by batched matrix products."""


@dataclass(frozen=True)
class Layer:
    """One affine layer and its activation, with its place among the rows.

    Attributes:
        weight: Name of W.
        bias: Name of b, or ``None``.
        inputs: Units before.
        outputs: Units after.
        row: First row of W; those of b follow it.
        activation: Sigmoid, Tanh, ReLU, or ``None``.
    """

    weight: str
    bias: str | None
    inputs: int
    outputs: int
    row: int
    activation: type[nn.Module] | None

    @property
    def rows(self) -> int:
        """Rows of W and b together."""
        return self.outputs * (self.inputs + (self.bias is not None))


def read_narrow(net: nn.Module) -> tuple[Layer, ...] | None:
    """The layers of a chain whose derivative is written down here, else ``None``."""
    chain = read_chain(net)
    if chain is None or not all(p.requires_grad for p in net.parameters()):
        return None
    shapes = {name: p.shape for name, p in net.named_parameters()}
    names = [name for layer in chain for name in (layer.weight, layer.bias) if name]
    if sorted(names) != sorted(shapes):
        return None
    layers: list[Layer] = []
    row = 0
    for i, layer in enumerate(chain):
        kinds = [type(a) for a in layer.activations if type(a) is not nn.Identity]
        outputs, inputs = shapes[layer.weight]
        wide = i > 0 and min(outputs, inputs) > NARROW
        if len(kinds) > 1 or any(kind not in ACTIVATIONS for kind in kinds) or wide:
            return None
        kind = kinds[0] if kinds else None
        layers.append(Layer(layer.weight, layer.bias, inputs, outputs, row, kind))
        row += layers[-1].rows
    return tuple(layers)


# -- activations: in place, and the derivative from (gradient, value), in place ------------------


def _tanh_(z: Tensor) -> Tensor:
    if z.device.type != "cpu":
        return z.tanh_()
    # tanh z = 2 sigmoid(2 z) - 1 takes a fifth of torch's time; the error is that of rounding 1.
    return z.mul_(2).sigmoid_().mul_(2).sub_(1)


def _sigmoid_slope(gradient: Tensor, a: Tensor) -> None:
    aten.sigmoid_backward.grad_input(gradient, a, grad_input=gradient)


def _tanh_slope(gradient: Tensor, a: Tensor) -> None:
    aten.tanh_backward.grad_input(gradient, a, grad_input=gradient)


def _relu_slope(gradient: Tensor, a: Tensor) -> None:
    aten.threshold_backward.grad_input(gradient, a, 0, grad_input=gradient)


ACTIVATIONS = {
    nn.Sigmoid: (torch.sigmoid_, _sigmoid_slope),
    nn.Tanh: (_tanh_, _tanh_slope),
    nn.ReLU: (torch.relu_, _relu_slope),
}


# -- parameters as rows --------------------------------------------------------------------------


def to_rows(layers: tuple[Layer, ...], parameters: Mapping[str, Tensor], rows: Tensor) -> None:
    """Copy parameters [r, ...] into rows [p, r].

    W of the first layer lies input by input, so that its product with the inputs [n, d] is one
    matrix product; W of the others lies output by output.
    """
    for _, name, place in _places(layers):
        values = parameters[name]
        turned = values.permute(2, 1, 0) if name == layers[0].weight else values.movedim(0, -1)
        rows[place].view(turned.shape).copy_(turned)


def from_rows(layers: tuple[Layer, ...], rows: Tensor, parameters: Mapping[str, Tensor]) -> None:
    """Copy rows [..., p, r] into parameters [..., r, *shape]."""
    lead = rows.shape[:-2]
    for layer, name, place in _places(layers):
        part = rows[..., place, :]
        if name == layers[0].weight:
            part = part.view(*lead, layer.inputs, layer.outputs, -1).transpose(-3, -2)
        elif name == layer.weight:
            part = part.view(*lead, layer.outputs, layer.inputs, -1)
        parameters[name].copy_(part.movedim(-1, len(lead)))


def _places(layers: tuple[Layer, ...]) -> list[tuple[Layer, str, slice]]:
    found = []
    for layer in layers:
        middle = layer.row + layer.outputs * layer.inputs
        found.append((layer, layer.weight, slice(layer.row, middle)))
        if layer.bias is not None:
            found.append((layer, layer.bias, slice(middle, layer.row + layer.rows)))
    return found


def row_places(layers: tuple[Layer, ...]) -> dict[str, slice]:
    """The rows of each parameter."""
    return {name: place for _, name, place in _places(layers)}


# -- loss and gradient ---------------------------------------------------------------------------


class Narrow:
    """Loss and gradient of r replicas of a chain.

    Args:
        layers: The chain.
        measure: Its loss.
        r: Number of replicas.
        like: A tensor of the dtype and device to compute in.

    Attributes:
        weights: The parameters, rows [p, r].
        gradient: Their gradients after a call, rows [p, r].
    """

    def __init__(self, layers: tuple[Layer, ...], measure: Measure, r: int, like: Tensor) -> None:
        p = layers[-1].row + layers[-1].rows
        self.layers, self.measure, self.r = layers, measure, r
        self.weights, self.gradient = like.new_zeros(p, r), like.new_zeros(p, r)
        self._views = [
            (_views(layer, self.weights), _views(layer, self.gradient)) for layer in layers
        ]
        self._buffers: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def __call__(self, x: Tensor, y: Tensor, exact: bool, value: Tensor) -> None:
        """Compute the gradients, and the loss into ``value`` [r].

        Args:
            x: Inputs [n, d], with a column of ones where the first layer has a bias.
            y: Targets [n, k, 1].
            exact: Whether the loss is wanted, or only something finite exactly when it is.
            value: Where it goes.
        """
        n, r, layers = len(x), self.r, self.layers
        buffers = self._buffers.get(n)
        if buffers is None:
            buffers = self._buffers[n] = [self._make_buffers(layer, n) for layer in layers]
        first = layers[0]
        a = buffers[0][0]
        rows = first.rows // first.outputs
        torch.mm(x, self.weights[: first.rows].view(rows, -1), out=a.view(n, -1))
        if first.activation is not None:
            ACTIVATIONS[first.activation][0](a)
        for i in range(1, len(layers)):
            z = buffers[i][0]
            self._forward(i, a, z, buffers[i][2])
            a = z
        share = 1 / (y.shape[0] * y.shape[1])
        slope = buffers[-1][1]
        terms = self.measure(a, y, slope, share, exact)
        torch.sum(terms.view(-1, r), 0, out=value).mul_(share)
        for i in range(len(layers) - 1, 0, -1):
            self._backward(i, buffers[i], buffers[i - 1])
        if first.activation is not None:
            ACTIVATIONS[first.activation][1](buffers[0][1], buffers[0][0])
        torch.mm(x.t(), buffers[0][1].view(n, -1), out=self.gradient[: first.rows].view(rows, -1))

    def _make_buffers(self, layer: Layer, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Activation, its gradient, and the products of one unit with all units before it."""
        new, r = self.weights.new_empty, self.r
        products = (n, layer.inputs, r) if layer.row else (0, 0, 0)
        return new(n, layer.outputs, r), new(n, layer.outputs, r), new(products)

    def _forward(self, i: int, a: Tensor, z: Tensor, products: Tensor) -> None:
        layer, ((w, b), _) = self.layers[i], self._views[i]
        if layer.inputs <= 4 * layer.outputs:
            torch.mul(a[:, :1], w[:, 0], out=z)
            for j in range(1, layer.inputs):
                z.addcmul_(a[:, j : j + 1], w[:, j])
        else:
            for o in range(layer.outputs):
                torch.mul(a, w[o], out=products)
                torch.sum(products, 1, out=z[:, o])
        if b is not None:
            z.add_(b)
        if layer.activation is not None:
            ACTIVATIONS[layer.activation][0](z)

    def _backward(
        self,
        i: int,
        here: tuple[Tensor, Tensor, Tensor],
        before: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        """From dL/da of layer i to its parameters' gradients and dL/da of the layer before."""
        layer, ((w, _), (gw, gb)) = self.layers[i], self._views[i]
        (a, gradient, products), (a_before, g_before, _) = here, before
        if layer.activation is not None:
            ACTIVATIONS[layer.activation][1](gradient, a)
        if gb is not None:
            torch.sum(gradient, 0, out=gb)
        for o in range(layer.outputs):
            torch.mul(a_before, gradient[:, o : o + 1], out=products)
            torch.sum(products, 0, out=gw[o])
        torch.mul(w[0], gradient[:, :1], out=g_before)
        for o in range(1, layer.outputs):
            g_before.addcmul_(w[o], gradient[:, o : o + 1])


def _views(layer: Layer, rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """W [k, h, r] and b [k, r] of a layer after the first, as views of the rows."""
    middle = layer.row + layer.outputs * layer.inputs
    bias = None if layer.bias is None else rows[middle : layer.row + layer.rows]
    return rows[layer.row : middle].view(layer.outputs, layer.inputs, -1), bias


def bytes_per_replica(layers: tuple[Layer, ...], n: int, size: int) -> int:
    """Memory one replica takes in a step on n rows, with numbers of ``size`` bytes."""
    kept = sum(2 * layer.outputs + (layer.inputs if layer.row else 0) for layer in layers)
    p = layers[-1].row + layers[-1].rows
    return size * (n * (kept + 2 * layers[-1].outputs) + 5 * p)
