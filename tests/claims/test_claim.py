from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from tests.claims.recorded import recorded
from toyml.claims import (
    FAILS,
    HOLDS,
    NOT_APPLICABLE,
    REFUTED,
    Claim,
    Equals,
    NotApplicable,
    Refuted,
)
from toyml.claims.claim import check_given, snapshot
from toyml.claims.convention import regression_gap
from toyml.claims.curvature import limits
from toyml.claims.forces import updates
from toyml.claims.logistic import optimizer_of
from toyml.claims.parity import beside_reference
from toyml.claims.quadratic import sgd_settings
from toyml.claims.replay import replayed
from toyml.errors import UserError
from toyml.run import Run
from toyml.tasks import Supervised

CONFIG = {
    "seed_everything": 0,
    "model": {"class_path": "T", "init_args": {"optimizer": {"init_args": {"lr": 1.0}}}},
    "data": {"class_path": "D", "init_args": {"labels": [1, 0], "batch_size": None}},
}


def made(config: dict[str, Any] | None = None, steps: list[int] | None = None) -> Any:
    recorded = np.array([0] if steps is None else steps)

    def index(step: int) -> int:
        if step not in recorded:
            raise KeyError(step)
        return int(np.searchsorted(recorded, step))

    return SimpleNamespace(
        config=CONFIG if config is None else config,
        trajectory=SimpleNamespace(steps=recorded, index=index),
    )


class Number(Equals):
    """Measures what it is told to."""

    def __init__(
        self, found: Any, predicted: float = 2.0, tolerance: float = 0.5, given: Any = None
    ) -> None:
        super().__init__("a number", predicted, tolerance, given, "an author")
        self.found = found

    def measure(self, run: Any) -> float:
        if isinstance(self.found, Exception):
            raise self.found
        return float(self.found)


class Word(Claim):
    """Measures a word."""

    def __init__(self, found: str) -> None:
        super().__init__("a word")
        self.found = found

    @property
    def predicted(self) -> str:
        return "grows"

    def measure(self, run: Any) -> str:
        return self.found


@pytest.mark.parametrize(
    ("found", "verdict"),
    [(2.0, HOLDS), (2.5, HOLDS), (1.5, HOLDS), (2.5001, FAILS), (-2.0, FAILS), (math.inf, FAILS)],
)
def test_a_number_holds_within_its_tolerance_ends_included(found: float, verdict: str) -> None:
    judged = Number(found).judge(made())
    assert judged.verdict == verdict
    assert judged.as_dict() == {
        "statement": "a number",
        "predicted": 2.0,
        "measured": found,
        "tolerance": 0.5,
        "verdict": verdict,
        "why": "",
        "source": "an author",
        "theory": False,
    }


def test_settings_on_which_a_claim_does_not_depend_may_differ() -> None:
    class Line(Number):
        theory = True
        independent_of = ("model.optimizer", "trainer.max_steps")

    given = {"model.optimizer.lr": 0.5, "seed_everything": 0}
    assert Number(2.0).judge(made(), given).verdict == NOT_APPLICABLE
    found = Line(2.0).judge(made(), given)
    assert (found.verdict, found.theory) == (HOLDS, True)
    assert Line(2.0, given={"model.optimizer.lr": 0.5}).judge(made()).verdict == HOLDS
    assert Refuted(Line(9.0)).judge(made(), given).theory
    other = Line(2.0).judge(made(), {"seed_everything": 1})
    assert other.verdict == NOT_APPLICABLE
    # A key that only begins alike is another one.
    assert Line(2.0).presupposed({"model.optimizers": 1}) == {"model.optimizers": 1}


def test_tolerance_zero_asks_for_equality() -> None:
    assert Number(2.0, tolerance=0.0).judge(made()).verdict == HOLDS
    assert Number(np.nextafter(2, 3), tolerance=0.0).judge(made()).verdict == FAILS


@pytest.mark.parametrize("tolerance", [-1e-9, math.nan])
def test_a_tolerance_below_zero_is_refused(tolerance: float) -> None:
    with pytest.raises(UserError, match="it has to be 0 or more"):
        Number(0.0, tolerance=tolerance)


def test_what_is_not_a_number_fails_and_says_so() -> None:
    judged = Number(math.nan, tolerance=math.inf).judge(made())
    assert judged.verdict == FAILS
    assert judged.measured is None
    assert judged.why == "cannot be measured: the result is not a number"
    # A statement announced as wrong has not been refuted by that.
    refuted = Refuted(Number(math.nan, tolerance=1.0), why="it is 2").judge(made())
    assert (refuted.verdict, refuted.why) == (FAILS, judged.why)
    assert Refuted(Number(5.0, tolerance=1.0)).judge(made()).verdict == REFUTED


def test_words_are_compared_as_they_are() -> None:
    assert Word("grows").judge(made()).verdict == HOLDS
    judged = Word("falls after step 3").judge(made())
    assert (judged.verdict, judged.measured) == (FAILS, "falls after step 3")
    assert judged.tolerance is None


def test_what_cannot_be_measured_is_not_applicable_with_the_reason() -> None:
    judged = Number(NotApplicable("needs more")).judge(made())
    assert (judged.verdict, judged.measured, judged.why) == (NOT_APPLICABLE, None, "needs more")


def test_an_error_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        Number(ZeroDivisionError()).judge(made())


@pytest.mark.parametrize(
    "given",
    [
        {"model.optimizer.lr": 1.0},
        {"model.init_args.optimizer.init_args.lr": 1},
        {"data.class_path": "D", "data.labels": [1, 0], "data.batch_size": None},
    ],
)
def test_settings_that_are_met_let_the_claim_be_judged(given: dict[str, Any]) -> None:
    assert Number(2.0, given=given).judge(made()).verdict == HOLDS


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"model.optimizer.lr": 0.5}, "stated for model.optimizer.lr = 0.5; here it is 1.0"),
        ({"model.compiled": None}, "stated for model.compiled = None; here it is not set"),
        ({"data.labels": [0, 1]}, "stated for data.labels = [0, 1]; here it is [1, 0]"),
    ],
)
def test_another_setting_makes_it_not_applicable(given: dict[str, Any], why: str) -> None:
    judged = Number(2.0, given=given).judge(made())
    assert (judged.verdict, judged.why) == (NOT_APPLICABLE, why)


def test_a_claims_own_settings_stand_before_those_of_all() -> None:
    common = {"model.optimizer.lr": 0.1}
    assert Number(2.0).judge(made(), common).verdict == NOT_APPLICABLE
    own = {"model.optimizer.lr": 1.0}
    assert Number(2.0, given=own).judge(made(), common).verdict == HOLDS


def test_a_fit_without_config_cannot_meet_settings_but_needs_none() -> None:
    check_given(made({}), {})
    with pytest.raises(NotApplicable, match="started from Python"):
        check_given(made({}), {"seed_everything": 0})


def test_refuted_turns_a_failure_into_an_answer() -> None:
    judged = Refuted(Number(9.0), "the truth").judge(made())
    assert (judged.verdict, judged.why, judged.measured) == (REFUTED, "the truth", 9.0)
    assert (judged.predicted, judged.tolerance, judged.source) == (2.0, 0.5, "an author")


def test_refuted_fails_where_the_statement_holds_after_all() -> None:
    judged = Refuted(Number(2.0), "the truth").judge(made())
    assert (judged.verdict, judged.why) == (FAILS, "announced as wrong, but it holds here")


def test_refuted_is_not_applicable_where_its_statement_is() -> None:
    judged = Refuted(Number(2.0, given={"model.optimizer.lr": 0.5}), "no").judge(made())
    assert judged.verdict == NOT_APPLICABLE
    assert "here it is 1.0" in judged.why
    assert Refuted(Number(9.0)).judge(made(), {"seed_everything": 1}).verdict == NOT_APPLICABLE


def test_a_snapshot_is_found_or_its_absence_named() -> None:
    run = made(steps=[0, 5, 10])
    assert snapshot(run, 5) == 1
    with pytest.raises(NotApplicable, match="needs step 11; the run has 10 steps"):
        snapshot(run, 11)
    with pytest.raises(NotApplicable, match="step 7, which was not recorded"):
        snapshot(run, 7)


def test_no_step_is_the_last_snapshot_and_without_any_there_is_none() -> None:
    assert snapshot(made(steps=[0, 5, 10]), None) == 2
    for step in (None, 0):
        with pytest.raises(NotApplicable, match="recorded no step"):
            snapshot(made(steps=[]), step)


class Penalised(Supervised):
    """A step of its own."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) + 0.1


class Rescheduled(Supervised):
    """An optimizer of its own."""

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters())


class Counting(Supervised):
    """What does not touch the updates."""

    def on_train_epoch_end(self) -> None:
        self.seen = True


class Bare(pl.LightningModule):
    """No Supervised at all."""

    def __init__(self, net: nn.Module, loss: nn.Module, optimizer: Any) -> None:
        super().__init__()
        self.net, self.loss = net, loss


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Penalised, "Penalised has a training_step of its own, so its updates need not be those"),
        (Rescheduled, "Rescheduled has a configure_optimizers of its own, so its updates"),
        (
            Bare,
            r"Bare is no toyml\.tasks\.Supervised, so its updates need not be those of",
        ),
    ],
)
@pytest.mark.parametrize(
    "measure",
    [
        lambda run: updates(run),
        lambda run: limits(run, np.arange(2)),
        lambda run: sgd_settings(run),
        lambda run: optimizer_of(run),
        lambda run: beside_reference(run),
        lambda run: replayed(run, 1).__enter__(),
        lambda run: regression_gap(run, 0.1, False),
    ],
)
def test_what_theory_says_of_updates_is_not_said_of_a_step_of_ones_own(
    tmp_path: Path, kind: type[pl.LightningModule], why: str, measure: Any
) -> None:
    run = recorded(tmp_path, [[0.0, 0, 0], [1, 1, 1]])
    made = kind(run.net, run.loss, partial(torch.optim.SGD, lr=1.0))
    with pytest.raises(NotApplicable, match=why):
        measure(Run(run.folder, made, run.datamodule))


def test_a_subclass_that_leaves_the_updates_alone_is_measured(tmp_path: Path) -> None:
    run = recorded(tmp_path, [[0.0, 0, 0], [1, 1, 1]])
    made = Counting(run.net, run.loss, partial(torch.optim.SGD, lr=1.0))
    found = limits(Run(run.folder, made, run.datamodule), np.arange(2))
    assert found.values.tolist() == [2, 2]
