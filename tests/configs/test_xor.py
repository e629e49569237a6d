from __future__ import annotations

import numpy as np
import pytest

from tests.configs.fitting import RECORDER, Fit, figures, fit, verdicts
from tests.conftest import ROOT
from toyml import reference
from toyml.callbacks import Ladder
from toyml.claims import (
    Claim,
    FollowsScript,
    GradientFactor,
    LargestEffect,
    LearnedAt,
    LossAt,
    NotApplicable,
    ParityWithin,
    ScriptErrorAt,
)
from toyml.claims.xor import first_below, rung, script

__all__ = ["fit"]

OVERLAYS = ROOT / "configs" / "overlays"


def test_the_question_is_answered(fit: Fit) -> None:
    run = fit("xor")
    found = verdicts(run)
    assert found.count("refuted") == 3
    assert found.count("holds") == len(found) - 3
    assert figures(run) == {"script_loss", "ladder", "parity", "parameters"}
    parity = run.summary["parity"]
    assert (parity["snapshots"], parity["parts_at"]) == (5001, None)
    # The rung with nothing switched is this very run.
    logged = run.metrics["loss"]
    first = logged["step"].index(0), logged["step"].index(2000)
    assert [logged["value"][i] for i in first] == rung()[[0, 2000]].tolist()


def test_from_the_scripts_weights_pytorch_is_the_script(fit: Fit) -> None:
    run = fit("xor_ladder")
    assert verdicts(run) == ["holds"] * 7
    assert "parity" in figures(run)


def test_from_pytorchs_weights_the_script_is_pytorch(fit: Fit) -> None:
    run = fit("xor_ladder_shared", "--trainer.callbacks", RECORDER)
    claims: list[Claim] = [FollowsScript("", 1e-15), ParityWithin("", 1e-13)]
    known = {0: 0.269735, 100: 0.250029, 1000: 0.245378, 2000: 0.117703, 4999: 0.004750}
    claims += [LossAt("", step, loss, 5e-7) for step, loss in known.items()]
    assert {claim.judge(run).verdict for claim in claims} == {"holds"}


@pytest.mark.parametrize(
    ("overlays", "settings"),
    [
        (["no_biases"], (False, False, 1.0)),
        (["script_start"], (True, True, 1.0)),
        (["twice_the_rate"], (True, False, 2.0)),
        (["no_biases", "script_start", "twice_the_rate"], (False, True, 2.0)),
    ],
)
def test_overlays_are_the_rungs(
    fit: Fit, overlays: list[str], settings: tuple[bool, bool, float]
) -> None:
    words = [w for name in overlays for w in ("--config", str(OVERLAYS / f"xor_{name}.yaml"))]
    short = ["--trainer.max_steps", "100", "--trainer.log_every_n_steps", "1"]
    run = fit("xor", *words, *short, "--trainer.callbacks", RECORDER)
    # A config's initial weights are rounded to float32 once.
    exact = 1e-6 if settings[1] else 1e-15
    assert np.abs(run.metrics["loss"]["value"][:100] - rung(*settings)[:100]).max() < exact
    applies = not settings[0]
    judged = FollowsScript("", 1e-15).judge(run).verdict
    assert judged == ("holds" if applies else "not applicable")


def test_another_number_of_rows_has_another_factor(fit: Fit) -> None:
    words = ["--data.repeats", "2", "--model.optimizer.lr", "1.2", "--trainer.max_steps", "50"]
    run = fit("xor_ladder_shared", *words, "--trainer.callbacks", RECORDER)
    for rows in (1, 2, 3, 8):
        claim = GradientFactor("", predicted=rows / 2, rows=rows)
        assert claim.judge(run).verdict == "holds"
    assert GradientFactor("", predicted=2.0, rows=8).judge(run).verdict == "fails"
    assert FollowsScript("", 1e-15).judge(run).verdict == "not applicable"
    # Eight rows at 4 times the script's rate are the script, four at that rate are not.
    start = run.trajectory.at(0)
    hidden, output = (start[f"{name}.weight"].numpy() for name in ("hidden1", "output"))
    same = reference.hand_written(hidden, output, lr=1.2 * 2 / 4, steps=50)
    assert np.abs(run.trajectory.parameters["hidden1.weight"][-1] - same.hidden[-1]).max() < 1e-14


def test_claims_can_fail(fit: Fit) -> None:
    run = fit("xor", "--trainer.max_steps", "10", "--trainer.callbacks", RECORDER)
    assert LargestEffect("", "rate").judge(run).verdict == "holds"
    assert LargestEffect("", "start").judge(run).verdict == "fails"
    assert LearnedAt("", 3084).judge(run).verdict == "fails"
    assert LearnedAt("", 3085, error=1e-9).judge(run).verdict == "not applicable"
    assert ScriptErrorAt("", 0, 0.3777, 1e-5).judge(run).verdict == "fails"
    assert first_below(script().signal, 0.0) == 1322
    with pytest.raises(NotApplicable, match="least is 1"):
        first_below(np.array([2.0, 1.0]), 0.5)
    with pytest.raises(ValueError, match="step is 5001"):
        ScriptErrorAt("", 5001, 0.0, 0.0)
    with pytest.raises(ValueError, match="'bias'"):
        LargestEffect("", "bias")
    with pytest.raises(ValueError, match="rows is 0"):
        GradientFactor("", 1.0, rows=0)
    with pytest.raises(ValueError, match=r"error is 0\.3"):
        Ladder(error=0.3)
