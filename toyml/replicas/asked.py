"""What is to be kept of a block of steps, and what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toyml.replicas.stack import Replicated


@dataclass(frozen=True)
class Asked:
    """What is to be kept of the steps from ``first`` to ``last`` updates.

    Attributes:
        first: Updates done before.
        last: Updates done after.
        noted: Steps in first..last - 1 whose loss is kept, increasing.
        recorded: Steps in first + 1..last whose parameters are kept, increasing.
    """

    first: int
    last: int
    noted: Sequence[int]
    recorded: Sequence[int]


class Seen:
    """What was kept.

    Attributes:
        losses: Losses at the noted steps [s, R], float64.
        snapshots: Parameters at the recorded steps, [t, R, ...] by name.
        diverged: First step whose loss was not finite [R]; -1 where there was none.
    """

    def __init__(self, stack: Replicated, asked: Asked) -> None:
        r, t = stack.replicas, len(asked.recorded)
        self.asked = asked
        self.losses = torch.full((len(asked.noted), r), float("nan"), dtype=torch.float64)
        self.diverged = torch.full((r,), -1)
        self.snapshots: dict[str, Tensor] = {
            name: p.detach().new_empty((t, *p.shape)) for name, p in stack.named_parameters()
        }

    def take_values(self, values: Tensor, start: int) -> None:
        """Take the losses [steps, r], exact at noted steps, of the replicas from ``start`` on."""
        place = slice(start, start + values.shape[1])
        if len(self.asked.noted):
            rows = [step - self.asked.first for step in self.asked.noted]
            self.losses[:, place] = values[rows].to("cpu", torch.float64)
        bad = ~values.isfinite()
        step = self.asked.first + bad.to(torch.int8).argmax(0)
        self.diverged[place] = torch.where(bad.any(0), step, -1).cpu()

    def erase_diverged(self, stack: Replicated) -> None:
        """Write NaN over what a replica did from the step on whose loss was not finite.

        By then its parameters were those of a fit that stops there, or beyond; which ones depends
        on the route and means nothing.
        """
        lost = (self.diverged >= 0).nonzero().flatten()
        if not len(lost):
            return
        nan, since = float("nan"), self.diverged[lost]
        for row, step in enumerate(self.asked.noted):
            self.losses[row, lost[step > since]] = nan
        for name, p in stack.named_parameters():
            p.detach()[lost.to(p.device)] = nan
            for row, step in enumerate(self.asked.recorded):
                self.snapshots[name][row, lost[step > since].to(p.device)] = nan
