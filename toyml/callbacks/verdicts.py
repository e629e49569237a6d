"""Judge the experiment's claims."""

from __future__ import annotations

from typing import Any

from toyml.callbacks.after import AfterFit
from toyml.claims import Claim
from toyml.run import Run


class Verdicts(AfterFit):
    """Judge claims and write their verdicts to ``summary.json``.

    Args:
        claims: The claims, in the order they are shown.
        given: Settings that all of them presuppose, by dotted key of the config; a run with
            others makes them "not applicable".
    """

    def __init__(self, claims: list[Claim], given: dict[str, Any] | None = None) -> None:
        self.claims, self.given = claims, given or {}

    def finish(self, run: Run) -> None:
        """Judge all claims; a failed one is recorded, not raised."""
        verdicts = [claim.judge(run, self.given).as_dict() for claim in self.claims]
        run.update_summary(claims=verdicts)
