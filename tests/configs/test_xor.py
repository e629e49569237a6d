from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.configs.fitting import RECORDER, Fit, figures, fit, verdicts
from tests.conftest import ROOT
from toyml import reference
from toyml.callbacks import Ladder, ScriptLoss
from toyml.claims import (
    Claim,
    FollowsScript,
    GradientFactor,
    LadderParity,
    LargestEffect,
    LearnedAt,
    LossAt,
    NotApplicable,
    ParityWithin,
    RungLossAt,
    ScriptErrorAt,
    ScriptLowestAt,
    ScriptPrintsAt,
    ScriptTurnsNegative,
)
from toyml.claims.xor import Common, Switched, common, first_below, rung, script
from toyml.cli import main
from toyml.data import Xor
from toyml.models import MLP
from toyml.sweep import Sweep
from toyml.sweep.table import column

__all__ = ["fit"]

OVERLAYS = ROOT / "configs" / "overlays"
QUESTION = Common()
ALONE = {
    "biases": Switched(biases=False),
    "start": Switched(uniform=True),
    "rate": Switched(factor=2.0),
}


def test_the_question_is_answered(fit: Fit) -> None:
    run = fit("xor")
    found = verdicts(run)
    assert found.count("refuted") == 3
    assert found.count("holds") == len(found) - 3
    drawn = {"script_loss", "ladder", "parity", "parameters", "landscape", "curvature"}
    assert figures(run) == drawn
    parity = run.summary["parity"]
    assert (parity["snapshots"], parity["parts_at"]) == (5001, None)
    # The rung with nothing switched is this very run.
    logged = run.metrics["loss"]
    first = logged["step"].index(0), logged["step"].index(2000)
    assert [logged["value"][i] for i in first] == rung(QUESTION)[[0, 2000]].tolist()
    assert common(run) == QUESTION


@pytest.mark.slow
def test_over_seeds_numpy_counts_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = main(["sweep", "--config", str(ROOT / "configs/xor_seeds.yaml")])
    assert isinstance(sweep, Sweep)
    assert verdicts(sweep) == ["holds"] * 4 + ["refuted"]
    where = {"model.optimizer.lr": 0.3, "model.optimizer.momentum": 0.0}
    losses = column(sweep.table, where, "loss")
    # The same 64 trainings by hand: torch's initial weights, NumPy's arithmetic.
    x, y = (a.numpy() for a in Xor().arrays())
    for seed, loss in enumerate(losses):
        torch.manual_seed(seed)
        net = MLP([2, 5, 1]).double()
        W, b, V, c = (p.detach().numpy().copy() for p in net.parameters())
        for _ in range(5000):
            h = 1 / (1 + np.exp(-(x @ W.T + b)))
            out = 1 / (1 + np.exp(-(h @ V.T + c)))
            d = 2 / len(x) * (out - y) * out * (1 - out)
            e = (d @ V) * h * (1 - h)
            W, b, V, c = (
                W - 0.3 * e.T @ x,
                b - 0.3 * e.sum(0),
                V - 0.3 * d.T @ h,
                c - 0.3 * d.sum(0),
            )
        h = 1 / (1 + np.exp(-(x @ W.T + b)))
        by_hand = float((np.square(1 / (1 + np.exp(-(h @ V.T + c))) - y)).mean())
        assert loss == pytest.approx(by_hand, rel=1e-6), seed


def test_from_the_scripts_weights_pytorch_is_the_script(fit: Fit) -> None:
    run = fit("xor_ladder")
    assert verdicts(run) == ["holds"] * 8
    assert {"parity", "curvature"} <= figures(run)


def test_from_pytorchs_weights_the_script_is_pytorch(fit: Fit) -> None:
    run = fit("xor_ladder_shared", "--trainer.callbacks", RECORDER)
    claims: list[Claim] = [FollowsScript("", 1e-15), ParityWithin("", 1e-13)]
    known = {0: 0.269735, 100: 0.250029, 1000: 0.245378, 2000: 0.117703, 4999: 0.004750}
    claims += [LossAt("", step, loss, 5e-7) for step, loss in known.items()]
    assert {claim.judge(run).verdict for claim in claims} == {"holds"}


@pytest.mark.parametrize(
    ("overlays", "settings"),
    [
        (["no_biases"], ALONE["biases"]),
        (["script_start"], ALONE["start"]),
        (["twice_the_rate"], ALONE["rate"]),
        (["no_biases", "script_start", "twice_the_rate"], Switched(False, True, 2.0)),
    ],
)
def test_overlays_are_the_rungs(fit: Fit, overlays: list[str], settings: Switched) -> None:
    words = [w for name in overlays for w in ("--config", str(OVERLAYS / f"xor_{name}.yaml"))]
    short = ["--trainer.max_steps", "100", "--trainer.log_every_n_steps", "1"]
    run = fit("xor", *words, *short, "--trainer.callbacks", RECORDER)
    # A config's initial weights are rounded to float32 once.
    exact = 1e-6 if settings.uniform else 1e-15
    errors = rung(Common(steps=100), settings)
    assert np.abs(run.metrics["loss"]["value"][:100] - errors[:100]).max() < exact
    applies = not settings.biases
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


def test_the_ladder_has_the_runs_settings(fit: Fit) -> None:
    words = ["--model.net.widths", "[2, 4, 1]", "--seed_everything", "7"]
    words += ["--model.optimizer.lr", "0.7", "--trainer.max_steps", "60"]
    run = fit("xor", *words, "--trainer.log_every_n_steps", "1", "--trainer.callbacks", RECORDER)
    assert common(run) == Common(hidden=4, seed=7, lr=0.7, steps=60)
    logged = run.metrics["loss"]["value"]
    assert rung(common(run)).tolist() == logged
    assert RungLossAt("", 60, logged[60], 0.0).judge(run).verdict == "holds"
    assert RungLossAt("", 60, logged[60], 0.0, factor=2.0).judge(run).verdict == "fails"
    assert RungLossAt("", 61, 0.0, 0.0).judge(run).why == "needs step 61; the run has 60 steps"
    assert LadderParity("", 1e-15).judge(run).verdict == "holds"
    assert LadderParity("", 1e-15, uniform=False).judge(run).verdict == "holds"
    never = LargestEffect("", ALONE, "rate").judge(run)
    assert never.verdict == "not applicable"
    assert "never falls below 0.1" in never.why
    assert "over 60 steps" in Ladder().draw(run).caption


def test_the_script_has_settings_of_its_own(fit: Fit) -> None:
    run = fit("xor", "--trainer.max_steps", "1", "--trainer.callbacks", RECORDER)
    start = reference.uniform_start(3, 1)
    other = reference.hand_written(*start, lr=0.9, steps=40)
    settings: dict[str, Any] = {"hidden": 3, "seed": 1, "lr": 0.9, "steps": 40}
    for claim, exact in (
        (ScriptErrorAt("", 40, 0.0, 0.0, **settings), other.mse[40]),
        (ScriptPrintsAt("", 40, 0.0, 0.0, **settings), other.signal[40]),
        (ScriptLowestAt("", 0.0, **settings), other.signal.argmin()),
    ):
        assert claim.measure(run) == exact
    assert "never falls below 0" in ScriptTurnsNegative("", 1322, steps=100).judge(run).why
    with pytest.raises(ValueError, match="step is 41; the script has steps 0 to 40"):
        ScriptErrorAt("", 41, 0.0, 0.0, **settings)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--model.optimizer.momentum", "0.9"], "plain descent"),
        (["--model.optimizer.weight_decay", "0.1"], "weight decay"),
        (["--model.net.activation", "torch.nn.Tanh"], "sigmoid units"),
        (["--model.loss", "torch.nn.L1Loss"], "L1Loss is not"),
        (["--data.repeats", "2"], "four rows"),
    ],
)
def test_other_trainings_are_no_rungs(fit: Fit, words: list[str], why: str) -> None:
    run = fit("xor", *words, "--trainer.max_steps", "2", "--trainer.callbacks", RECORDER)
    for claim in (LearnedAt("", 3085), LadderParity("", 1e-15), FollowsScript("", 1e-15)):
        assert why in claim.judge(run).why
    with pytest.raises(NotApplicable, match=why):
        Ladder().draw(run)


def test_claims_can_fail(fit: Fit) -> None:
    run = fit("xor", "--trainer.callbacks", RECORDER)
    assert LargestEffect("", ALONE, "rate").judge(run).verdict == "holds"
    assert LargestEffect("", ALONE, "start").judge(run).verdict == "fails"
    assert LearnedAt("", 3084).judge(run).verdict == "fails"
    assert LearnedAt("", 3085, error=1e-9).judge(run).verdict == "not applicable"
    assert ScriptErrorAt("", 0, 0.3777, 1e-5).judge(run).verdict == "fails"
    assert first_below(script(QUESTION).signal, 0.0) == 1322
    with pytest.raises(NotApplicable, match="least is 1"):
        first_below(np.array([2.0, 1.0]), 0.5)


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="step is 5001"):
        ScriptErrorAt("", 5001, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"'bias'; name one of .*\(biases, start, rate\)"):
        LargestEffect("", ALONE, "bias")
    with pytest.raises(ValueError, match="rows is 0"):
        GradientFactor("", 1.0, rows=0)
    with pytest.raises(ValueError, match=r"error is 0\.3"):
        Ladder(error=0.3)
    with pytest.raises(ValueError, match="steps is 10"):
        ScriptLoss(steps=10)
    for wrong in ({"hidden": 0}, {"seed": -1}, {"lr": float("nan")}, {"steps": -1}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"{name} is"):
            Common(**wrong)
