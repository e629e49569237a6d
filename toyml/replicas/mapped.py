"""Whether a net can be mapped over replicas, which of its layers cannot, and what a step takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from toyml.engine import Block
from toyml.errors import UserError
from toyml.replicas.eager import evaluation
from toyml.replicas.stack import Replicated

GRAPH = 3
"""How many times the forward pass's tensors a step takes: those kept, and their gradients."""


def step_bytes(stack: Replicated, loss: nn.Module, block: Block) -> int:
    """Bytes that forward and backward of one replica take, by trying two on the first batch.

    Raises:
        UserError: The net or the loss cannot be mapped (the message names the layer), or shapes
            that do not belong together.
    """
    net = stack.template
    x, y = next(block.batches(0, 1))
    # Two of them, so that what works for a single one only is found out.
    part = {name: p[:1].expand(2, *p.shape[1:]) for name, p in stack.named_slices(0, 1)}
    before = {name: b.clone() for name, b in stack.named_buffers()}
    seen = _Bytes()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=[]), torch.no_grad(), entered(net) as inside:
        try:
            with seen:
                evaluation(stack, loss)(part, x, y)
        except ValueError as error:
            raise UserError(str(error)) from error
        except (RuntimeError, NotImplementedError, TypeError, IndexError) as error:
            where = inside[-1] if inside else f"loss {type(loss).__name__}"
            raise UserError(
                f"{where} cannot be mapped over replicas ({_reason(error)}); train it with a fit "
                "per seed, or leave it out"
            ) from error
        finally:
            for name, b in stack.named_buffers():
                b.copy_(before[name])
    return max(1, GRAPH * seen.total // 2)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    for sign, words in (
        ("randomness", "it draws random numbers in training"),
        ("running_mean", "it writes statistics of one replica where all would see them"),
        ("in-place arithmetic", "it writes into a buffer that all replicas share"),
        ("data-dependent", "which way it goes depends on the data"),
        (".item()", "it takes a number out of a tensor"),
    ):
        if sign in text:
            return words
    return text[:120]


@contextmanager
def entered(net: nn.Module) -> Iterator[list[str]]:
    """The layers that are being computed, outermost first, while the net runs."""
    inside: list[str] = []
    handles = []
    for name, module in net.named_modules():
        label = f"layer {name} ({type(module).__name__})" if name else type(module).__name__

        def enter(*_: Any, label: str = label) -> None:
            inside.append(label)

        def leave(*_: Any) -> None:
            inside.pop()

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()


class _Bytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the size of all tensors that operations return."""

    total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.total += result.numel() * result.element_size()
        return result
