"""R copies of a net as one module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from toyml.measures.forward import stack_size


class Replicated(nn.Module):
    """R copies of a net: its parameters under their own names, with a leading replica axis.

    Args:
        net: The net that is copied. It is kept as the template and never written to.
        initial: Initial parameters, [R, ...] by name, as :func:`seeded_parameters` draws them or
            a grid of starting points; copied.

    Raises:
        ValueError: Names or shapes that are not the net's.

    Example:
        >>> weights = {"weight": torch.tensor([[[2.0]], [[3.0]]])}
        >>> stack = Replicated(nn.Linear(1, 1, bias=False), weights)
        >>> {name: list(p.shape) for name, p in stack.named_parameters()}
        {'weight': [2, 1, 1]}
        >>> stack(torch.tensor([[10.0]])).flatten().tolist()
        [20.0, 30.0]
    """

    def __init__(self, net: nn.Module, initial: Mapping[str, Tensor]) -> None:
        super().__init__()
        named = dict(net.named_parameters())
        if not named or set(initial) != set(named):
            raise ValueError(
                f"initial values are given for {', '.join(initial) or 'nothing'}, but the net's "
                f"parameters are {', '.join(named) or 'none'}: give exactly those"
            )
        self.replicas = stack_size(initial)
        # In a tuple, where nn.Module does not look for parameters of its own.
        self._template = (net,)
        for name, p in named.items():
            given = initial[name]
            if given.shape[1:] != p.shape:
                raise ValueError(
                    f"initial {name} has shape {list(given.shape)}; R replicas of it have "
                    f"[R, {', '.join(map(str, p.shape))}]"
                )
            copy = nn.Parameter(given.detach().clone(memory_format=torch.contiguous_format))
            copy.requires_grad_(p.requires_grad)
            self._owner(name).register_parameter(name.rpartition(".")[2], copy)
        for name, b in net.named_buffers():
            self._owner(name).register_buffer(name.rpartition(".")[2], b.detach().clone())

    def _owner(self, name: str) -> nn.Module:
        """The submodule that is to hold a parameter of this dotted name; made if missing."""
        place: nn.Module = self
        for part in name.split(".")[:-1]:
            if part not in place._modules:
                place.add_module(part, nn.Module())
            place = place._modules[part]  # type: ignore[assignment]
        return place

    @property
    def template(self) -> nn.Module:
        """The net whose copies these are; its own parameters mean nothing."""
        return self._template[0]

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [R, n, k] of all replicas for the same inputs x [n, d]."""
        buffers = dict(self.named_buffers())
        mapped = vmap(lambda p: functional_call(self.template, (p, buffers), (x,)))
        outputs: Tensor = mapped(dict(self.named_parameters()))
        return outputs

    def replica(self, i: int) -> dict[str, Tensor]:
        """A copy of one replica's parameters, as the net's ``load_state_dict`` takes them.

        Raises:
            IndexError: There is no such replica.
        """
        if not 0 <= i < self.replicas:
            raise IndexError(f"replica {i} of {self.replicas}; they are counted from 0")
        return {name: p[i].detach().clone() for name, p in self.named_parameters()}

    def named_slices(self, start: int, stop: int) -> Iterator[tuple[str, Tensor]]:
        """Replicas start to stop - 1 of every parameter [r, ...], as views without gradients."""
        for name, p in self.named_parameters():
            yield name, p.detach()[start:stop]
