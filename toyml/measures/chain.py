"""Nets that are a chain of affine layers and elementwise activations, evaluated points-last.

With activations stored as [t, units, n] the first layer of all snapshots is one matrix product
(they share the input) and every later one a batched product whose long axis, the points, is
contiguous. On small nets that is several times faster than mapping the module over snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ELEMENTWISE: frozenset[type[nn.Module]] = frozenset(
    {
        nn.CELU,
        nn.ELU,
        nn.GELU,
        nn.Hardsigmoid,
        nn.Hardswish,
        nn.Hardtanh,
        nn.Identity,
        nn.LeakyReLU,
        nn.LogSigmoid,
        nn.Mish,
        nn.ReLU,
        nn.ReLU6,
        nn.SELU,
        nn.SiLU,
        nn.Sigmoid,
        nn.Softplus,
        nn.Softsign,
        nn.Tanh,
        nn.Tanhshrink,
    }
)
"""Activations that treat every number alike, so that the order of the axes is free."""


@dataclass(frozen=True)
class Layer:
    """One affine layer and the activations after it.

    Attributes:
        weight: Name of its weight among ``net.named_parameters()``.
        bias: Name of its bias, or ``None``.
        width: Number of units it has.
        activations: Elementwise modules applied to its output, in order.
    """

    weight: str
    bias: str | None
    width: int
    activations: tuple[nn.Module, ...]


def read_chain(net: nn.Module) -> tuple[Layer, ...] | None:
    """The layers of a net that is affine layers and elementwise activations, else ``None``.

    Recognised are exactly ``nn.Linear``, and ``nn.Sequential`` (also nested, also subclasses that
    keep its ``forward``) of it and the activations in ``ELEMENTWISE``, starting with an affine
    layer. Subclasses with a ``forward`` of their own, parametrizations and forward hooks may
    compute something else and are left to the general route.

    Example:
        >>> layers = read_chain(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
        >>> [(layer.weight, layer.width) for layer in layers or ()]
        [('0.weight', 3), ('2.weight', 1)]
        >>> read_chain(nn.Sequential(nn.Linear(2, 3), nn.Softmax(dim=1))) is None
        True
    """
    modules = _unrolled(net)
    if modules is None or not modules or type(modules[0]) is not nn.Linear:
        return None
    # By identity, because a parameter shared by two layers has only its first name.
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    layers: list[Layer] = []
    for module in modules:
        if isinstance(module, nn.Linear):
            bias = None if module.bias is None else names[id(module.bias)]
            layers.append(Layer(names[id(module.weight)], bias, module.out_features, ()))
        else:
            last = layers[-1]
            layers[-1] = Layer(last.weight, last.bias, last.width, (*last.activations, module))
    return tuple(layers)


def _unrolled(net: nn.Module) -> list[nn.Module] | None:
    if net._forward_hooks or net._forward_pre_hooks or "forward" in vars(net):
        return None
    if type(net) is nn.Linear or type(net) in ELEMENTWISE:
        return [net]
    if not isinstance(net, nn.Sequential) or type(net).forward is not nn.Sequential.forward:
        return None
    modules: list[nn.Module] = []
    for child in net:
        inner = _unrolled(child)
        if inner is None:
            return None
        modules += inner
    return modules


def preactivation(layer: Layer, parameters: Mapping[str, Tensor], h: Tensor) -> Tensor:
    """The affine map of one layer for every snapshot, points last.

    Args:
        layer: The layer.
        parameters: Snapshots, [t, ...] by name.
        h: Its input: [d, n] shared by all snapshots, or [t, d, n].

    Returns:
        W h + b, [t, width, n].
    """
    weight = parameters[layer.weight]
    t, width, d = weight.shape
    bias = None if layer.bias is None else parameters[layer.bias]
    if h.ndim == 3:
        return torch.bmm(weight, h) if bias is None else torch.baddbmm(bias[..., None], weight, h)
    rows = weight.reshape(t * width, d)
    flat = rows @ h if bias is None else torch.addmm(bias.reshape(-1, 1), rows, h)
    return flat.view(t, width, h.shape[1])


def run_chain(layers: tuple[Layer, ...], parameters: Mapping[str, Tensor], h: Tensor) -> Tensor:
    """The output of the last layer for every snapshot: from h, as above, to [t, width, n]."""
    for layer in layers:
        h = preactivation(layer, parameters, h)
        for activation in layer.activations:
            h = activation.forward(h)
    return h
