"""Judge the experiment's claims."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from toyml.callbacks.after import AfterFit
from toyml.claims import Claim, Verdict
from toyml.run import Run


class Judge(AfterFit):
    """A callback whose verdicts go to ``summary.json``, behind those of the judges before it.

    A statement that is judged again takes its old place. Verdicts add up on one Run object; those
    of an earlier pass over the folder are dropped.
    """

    patient = False

    def finish(self, run: Run) -> None:
        """Judge, and join the verdicts; a failed one is recorded, not raised."""
        found = [verdict.as_dict() for verdict in self.judge(run)]
        run.verdicts = merged(run.verdicts, found)
        run.update_summary(claims=run.verdicts)

    @abstractmethod
    def judge(self, run: Run) -> list[Verdict]:
        """The verdicts on a run."""


class Verdicts(Judge):
    """Judge claims and write their verdicts to ``summary.json``.

    Several of them add up: an overlay may bring claims of its own, and one with a statement that
    is there already replaces it.

    Args:
        claims: The claims, in the order they are shown, each statement worded differently.
        given: Settings that all of them presuppose, by dotted key of the config; a run with
            others makes them "not applicable".

    Raises:
        ValueError: The same statement twice.
    """

    def __init__(self, claims: list[Claim], given: dict[str, Any] | None = None) -> None:
        self.claims, self.given = worded_apart(claims), given or {}

    def judge(self, run: Run) -> list[Verdict]:
        """Judge all claims."""
        return [claim.judge(run, self.given) for claim in self.claims]


def merged(
    earlier: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Verdicts by statement: a new one takes the place of its predecessor, or the end.

    Example:
        >>> a, b = {"statement": "a", "verdict": "fails"}, {"statement": "b", "verdict": "holds"}
        >>> [v["verdict"] for v in merged([a, b], [{"statement": "a", "verdict": "holds"}])]
        ['holds', 'holds']
    """
    return list({verdict["statement"]: verdict for verdict in [*earlier, *found]}.values())


def worded_apart(claims: list[Claim]) -> list[Claim]:
    """The claims, if no two have the same statement: it is what verdicts are known by.

    Raises:
        ValueError: Two have.
    """
    statements = [claim.statement for claim in claims]
    for statement in statements:
        if statements.count(statement) > 1:
            raise ValueError(f"the claim {statement!r} is there twice; word them apart")
    return claims
