"""Train all replicas: which way the steps are run, and in which portions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from toyml.compiled import NotCompilable
from toyml.engine import Block
from toyml.measures.forward import evaluating
from toyml.replicas.asked import Asked, Seen
from toyml.replicas.compiled import CompiledRoute
from toyml.replicas.eager import AutogradRoute, NarrowRoute, evaluation
from toyml.replicas.losses import known_measure
from toyml.replicas.mapped import step_bytes
from toyml.replicas.narrow import read_narrow
from toyml.replicas.rules import read_rule, refuse_coupling
from toyml.replicas.stack import Replicated
from toyml.replicas.state import State

MEMORY = 2**30
"""Bytes that chunks of replicas and what is kept of a portion may take, unless told otherwise."""

PORTION = 1_000
"""Most steps between two looks at which replicas diverged."""


class Route(Protocol):
    """A way to run steps, ``words`` for people."""

    words: str

    def run(self, asked: Asked) -> Seen:
        """Run the steps, for all replicas."""


class Training:
    """The training of R replicas, in place.

    Args:
        stack: The replicas.
        loss: Loss module, called as ``loss(output, y)`` for each of them.
        optimizer: Built on the stack's parameters.
        block: The data, and which rows every step sees; all replicas see the same.
        compiled: Run steps in C; ``None`` does so wherever it can be done.
        memory: Bytes that may be used at once besides parameters and optimizer state.

    Attributes:
        route: How steps are run, in words.
        diverged: First step whose loss was not finite [R]; -1 where there is none yet.

    Raises:
        UserError: An optimizer that couples replicas, a net or loss that cannot be mapped over
            them, memory below that of one replica.
    """

    def __init__(
        self,
        stack: Replicated,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        block: Block,
        compiled: bool | None = None,
        memory: int = MEMORY,
    ) -> None:
        refuse_coupling(optimizer)
        own = {id(p) for p in stack.parameters()}
        if any(id(p) not in own for group in optimizer.param_groups for p in group["params"]):
            raise ValueError("the optimizer was not built on the stack's parameters")
        dtype = next(stack.parameters()).dtype
        if block.x.dtype != dtype or len(block.x) != len(block.y):
            raise ValueError(
                f"x is {block.x.dtype} {list(block.x.shape)} and y {list(block.y.shape)}, the "
                f"parameters are {dtype}: give as many rows of both, in that dtype"
            )
        self.stack, self.loss, self.optimizer, self.block = stack, loss, optimizer, block
        self.memory, self._each = memory, step_bytes(stack, loss, block)
        self.diverged = torch.full((stack.replicas,), -1)
        self._route, reason = self._choose(compiled)
        self.route = self._route.words + (f" ({reason})" if reason else "")

    def _choose(self, compiled: bool | None) -> tuple[Route, str]:
        """The fastest route that can be taken, and why not C."""
        stack, block = self.stack, self.block
        rule = read_rule(self.optimizer)
        even = rule is not None and State.is_even(self.optimizer, rule)
        reason, state = "", State(self.optimizer, rule) if rule is not None and even else None
        if rule is not None and state is not None and compiled is not False:
            try:
                return CompiledRoute(stack, block, self.loss, rule, state, self.memory), ""
            except NotCompilable as why:
                reason = f"not C: {why}"
        layers, measure = read_narrow(stack.template), known_measure(self.loss)
        if rule and state and layers is not None and measure is not None:
            return NarrowRoute(stack, block, layers, measure, rule, state, self.memory), reason
        each, memory = self._each, self.memory
        return AutogradRoute(stack, block, self.loss, self.optimizer, each, memory), reason

    def run(
        self, first: int, last: int, noted: Sequence[int] = (), recorded: Sequence[int] = ()
    ) -> Seen:
        """Run the updates from ``first`` done to ``last`` done.

        Args:
            first: Updates done before.
            last: Updates done afterwards.
            noted: Steps in first..last - 1 whose losses are kept, increasing.
            recorded: Steps in first + 1..last whose parameters are kept, increasing.
        """
        before, known = self._copies(), set(self.optimizer.state)
        try:
            seen = self._route.run(Asked(first, last, noted, recorded))
        except BaseException:
            # Some replicas may be ahead of others, after Ctrl-C for example: all go back.
            for tensor, copy in before:
                tensor.copy_(copy)
            for p in set(self.optimizer.state) - known:
                del self.optimizer.state[p]
            raise
        seen.erase_diverged(self.stack)
        self.diverged = torch.where(self.diverged < 0, seen.diverged, self.diverged)
        return seen

    def _copies(self) -> list[tuple[Tensor, Tensor]]:
        """Parameters and optimizer state, each with a copy."""
        live = [p.detach() for p in self.stack.parameters()]
        for p in self.stack.parameters():
            state = self.optimizer.state.get(p, {})
            live += [value for value in state.values() if isinstance(value, Tensor)]
        return [(tensor, tensor.clone()) for tensor in live]

    def portion(self, first: int, last: int, recorded: Sequence[int] = ()) -> int:
        """Where to stop on the way to ``last``, so that what is kept fits the memory."""
        last = min(last, first + PORTION)
        each = sum(p.numel() * p.element_size() for p in self.stack.parameters())
        most = max(1, self.memory // 4 // max(each, 1))
        inside = [step for step in recorded if first < step <= last]
        return inside[most - 1] if len(inside) > most else last

    def losses(self) -> Tensor:
        """The loss of every replica over all rows in evaluation mode now [R], float64."""
        evaluate, x, y = evaluation(self.stack, self.loss), self.block.x, self.block.y
        # As many at once as fit the memory, were they all rows of one batch, and 16 MiB.
        rows = max(1, len(x) // (self.block.batch_size or len(x)))
        size = max(1, min(self.memory, 2**24) // (self._each * rows))
        with torch.no_grad(), evaluating(self.stack.template):
            parts = [
                evaluate(dict(self.stack.named_slices(start, start + size)), x, y)
                for start in range(0, self.stack.replicas, size)
            ]
        return torch.cat(parts).to("cpu", torch.float64)


class Outcome(NamedTuple):
    """What became of R replicas.

    Attributes:
        steps: The noted steps [s].
        losses: Losses there [s, R], float64: of step s before update s + 1, on its batch (over all
            rows in evaluation mode where ``whole`` was asked for); of the last step after all
            updates, over all rows in evaluation mode.
        diverged: First step whose loss was not finite [R]; -1 where there is none.
        recorded: The recorded steps [t].
        snapshots: Parameters there, [t, R, ...] by name.
        route: How steps were run, in words.
    """

    steps: list[int]
    losses: Tensor
    diverged: Tensor
    recorded: list[int]
    snapshots: dict[str, Tensor]
    route: str


def train_replicas(
    stack: Replicated,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    steps: int,
    *,
    noted: Sequence[int] = (),
    whole: bool = False,
    recorded: Sequence[int] = (),
    batch: Block | None = None,
    compiled: bool | None = None,
    memory: int = MEMORY,
    progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Train R replicas, each as the plain loop would train it alone.

    A replica whose loss stops being finite has NaN for parameters and losses from then on; the
    others do not notice.

    Args:
        stack: The replicas; trained in place.
        loss: Loss module, called as ``loss(output, y)`` for each of them.
        optimizer: Built on the stack's parameters; settings that differ per replica need
            ``toyml.optim``.
        x: Inputs [n, d], in the stack's dtype.
        y: Targets [n, k].
        steps: Updates.
        noted: Steps in 0..steps whose losses are kept.
        whole: Keep their losses over all rows in evaluation mode, not those of their batches. It
            costs a stop and a forward pass over all rows at each of them.
        recorded: Steps in 0..steps whose parameters are kept.
        batch: For mini-batches, the block that says which rows each step sees (its ``x`` and
            ``y`` are these); ``None`` for the full batch.
        compiled: Run steps in C; ``None`` does so wherever it can be done.
        memory: Bytes that may be used at once besides parameters, optimizer state and outcome.
        progress: Called with the share that is done.

    Raises:
        UserError: An optimizer that couples replicas, or a net or loss that cannot be mapped over
            them; the message names the layer.
        ValueError: Steps out of range.

    Example:
        >>> from toyml.optim import SGD
        >>> stack = Replicated(nn.Linear(1, 1, bias=False), {"weight": torch.ones(2, 1, 1)})
        >>> x, y = torch.tensor([[1.0]]), torch.tensor([[0.0]])
        >>> optimizer = SGD(stack.parameters(), lr=[0.25, 0.5])
        >>> train_replicas(stack, nn.MSELoss(), optimizer, x, y, 1, noted=[0, 1]).losses
        tensor([[1.0000, 1.0000],
                [0.2500, 0.0000]], dtype=torch.float64)
    """
    noted, recorded = sorted(set(noted)), sorted(set(recorded))
    wrong = [s for s in (*noted, *recorded) if not 0 <= s <= steps]
    if steps < 0 or wrong:
        raise ValueError(f"steps {wrong or steps} cannot be looked at in a fit of {steps} steps")
    block = Block(x, y, max(steps, 1), None, False, 0) if batch is None else batch
    training = Training(stack, loss, optimizer, block, compiled, memory)
    losses, kept, first = [], [], 0
    if recorded[:1] == [0]:
        kept.append({name: p.detach().clone()[None] for name, p in stack.named_parameters()})
    stops = noted if whole else []
    while first < steps:
        if first in stops:
            losses.append(training.losses()[None])
        last = training.portion(first, next((s for s in stops if s > first), steps), recorded)
        seen = training.run(
            first,
            last,
            [] if whole else [s for s in noted if first <= s < last],
            [s for s in recorded if first < s <= last],
        )
        losses.append(seen.losses)
        if any(first < s <= last for s in recorded):
            kept.append(seen.snapshots)
        first = last
        if progress is not None:
            progress(first / steps)
    final = training.losses()
    diverged = training.diverged
    diverged[(diverged < 0) & ~final.isfinite()] = steps
    if steps in noted:
        losses.append(final[None])
    names = [name for name, _ in stack.named_parameters()] if kept else []
    return Outcome(
        noted,
        torch.cat(losses) if losses else final.new_empty(0, stack.replicas),
        diverged,
        recorded,
        {name: torch.cat([part[name] for part in kept]) for name in names},
        training.route,
    )
