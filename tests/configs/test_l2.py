from __future__ import annotations

import pytest

from tests.configs.fitting import RECORDER, Fit, figures, fit, verdicts
from toyml.callbacks import TwoConventions
from toyml.claims import GradientAt, NotApplicable, RegressionPartsAt, RegressionWithin
from toyml.claims.convention import regression_gap

__all__ = ["fit"]


def ends(run: object) -> list[float]:
    parameters = run.trajectory.parameters  # type: ignore[attr-defined]
    return [float(parameters["linear.weight"][-1, 0, 0]), float(parameters["linear.bias"][-1, 0])]


def test_one_step_both_ways(fit: Fit) -> None:
    run = fit("l2_one_step")
    assert ends(run) == pytest.approx([4.1, 1.9], abs=1e-15)
    found = verdicts(run)
    assert (found.count("holds"), found.count("not applicable")) == (9, 3)
    assert figures(run) == {"step_pytorch", "step_textbook", "curvature", "parity"}


def test_one_step_with_the_textbooks_penalty(fit: Fit) -> None:
    run = fit("l2_one_step", "--model.optimizer.weight_decay", "0.5")
    assert ends(run) == pytest.approx([4.15, 1.95], abs=1e-15)
    found = verdicts(run)
    assert (found.count("holds"), found.count("not applicable")) == (8, 4)


def test_one_step_with_the_bias_spared(fit: Fit) -> None:
    run = fit("l2_one_step", "--model.decay_bias", "false", "--trainer.callbacks", RECORDER)
    assert ends(run) == pytest.approx([4.1, 2.0], abs=1e-15)


def test_every_step_beside_numpy_under_both_conventions(fit: Fit) -> None:
    run = fit("l2_logistic")
    assert verdicts(run) == ["holds", "holds", "refuted", *["holds"] * 5]
    drawn = {"two_conventions", "parity", "parameters", "curves", "landscape", "curvature"}
    assert figures(run) == drawn
    assert regression_gap(run, 0.1, by_rows=False).shape == (1001,)


def test_the_run_itself_with_the_textbooks_penalty(fit: Fit) -> None:
    words = ["--model.optimizer.weight_decay", "9.124087591240876e-05", "--trainer.max_steps", "50"]
    run = fit("l2_logistic", *words, "--trainer.callbacks", RECORDER)
    assert RegressionWithin("", 0.1, 1e-15, by_rows=True).judge(run).verdict == "holds"
    assert RegressionWithin("", 0.1, 1e-15).judge(run).verdict == "fails"
    assert RegressionPartsAt("", 0.1, 2).judge(run).verdict == "holds"
    assert RegressionPartsAt("", 0.1, 2, by_rows=True).judge(run).verdict == "not applicable"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--model.optimizer.momentum", "0.9"], "plain gradient descent"),
        (["--data.batch_size", "100"], "full batch"),
        (["--model.loss", "torch.nn.MSELoss"], "no logistic regression"),
    ],
)
def test_what_is_no_regression_by_hand(fit: Fit, words: list[str], why: str) -> None:
    run = fit("l2_logistic", *words, "--trainer.max_steps", "3", "--trainer.callbacks", RECORDER)
    assert why in RegressionWithin("", 0.1, 1e-15).judge(run).why
    with pytest.raises(NotApplicable, match=why):
        TwoConventions(penalty=0.1).draw(run)


def test_spared_bias_and_refusals(fit: Fit) -> None:
    words = ["--model.decay_bias", "false", "--trainer.max_steps", "30"]
    run = fit("l2_logistic", *words, "--trainer.callbacks", RECORDER)
    assert RegressionWithin("", 0.1, 1e-15).judge(run).verdict == "holds"
    assert "no parameter" in GradientAt("", 0, "w[0]", 0.0, 1.0).judge(run).why
    assert "shape" in GradientAt("", 0, "linear.weight[7,7]", 0.0, 1.0).judge(run).why
    with pytest.raises(ValueError, match=r"penalty is -1\.0"):
        RegressionWithin("", -1.0, 1e-15)
