"""Whether a net's output follows from its parameters and inputs alone, found out by trying."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from toyml.measures.forward import evaluating

MOST_ROWS = 256
"""Rows that are tried; a net that none of them shows to be random is taken as deterministic."""

DRAWS = 4
"""Outputs in training mode that are compared with each other."""


class Behaviour(NamedTuple):
    """What a net's output depends on besides parameters and inputs.

    Attributes:
        on: "chance" (outputs drawn anew at each call), "the mode" (training or evaluation), or ""
            for neither.
        layers: Class names of the layers known to do so, in their order.
        buffers: Names of the buffers that a step in training mode changes.
    """

    on: str
    layers: tuple[str, ...]
    buffers: tuple[str, ...]

    @property
    def why(self) -> str:
        """The reason in words; "" for a net that depends on nothing else.

        Example:
            >>> Behaviour("chance", ("Dropout",), ()).why
            "the net's output depends on chance (Dropout)"
        """
        named = f" ({', '.join(self.layers)})" if self.layers else ""
        return f"the net's output depends on {self.on}{named}" if self.on else ""


def behaviour(net: nn.Module, x: Tensor) -> Behaviour:
    """Call a copy of the net several times in both modes, and compare.

    The copy is tried with its own parameters and with larger random ones, since a layer whose
    outputs are all zero hides what the layers before it do. The net, its buffers and all random
    generators stay as they were.

    Args:
        net: The net.
        x: Inputs [n, ...]; the first 256 rows are used, in the precision of the net.

    Example:
        >>> behaviour(nn.Sequential(nn.Linear(2, 9), nn.Dropout(0.5)), torch.ones(4, 2)).on
        'chance'
        >>> behaviour(nn.BatchNorm1d(2), torch.ones(4, 2)).buffers
        ('running_mean', 'running_var', 'num_batches_tracked')
    """
    twin = copy.deepcopy(net)
    own = next(twin.parameters(), x)
    x = x[:MOST_ROWS].to(own) if x.is_floating_point() else x[:MOST_ROWS].to(own.device)
    before = {name: b.clone() for name, b in twin.named_buffers()}
    chance = mode = False
    changed: set[str] = set()
    with generators_kept(x.device), torch.no_grad():
        for larger in (False, True):
            if larger:
                for p in twin.parameters():
                    p.copy_(torch.randn(p.shape).to(p))
            for name, b in twin.named_buffers():
                b.copy_(before[name])
            try:
                with evaluating(twin):
                    calm = [twin(x), twin(x)]
                twin.train()
                drawn = [twin(x) for _ in range(DRAWS)]
            except (ValueError, RuntimeError, ArithmeticError):
                if larger:
                    break  # a net may refuse numbers that it never reaches
                return Behaviour("the mode", random_layers(net), tuple(before))
            chance |= not all(same(calm[0], other) for other in calm[1:])
            chance |= not all(same(drawn[0], other) for other in drawn[1:])
            mode |= not same(calm[0], drawn[0])
            changed |= {n for n, b in twin.named_buffers() if not same(b, before[n])}
    on = "chance" if chance else "the mode" if mode else ""
    return Behaviour(
        on, random_layers(net) if on else (), tuple(name for name in before if name in changed)
    )


def random_layers(net: nn.Module) -> tuple[str, ...]:
    """Class names of torch's own layers that are random, or act differently in training."""
    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase, nn.RReLU)
    return tuple(dict.fromkeys(type(m).__name__ for m in net.modules() if isinstance(m, kinds)))


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, NaN to NaN."""
    return a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))


@contextmanager
def generators_kept(device: torch.device | None = None) -> Iterator[None]:
    """Put torch's (on the CPU and this device), NumPy's and Python's generators back afterwards."""
    state, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - kept, not used
    try:
        with torch.random.fork_rng([device] if device and device.type == "cuda" else []):
            yield
    finally:
        random.setstate(state)
        np.random.set_state(legacy)  # noqa: NPY002
