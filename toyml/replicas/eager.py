"""Steps of all replicas in PyTorch's own operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from toyml.engine import Block
from toyml.measures.chain import read_chain, run_chain
from toyml.measures.objective import objective
from toyml.replicas.asked import Asked, Seen
from toyml.replicas.losses import Measure
from toyml.replicas.narrow import (
    Layer,
    Narrow,
    bytes_per_replica,
    from_rows,
    row_places,
    to_rows,
)
from toyml.replicas.rules import Rule, narrowed
from toyml.replicas.stack import Replicated
from toyml.replicas.state import State

CACHE = 2**20
"""Bytes that one chunk of replicas works on: about what a core has for itself."""

ACCELERATOR_CACHE = 2**28
"""The same where starting an operation costs more than a cache miss."""

FEWEST = 32
"""Chunks of fewer replicas would spend their time on starting operations."""


def chunk_size(replicas: int, each: int, memory: int, device: torch.device) -> int:
    """How many replicas of ``each`` bytes to train side by side, at least 1."""
    cache = CACHE if device.type == "cpu" else ACCELERATOR_CACHE
    return max(1, min(replicas, memory // each, max(cache // each, FEWEST)))


class NarrowRoute:
    """Chunks of replicas, each through all steps asked for, in rows [p, r].

    Args:
        stack: The replicas.
        block: Their data.
        layers: The chain they are copies of.
        measure: Its loss.
        rule: Update rule and settings.
        state: The optimizer's state.
        memory: Bytes that may be used at once.
    """

    words = "batched chain, derivative written down"

    def __init__(
        self,
        stack: Replicated,
        block: Block,
        layers: tuple[Layer, ...],
        measure: Measure,
        rule: Rule,
        state: State,
        memory: int,
    ) -> None:
        self.stack, self.block, self.layers, self.measure = stack, block, layers, measure
        self.rule, self.state = rule, state
        p = next(stack.parameters())
        n = block.batch_size or len(block.x)
        each = bytes_per_replica(layers, n, p.element_size())
        self.chunk = chunk_size(stack.replicas, each, memory, p.device)
        self._names = {id(p): name for name, p in stack.named_parameters()}

    def run(self, asked: Asked) -> Seen:
        """Run the steps, for all replicas."""
        seen = Seen(self.stack, asked)
        self.state.prepare()
        for start in range(0, self.stack.replicas, self.chunk):
            self._run_chunk(start, min(start + self.chunk, self.stack.replicas), seen)
        self.state.advance(asked.last - asked.first)
        return seen

    def _run_chunk(self, start: int, stop: int, seen: Seen) -> None:
        asked, layers = seen.asked, self.layers
        some = next(self.stack.parameters()).detach()
        chain = Narrow(layers, self.measure, stop - start, some)
        to_rows(layers, self._slices(start, stop), chain.weights)
        groups = [_Group(self, i, chain, start, stop) for i in range(len(self.rule.groups))]
        values = some.new_empty(asked.last - asked.first, stop - start)
        noted, recorded = set(asked.noted), {s: i for i, s in enumerate(asked.recorded)}
        kept = some.new_empty(len(recorded), *chain.weights.shape)
        bias = layers[0].bias is not None
        ready: tuple[Tensor, Tensor, Tensor] | None = None
        for step, (x, y) in enumerate(self.block.batches(asked.first, asked.last), asked.first):
            if ready is None or ready[0] is not x:
                columns = torch.cat([x, x.new_ones(len(x), 1)], 1) if bias else x
                ready = (x, columns, y[..., None])
            chain(ready[1], ready[2], step in noted, values[step - asked.first])
            for group in groups:
                group.update()
            if step + 1 in recorded:
                kept[recorded[step + 1]].copy_(chain.weights)
        seen.take_values(values, start)
        from_rows(layers, chain.weights, self._slices(start, stop))
        for group in groups:
            group.finish()
        if recorded:
            into = {name: s[:, start:stop] for name, s in seen.snapshots.items()}
            from_rows(layers, kept, into)

    def _slices(self, start: int, stop: int) -> dict[str, Tensor]:
        return dict(self.stack.named_slices(start, stop))

    def state_slices(self, name: str, start: int, stop: int) -> dict[str, Tensor]:
        """The optimizer's tensors [r, ...] of one kind, zeros where a parameter has none."""
        found = {}
        for p in self.stack.parameters():
            value = self.state.optimizer.state[p].get(name)
            part = torch.zeros_like(p[start:stop]) if value is None else value[start:stop]
            found[self._names[id(p)]] = part
        return found


class _Group:
    """One parameter group of a chunk: its rows and their update.

    Args:
        route: Whose group it is.
        index: Which one.
        chain: The chunk's parameters and gradients.
        start: First replica.
        stop: One past the last.
    """

    def __init__(
        self, route: NarrowRoute, index: int, chain: Narrow, start: int, stop: int
    ) -> None:
        self.route, self.start, self.stop = route, start, stop
        rule, places = route.rule, row_places(route.layers)
        own = sorted(
            (places[route._names[id(p)]] for p in rule.parameters[index]), key=lambda s: s.start
        )
        rows = _merged(own)
        self._gradients = [chain.gradient[s] for s in rows]
        settings = narrowed(rule.groups[index], start, stop)
        weights = [chain.weights[s] for s in rows]
        self._update: Any = rule.update(weights, settings, lambda v, p: v.to(p))
        self._states: dict[str, Tensor] = {}
        for name in rule.state_names(index):
            whole = torch.zeros_like(chain.weights)
            to_rows(route.layers, route.state_slices(name, start, stop), whole)
            self._states[name] = whole
        self._parts = [[whole[s] for s in rows] for whole in self._states.values()]
        self._names = [route._names[id(p)] for p in rule.parameters[index]]
        self._done, self._begun = route.state.done[index], route.state.begun[index]

    def update(self) -> None:
        """Apply one update."""
        self._done += 1
        if self.route.rule.adam:
            self._update(self._gradients, *self._parts, self._done)
        else:
            self._update(self._gradients, self._parts[0] if self._parts else [], self._begun)
            self._begun = True

    def finish(self) -> None:
        """Write the state back."""
        for name, whole in self._states.items():
            slices = self.route.state_slices(name, self.start, self.stop)
            others = {n: s for n, s in slices.items() if n not in self._names}
            copies = {n: torch.empty_like(s) for n, s in others.items()}
            from_rows(self.route.layers, whole, {**slices, **copies})


def _merged(rows: list[slice]) -> list[slice]:
    merged: list[slice] = []
    for s in rows:
        if merged and merged[-1].stop == s.start:
            s = slice(merged.pop().start, s.stop)
        merged.append(s)
    return merged


Evaluate = Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]
"""(parameters [r, ...], x, y) -> losses [r]."""


def evaluation(stack: Replicated, loss: nn.Module) -> Evaluate:
    """Losses of many replicas as one differentiable program, the net in its own mode.

    Chains of affine layers and elementwise activations run points last (``measures.chain``), any
    other net is mapped by ``vmap(functional_call)``.
    """
    net, buffers = stack.template, dict(stack.named_buffers())
    layers = read_chain(net)

    def evaluate(parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        if layers is not None and x.ndim == 2:
            output = run_chain(layers, parameters, x.T).transpose(1, 2)
        else:
            output = vmap(lambda p: functional_call(net, (p, buffers), (x,)))(dict(parameters))
        return objective(loss, y)(output)

    return evaluate


class AutogradRoute:
    """All replicas step by step: gradients by autograd, then the optimizer's own ``step``.

    Args:
        stack: The replicas.
        block: Their data.
        loss: The loss module.
        optimizer: Any that treats every number by itself.
        each: Bytes that one replica takes in forward and backward.
        memory: Bytes that may be used at once.
    """

    def __init__(
        self,
        stack: Replicated,
        block: Block,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        each: int,
        memory: int,
    ) -> None:
        self.stack, self.block, self.optimizer = stack, block, optimizer
        self.evaluate = evaluation(stack, loss)
        chain = read_chain(stack.template) is not None
        self.words = "batched chain, autograd" if chain else "vmap(functional_call), autograd"
        device = next(stack.parameters()).device
        self.chunk = chunk_size(stack.replicas, each, memory, device)

    def run(self, asked: Asked) -> Seen:
        """Run the steps, for all replicas."""
        seen = Seen(self.stack, asked)
        some = next(self.stack.parameters())
        values = some.detach().new_empty(asked.last - asked.first, self.stack.replicas)
        recorded = {s: i for i, s in enumerate(asked.recorded)}
        for step, (x, y) in enumerate(self.block.batches(asked.first, asked.last), asked.first):
            self._differentiate(x, y, values[step - asked.first])
            self.optimizer.step()
            if step + 1 in recorded:
                for name, p in self.stack.named_parameters():
                    seen.snapshots[name][recorded[step + 1]].copy_(p.detach())
        self.optimizer.zero_grad()
        seen.take_values(values, 0)
        return seen

    def _differentiate(self, x: Tensor, y: Tensor, value: Tensor) -> None:
        """Leave every parameter's gradient in ``.grad`` and the losses in ``value`` [R]."""
        named = {n: p for n, p in self.stack.named_parameters() if p.requires_grad}
        pieces = []
        for start in range(0, self.stack.replicas, self.chunk):
            stop = min(start + self.chunk, self.stack.replicas)
            part = {
                name: p.requires_grad_() if name in named else p
                for name, p in self.stack.named_slices(start, stop)
            }
            with torch.enable_grad():
                losses = self.evaluate(part, x, y)
                # Replicas do not interact: the gradient of the sum holds each one's own.
                found = torch.autograd.grad(
                    losses.sum(), [part[name] for name in named], allow_unused=True
                )
            value[start:stop] = losses.detach()
            pieces.append(found)
        for p, gradients in zip(named.values(), zip(*pieces, strict=True), strict=True):
            whole = None if gradients[0] is None else torch.cat(gradients)
            p.grad = whole
