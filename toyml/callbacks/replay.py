"""Judge claims about the same start and data trained with other settings."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from toyml.callbacks.verdicts import Judge, worded_apart
from toyml.claims import Claim, NotApplicable, Verdict
from toyml.claims.claim import check_given
from toyml.claims.replay import replayed
from toyml.run import Run


class Replay(Judge):
    """Train once more from the run's start with other settings, and judge claims about that.

    So one report answers "and with momentum?" without a second run. The verdicts follow those of
    the callbacks listed before.

    Args:
        claims: What is claimed of the other training, each statement worded differently; what they
            presuppose is said here, not in the claim.
        steps: Number of updates of the other training.
        optimizer: Its optimizer; ``null`` takes the run's own.
        loss: Its loss; ``null`` takes the run's own.
        float64: Train in float64, whatever the precision of the run; otherwise in the run's.
        given: Settings of the run that all claims presuppose, by dotted key of the config.

    Raises:
        ValueError: A negative number of steps, the same statement twice, or a claim with
            presuppositions of its own.
    """

    def __init__(
        self,
        claims: list[Claim],
        steps: int,
        optimizer: OptimizerCallable | None = None,
        loss: nn.Module | None = None,
        float64: bool = True,
        given: dict[str, Any] | None = None,
    ) -> None:
        if steps < 0:
            raise ValueError(f"steps is {steps}; a replay needs 0 or more")
        for claim in claims:
            if claim.given:
                raise ValueError(f"{claim.statement!r} has its own given; move it to the Replay")
        self.claims, self.steps, self.given = worded_apart(claims), steps, given or {}
        self.optimizer, self.loss, self.float64 = optimizer, loss, float64

    def judge(self, run: Run) -> list[Verdict]:
        """Train once more and judge there."""
        dtype = torch.float64 if self.float64 else None
        found: dict[str, Verdict] = {}
        for claim in self.claims:
            try:
                check_given(run, claim.presupposed(self.given))
            except NotApplicable as why:
                found[claim.statement] = claim.not_applicable(str(why))
        left = [claim for claim in self.claims if claim.statement not in found]
        try:
            if left:
                with replayed(
                    run, self.steps, optimizer=self.optimizer, loss=self.loss, dtype=dtype
                ) as other:
                    found |= {claim.statement: claim.judge(other) for claim in left}
        except NotApplicable as why:
            found |= {claim.statement: claim.not_applicable(str(why)) for claim in left}
        return [found[claim.statement] for claim in self.claims]
