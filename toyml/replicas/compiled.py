"""Steps of all replicas in generated C, one replica after the other, threads side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from toyml.compiled import NotCompilable
from toyml.compiled.replicas import ReplicaKernel, compile_replicas
from toyml.engine import Block
from toyml.replicas.asked import Asked, Seen
from toyml.replicas.rules import Rule, narrowed
from toyml.replicas.stack import Replicated
from toyml.replicas.state import State


class CompiledRoute:
    """Chunks of replicas in one call of C each.

    Replicas do not interact, so each one meets the same operations whatever the number of threads.

    Args:
        stack: The replicas.
        block: Their data.
        loss: The loss module.
        rule: Update rule and settings.
        state: The optimizer's state.
        memory: Bytes that may be used at once.

    Raises:
        NotCompilable: This has no compiled form.
    """

    def __init__(
        self,
        stack: Replicated,
        block: Block,
        loss: nn.Module,
        rule: Rule,
        state: State,
        memory: int,
    ) -> None:
        self.stack, self.block, self.rule, self.state, self.memory = (
            stack,
            block,
            rule,
            state,
            memory,
        )
        self.kernel: ReplicaKernel = compile_replicas(
            stack.template,
            dict(stack.named_parameters()),
            loss,
            rule.adam,
            rule.groups,
            rule.parameters,
            len(block.x),
            block.batch_size,
        )
        how = "from the cache" if self.kernel.cached else f"{self.kernel.compile_seconds:.1f} s"
        self.words = f"C kernel ({how})"

    def run(self, asked: Asked) -> Seen:
        """Run the steps, for all replicas."""
        seen = Seen(self.stack, asked)
        order = self.block.rows(asked.first, asked.last)
        threads, r = torch.get_num_threads(), self.stack.replicas
        chunk = min(self._chunk(asked), -(-r // threads))
        pieces = [(start, min(start + chunk, r)) for start in range(0, r, chunk)]
        self.state.prepare()
        if threads == 1 or len(pieces) == 1:
            for start, stop in pieces:
                self._run_chunk(start, stop, order, seen)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for done in [pool.submit(self._run_chunk, *piece, order, seen) for piece in pieces]:
                    done.result()
        self.state.advance(asked.last - asked.first)
        return seen

    def _chunk(self, asked: Asked) -> int:
        """How many replicas to hand over at once."""
        p = self.kernel.parameters
        size = next(self.stack.parameters()).element_size()
        each = size * p * (4 + len(asked.recorded)) + 8 * len(asked.noted) + 1
        return max(1, self.memory // each // torch.get_num_threads())

    def _run_chunk(self, start: int, stop: int, order: Tensor | None, seen: Seen) -> None:
        asked, steps = seen.asked, seen.asked.last - seen.asked.first
        weights = self._flat([p.detach()[start:stop] for p in self.stack.parameters()])
        names = ("exp_avg", "exp_avg_sq") if self.rule.adam else ("momentum_buffer",)
        states = [self._flat(self._state(name, start, stop)) for name in names]
        result = self.kernel.run(
            self.block.x,
            self.block.y,
            steps,
            weights,
            states,
            [narrowed(group, start, stop) for group in self.rule.groups],
            self.state.done,
            self.state.begun,
            [step - asked.first for step in asked.noted],
            [step - asked.first for step in asked.recorded],
            order,
        )
        seen.losses[:, start:stop] = result.losses
        done = result.done
        seen.diverged[start:stop] = torch.where(done < steps, done + asked.first, -1)
        self._write([p.detach()[start:stop] for p in self.stack.parameters()], weights)
        for name, flat in zip(names, states, strict=True):
            self._write(self._state(name, start, stop), flat)
        into = [snapshot[:, start:stop].movedim(0, 1) for snapshot in seen.snapshots.values()]
        if asked.recorded:
            self._write(into, result.snapshots, axes=2)

    def _state(self, name: str, start: int, stop: int) -> list[Tensor]:
        """The optimizer's tensors of one kind, or zeros to be thrown away."""
        states = [self.state.optimizer.state[p] for p in self.stack.parameters()]
        return [
            torch.zeros_like(p.detach()[start:stop]) if name not in s else s[name][start:stop]
            for p, s in zip(self.stack.parameters(), states, strict=True)
        ]

    @staticmethod
    def _flat(tensors: list[Tensor]) -> Tensor:
        """Parameters [r, ...] as rows [r, p]."""
        return torch.cat([t.flatten(1) for t in tensors], 1).contiguous()

    @staticmethod
    def _write(tensors: list[Tensor], flat: Tensor, axes: int = 1) -> None:
        """Rows [..., p] back into parameters [..., *shape]; ``axes`` of them lead."""
        at = 0
        for t in tensors:
            size = t.shape[axes:].numel()
            t.copy_(flat[..., at : at + size].reshape(t.shape))
            at += size


__all__ = ["CompiledRoute", "NotCompilable"]
