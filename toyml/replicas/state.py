"""An optimizer's state over replicas, kept as its own ``step`` would keep it."""

from __future__ import annotations

import torch

from toyml.replicas.rules import Rule


class State:
    """The state of an optimizer that somebody else steps.

    Args:
        optimizer: The optimizer.
        rule: What was read off it.

    Attributes:
        done: Updates done so far, for each group.
        begun: Whether momentum buffers hold something yet, for each group.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, rule: Rule) -> None:
        self.optimizer, self.rule = optimizer, rule
        self.done: list[int] = []
        self.begun: list[bool] = []
        for parameters in rule.parameters:
            states = [optimizer.state.get(p, {}) for p in parameters]
            self.done.append(max((int(s.get("step", 0)) for s in states), default=0))
            self.begun.append(any(s.get("momentum_buffer") is not None for s in states))

    def prepare(self) -> None:
        """Make the tensors that the optimizer would make in its first step."""
        for i, parameters in enumerate(self.rule.parameters):
            for p in parameters:
                state = self.optimizer.state[p]
                if self.rule.adam and "step" not in state:
                    state["step"] = torch.tensor(0.0)
                for name in self.rule.state_names(i):
                    if state.get(name) is None:
                        state[name] = torch.zeros_like(p, memory_format=torch.contiguous_format)

    @staticmethod
    def is_even(optimizer: torch.optim.Optimizer, rule: Rule) -> bool:
        """Whether all parameters of a group have had the same number of updates."""
        return all(
            len({(int(s.get("step", 0)), s.get("momentum_buffer") is None) for s in states}) <= 1
            for states in ([optimizer.state.get(p, {}) for p in ps] for ps in rule.parameters)
        )

    def advance(self, steps: int) -> None:
        """Count updates that were done."""
        for i, parameters in enumerate(self.rule.parameters):
            self.done[i] += steps
            self.begun[i] = self.begun[i] or steps > 0
            for p in parameters if self.rule.adam else ():
                self.optimizer.state[p]["step"].fill_(self.done[i])
