"""A net on fixed inputs as one tensor program over many snapshots, and how many fit at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from toyml.measures.chain import Layer, read_chain, run_chain

Parameters = Mapping[str, Tensor]
"""Tensors by parameter name: one snapshot, or a stack of t with leading axis [t].

Where a net is evaluated the names of buffers may stand among them (running statistics of that
snapshot); those that do not are taken from the net.
"""

CHAIN_BYTES = 2**19
"""Size of the widest activation of one chunk on a CPU: within a core's cache.

Larger chunks are slower, much larger ones slower than a loop over single snapshots.
"""

MAPPED_BYTES = 2**22
"""The same where every operation is mapped over the chunk, which costs more per call."""

ACCELERATOR_BYTES = 2**26
"""The same where launching a kernel costs more than a cache miss."""


class Forward:
    """A net on fixed inputs as a function of a stack of snapshots: [t, ...] -> [t, n, k].

    A context: inside it the net is in evaluation mode; afterwards every submodule's training flag
    is what it was.

    Args:
        net: Any module; chains of affine layers and elementwise activations take the fast route.
        x: Inputs [n, d].
    """

    def __init__(self, net: nn.Module, x: Tensor) -> None:
        self.net, self.x = net, x
        self.layers = read_chain(net) if x.ndim == 2 else None
        self._columns = x.T.contiguous() if self.layers else x
        # Copies, so that a module that writes to a buffer writes to ours; in the inputs' dtype,
        # so that a float32 module can be looked at in float64.
        self._buffers = {
            name: b.to(x.device, x.dtype if b.is_floating_point() else b.dtype, copy=True)
            for name, b in net.named_buffers()
        }

    def __enter__(self) -> Forward:
        self._context = evaluating(self.net)
        self._context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def __call__(self, parameters: Parameters) -> Tensor:
        """Outputs [t, n, k] of the snapshots, all at once."""
        if self.layers is not None:
            return run_chain(self.layers, parameters, self._columns).transpose(1, 2)
        given = {
            name: p.to(self.x.dtype) if name in self._buffers and p.is_floating_point() else p
            for name, p in parameters.items()
        }
        rest = {name: b for name, b in self._buffers.items() if name not in given}
        mapped = vmap(lambda p: functional_call(self.net, (p, rest), (self.x,)))
        result: Tensor = mapped(given)
        return result

    def chunk(self, parameters: Parameters) -> int:
        """How many snapshots to evaluate at once so that the widest tensor fits the cache."""
        size = self.widest(parameters) * self.x.element_size()
        limit = CHAIN_BYTES if self.layers is not None else MAPPED_BYTES
        return fitting(size, self.x.device, limit)

    def widest(self, parameters: Parameters) -> int:
        """Elements in the largest tensor that one snapshot's evaluation produces."""
        if self.layers is not None:
            return widest_of_chain(self.layers, parameters, len(self.x))
        seen = _Widest()  # type: ignore[no-untyped-call]
        with torch.no_grad(), seen:
            self({name: p[:1] for name, p in parameters.items()})
        return seen.elements


def widest_of_chain(layers: tuple[Layer, ...], parameters: Parameters, n: int) -> int:
    """Elements in the largest weight or activation of one snapshot."""
    weights = max(prod(p.shape[1:]) for p in parameters.values())
    return max(weights, n * max(layer.width for layer in layers), 1)


def fitting(size: int, device: torch.device, limit: int = CHAIN_BYTES) -> int:
    """How many snapshots of ``size`` bytes each to hold at once on a device, at least 1.

    ``limit`` is in bytes and for CPUs.
    """
    return max(1, (limit if device.type == "cpu" else ACCELERATOR_BYTES) // size)


class _Widest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Note the size of the largest tensor that any operation returns."""

    elements: int = 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every submodule's own training flag comes back."""
    flags = [(module, module.training) for module in net.modules() if module.training]
    try:
        for module, _ in flags:
            # Not net.eval(), which a module may override to keep parts of itself in one mode.
            module.training = False
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def chunks(parameters: Parameters, t: int, size: int) -> Iterator[dict[str, Tensor]]:
    """Consecutive slices of at most ``size`` snapshots.

    Raises:
        ValueError: A size below 1.
    """
    if size < 1:
        raise ValueError(f"chunk is {size}; it has to be at least 1 snapshot")
    for start in range(0, t, size):
        yield {name: p[start : start + size] for name, p in parameters.items()}


def gathered(
    function: Callable[[Parameters], Tensor], parameters: Parameters, t: int, size: int
) -> Tensor:
    """``function`` of each chunk, written into one result: no second copy at the end."""
    result: Tensor | None = None
    start = 0
    for part in chunks(parameters, t, size):
        values = function(part)
        if result is None:
            if len(values) == t:
                return values.contiguous()
            result = values.new_empty((t, *values.shape[1:]))
        result[start : start + len(values)] = values
        start += len(values)
    assert result is not None
    return result


def check(net: nn.Module, parameters: Parameters, x: Tensor, y: Tensor | None = None) -> int:
    """Refuse what does not belong together.

    Returns:
        t, the number of snapshots.

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together.
    """
    shapes = {name: p.shape for name, p in net.named_parameters()}
    buffers = {name: b.shape for name, b in net.named_buffers() if name in parameters}
    shapes |= buffers
    if not shapes.keys() - buffers or set(parameters) != set(shapes):
        raise ValueError(
            f"parameters are {', '.join(parameters) or 'none'}; "
            f"the net has {', '.join(shapes) or 'none'}: give exactly those"
        )
    t = stack_size(parameters)
    for name, shape in shapes.items():
        given = parameters[name].shape
        if given[1:] != shape:
            raise ValueError(
                f"{name} has shape {list(given)}; a stack of snapshots of this net has "
                f"[t, {', '.join(map(str, shape))}]: one snapshot is stacked by unsqueeze(0)"
            )
        if name not in buffers and parameters[name].dtype != x.dtype:
            raise ValueError(
                f"x is {x.dtype} but {name} is {parameters[name].dtype}; cast x to the parameters"
            )
    if y is not None and y.is_floating_point() and y.dtype != x.dtype:
        raise ValueError(f"y is {y.dtype} but x is {x.dtype}; cast y to the parameters")
    return t


def stack_size(parameters: Parameters) -> int:
    """t, the length of the leading axis that all tensors of a stack share.

    Raises:
        ValueError: No tensors, one without a leading axis, lengths that differ or are 0.
    """
    lengths = {name: len(p) if p.ndim else None for name, p in parameters.items()}
    if len(set(lengths.values())) != 1 or {None, 0} & set(lengths.values()):
        raise ValueError(
            f"leading axes are {lengths}; give every tensor the same number of snapshots, 1 or more"
        )
    return next(iter(parameters.values())).shape[0]
