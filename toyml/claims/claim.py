"""Claims: predicates on a Run, stated in a config and judged when the fit is over."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from toyml.errors import UserError
from toyml.run import Run, lookup
from toyml.tasks import Supervised

HOLDS, FAILS, REFUTED, NOT_APPLICABLE = "holds", "fails", "refuted", "not applicable"

START = ("seed_everything", "model.net.initial")
"""Settings that say where training starts."""

UPDATES = (
    "model.optimizer",
    "model.lr_scheduler",
    "model.decay_bias",
    "trainer.max_steps",
    "trainer.gradient_clip_val",
)
"""Settings that say how it goes on from there."""


UPDATING = (
    "training_step",
    "forward",
    "configure_optimizers",
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "on_after_backward",
    "on_before_optimizer_step",
    "optimizer_step",
)
"""What a task does to its updates."""


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        statement: The claim in words.
        predicted: The value it predicts, or words.
        measured: The value found; ``None`` when not applicable.
        tolerance: Largest allowed distance between the two; ``None`` where it is yes or no.
        verdict: "holds", "fails", "refuted" (a statement announced as wrong, and wrong it is) or
            "not applicable".
        why: Reason, where there is one to give.
        source: Who said it.
        theory: Whether the measured value comes from theory, without looking at the training.
    """

    statement: str
    predicted: float | str
    measured: float | str | None
    tolerance: float | None
    verdict: str
    why: str = ""
    source: str = ""
    theory: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return asdict(self)


class NotApplicable(Exception):  # noqa: N818 - an answer, not an error
    """The claim says nothing about this run; the message says why."""


class Found(NamedTuple):
    """What a run says about a claim.

    Attributes:
        measured: The measured value, or words.
        agrees: Whether it confirms the claim.
        tolerance: Largest allowed distance, where it depends on the run.
        why: How the two were compared, where that is not plain.
    """

    measured: float | str
    agrees: bool
    tolerance: float | None = None
    why: str = ""


class Claim(ABC):
    """A statement about a run that can turn out wrong.

    Args:
        statement: The claim in words.
        given: Settings that the claim presupposes, by dotted key of the config
            (``model.optimizer.lr: 1.0``); a run with others makes it not applicable.
        source: Who says so: a theorem, a paper, the question's author.

    Attributes:
        theory: Whether the value is computed from data and settings, without the training: pages
            show such claims apart from what the run showed.
        independent_of: Settings by dotted key (those inside them included) on which neither
            statement nor value depends: a run with others than given is judged all the same.
    """

    theory: bool = False
    independent_of: Sequence[str] = ()

    def __init__(
        self, statement: str, given: dict[str, Any] | None = None, source: str = ""
    ) -> None:
        self.statement, self.given, self.source = statement, given or {}, source

    @property
    @abstractmethod
    def predicted(self) -> float | str:
        """The predicted value, or words."""

    @property
    def tolerance(self) -> float | None:
        """Largest allowed distance; ``None`` for a yes-or-no claim."""
        return None

    @abstractmethod
    def measure(self, run: Run) -> float | str:
        """The measured value, or words.

        Raises:
            NotApplicable: The run cannot answer.
        """

    def agrees(self, measured: float | str) -> bool:
        """Whether the measured value confirms the claim."""
        tolerance = self.tolerance
        if tolerance is None:
            return measured == self.predicted
        return abs(float(measured) - float(self.predicted)) <= tolerance

    def compare(self, run: Run) -> Found:
        """Measure, and compare with the prediction."""
        measured = self.measure(run)
        return Found(measured, self.agrees(measured))

    def judge(self, run: Run, given: Mapping[str, Any] | None = None) -> Verdict:
        """Compare prediction and measurement.

        Args:
            run: The run.
            given: Settings presupposed by all claims of the experiment.
        """
        try:
            check_given(run, self.presupposed(given or {}))
            found = self.compare(run)
        except (NotApplicable, UserError) as why:
            return self.not_applicable(str(why))
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
            # A claim that cannot be measured has not held, and must not take the others with it.
            words = " ".join(f"{type(error).__name__}: {error}".split())
            return self._verdict(None, FAILS, f"cannot be measured: {words}")
        if isinstance(found.measured, float) and math.isnan(found.measured):
            return self._verdict(None, FAILS, "cannot be measured: the result is not a number")
        verdict = self._verdict(found.measured, HOLDS if found.agrees else FAILS, found.why)
        return verdict if found.tolerance is None else replace(verdict, tolerance=found.tolerance)

    def presupposed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What is given for all claims and for this one, less what it is independent of."""
        return {
            key: value
            for key, value in {**given, **self.given}.items()
            if not any(f"{key}.".startswith(f"{free}.") for free in self.independent_of)
        }

    def not_applicable(self, why: str) -> Verdict:
        """The verdict on a run about which the claim says nothing."""
        return self._verdict(None, NOT_APPLICABLE, why)

    def _verdict(self, measured: float | str | None, verdict: str, why: str) -> Verdict:
        return Verdict(
            self.statement,
            self.predicted,
            measured,
            self.tolerance,
            verdict,
            why,
            self.source,
            self.theory,
        )


class Refuted(Claim):
    """A statement of the source that is wrong: the verdict is "refuted" when the run shows so.

    Args:
        claim: The statement as its author made it.
        why: What is true instead.
    """

    def __init__(self, claim: Claim, why: str = "") -> None:
        super().__init__(claim.statement, claim.given, claim.source)
        self.claim, self.why = claim, why
        self.theory, self.independent_of = claim.theory, claim.independent_of

    @property
    def predicted(self) -> float | str:
        """What its author predicted."""
        return self.claim.predicted

    @property
    def tolerance(self) -> float | None:
        """The distance at which it would have passed."""
        return self.claim.tolerance

    def measure(self, run: Run) -> float | str:
        """What the run shows."""
        return self.claim.measure(run)

    def judge(self, run: Run, given: Mapping[str, Any] | None = None) -> Verdict:
        """Say "refuted" when the statement fails, "fails" when, against expectation, it holds."""
        inner = self.claim.judge(run, given)
        if inner.measured is None:
            return inner  # not applicable, or it cannot be measured
        if inner.verdict == FAILS:
            return replace(inner, verdict=REFUTED, why=self.why or inner.why)
        return replace(inner, verdict=FAILS, why="announced as wrong, but it holds here")


class Equals(Claim):
    """A number: measured within ``tolerance`` of ``predicted``.

    Args:
        statement: The claim in words.
        predicted: The predicted value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        UserError: A tolerance that is negative.
    """

    def __init__(
        self,
        statement: str,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        if not tolerance >= 0:
            raise UserError(f"tolerance of {statement!r} is {tolerance}; it has to be 0 or more")
        self._predicted, self._tolerance = predicted, tolerance

    @property
    def predicted(self) -> float:
        """The predicted value."""
        return self._predicted

    @property
    def tolerance(self) -> float:
        """Largest allowed distance."""
        return self._tolerance


def check_given(run: Run, given: Mapping[str, Any]) -> None:
    """Compare presupposed settings with those of the run.

    Raises:
        NotApplicable: One differs, or the run has no config to compare.
    """
    if given and not run.config:
        raise NotApplicable("the fit was started from Python, without a config to compare")
    for key, wanted, found in differing(run, given):
        raise NotApplicable(f"stated for {key} = {wanted}; here it is {found}")


def differing(run: Run, given: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Presupposed settings that the run has not: the key, the wanted and the found value."""
    missing = object()
    pairs = [(key, wanted, lookup(run.config, key, missing)) for key, wanted in given.items()]
    return [
        (key, wanted, "not set" if found is missing else found)
        for key, wanted, found in pairs
        if found is missing or found != wanted
    ]


def supervised(run: Run) -> Supervised:
    """The task, where its updates are those of its loss, its net and its optimizer alone.

    Raises:
        NotApplicable: Another task, or one with a step or an optimizer of its own.
    """
    task, name = run.task, type(run.task).__name__
    if not isinstance(task, Supervised):
        raise NotApplicable(
            f"{name} is no toyml.tasks.Supervised, so its updates need not be those of its loss"
        )
    for hook in UPDATING:
        if getattr(type(task), hook) is not getattr(Supervised, hook):
            raise NotApplicable(
                f"{name} has {'an' if hook[0] in 'aeio' else 'a'} {hook} of its own, so its "
                "updates need not be those of its loss and optimizer alone"
            )
    return task


def plain_trainer(run: Run) -> None:
    """Refuse what a trainer may do to the gradients before the optimizer sees them.

    Raises:
        NotApplicable: It clips or accumulates them.
    """
    for key, neutral in (("gradient_clip_val", (None, 0)), ("accumulate_grad_batches", (None, 1))):
        if run.setting(f"trainer.{key}") not in neutral:
            raise NotApplicable(f"with {key} the updates are not the optimizer's alone")


def labelled(run: Run) -> tuple[Tensor, Tensor]:
    """Rows x [n, d] and one target each y [n, 1], in the precision of the trajectory.

    Raises:
        NotApplicable: The run has other rows.
    """
    x, y = run.data
    if x.ndim != 2 or y.ndim != 2 or y.shape[1] != 1:
        raise NotApplicable(f"x is {list(x.shape)} and y {list(y.shape)}; needs one target a row")
    return x, y


def deterministic(run: Run) -> None:
    """Refuse a net whose steps do not follow from its parameters and rows alone.

    Raises:
        NotApplicable: Its output depends on chance, or on the mode (training or evaluation).
    """
    if run.behaviour.on:
        raise NotApplicable(
            f"{run.behaviour.why}, so a step does not follow from the parameters and the rows"
        )


def snapshot(run: Run, step: int | None) -> int:
    """Index of the snapshot at a step; ``None`` is the last one.

    Raises:
        NotApplicable: The run does not reach it, or did not record it.
    """
    steps = run.trajectory.steps
    if not len(steps):
        raise NotApplicable("the run has recorded no step")
    if step is None:
        return len(steps) - 1
    last = int(steps[-1])
    if step > last:
        raise NotApplicable(f"needs step {step}; the run has {last} steps")
    try:
        return run.trajectory.index(step)
    except KeyError:
        raise NotApplicable(f"needs step {step}, which was not recorded") from None
