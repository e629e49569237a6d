"""The two points: its table of angles and weights, weight decay, and the two commands."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.configs.fitting import RECORDER, Fit, figures, fit, verdicts
from toyml import theory
from toyml.callbacks import Bisector, DescentLimit, RegularizedMinimum
from toyml.callbacks.references import all_lines
from toyml.claims import MinimumReached
from toyml.claims.boundary import line, margins, signed_angle
from toyml.run import Run

__all__ = ["fit"]

TABLE = {
    10: (1.025895, 0.244191, -1.883433, -13.176230),
    100: (3.260060, -0.427059, -5.460098, -34.028141),
    1_000: (5.999443, -1.214953, -9.775270, -38.013256),
    10_000: (8.703555, -1.988054, -14.025584, -39.431734),
    100_000: (11.392892, -2.756485, -18.251783, -40.166261),
}
"""Epoch to w0, w1, b and the angle in degrees."""

ISSUE = [
    *("--model.optimizer.lr", "0.5", "--model.optimizer.weight_decay", "0.2"),
    *("--model.decay_bias", "false", "--trainer.max_steps", "10000"),
    *("--trainer.precision", "64-true", "--trainer.accelerator", "auto"),
]


WATCHED = {"parameters", "curves", "landscape", "curvature"}
"""Figures that every perceptron has."""


def verdict(run: Run, words: str) -> str:
    (found,) = (c for c in run.summary["claims"] if words in c["statement"])
    return str(found["verdict"])


def check_table(run: Run, epochs: list[int]) -> None:
    w, b = line(run)
    angles = signed_angle(w, [2.0, 1.0])
    for epoch in epochs:
        i = run.trajectory.index(epoch + 1)
        found = (*w[i], b[i], angles[i])
        # Half of the table's last digit, and the last digit.
        assert found == pytest.approx(TABLE[epoch], abs=1e-6), epoch


def test_the_first_command(fit: Fit) -> None:
    run = fit("perceptron")
    found = verdicts(run)
    assert "fails" not in found
    assert found.count("holds") == 12
    assert found.count("refuted") == 2
    assert figures(run) == {"boundary", "angle", *WATCHED}
    start = run.trajectory.at(0)
    assert start["linear.weight"][0].tolist() == pytest.approx([-0.0052940, 0.3793229], abs=5e-7)
    assert start["linear.bias"].tolist() == pytest.approx([-0.5819808], abs=5e-7)
    check_table(run, [10, 100])
    assert run.metrics["accuracy"]["value"][-1] == 1.0


def test_the_limit_line_depends_on_no_rate(fit: Fit) -> None:
    run = fit("perceptron", "--model.optimizer.lr", "0.5", "--trainer.max_steps", "200")
    assert verdict(run, "Angle of the limit line") == "holds"
    assert verdict(run, "Nearer point's distance to the limit line") == "holds"
    # Another rate moves the path, and along the limit only: C is the same.
    assert verdict(run, "from theory, in degrees") == "holds"
    assert verdict(run, "at epoch 10, in degrees") == "not applicable"
    theory = [c["statement"] for c in run.summary["claims"] if c["theory"]]
    assert len(theory) == 4
    assert "Theory, which no training enters" in (run.folder / "report.html").read_text()


def test_the_second_command_gives_the_bisector(fit: Fit) -> None:
    run = fit("perceptron", *ISSUE)
    found = verdicts(run)
    assert "fails" not in found
    assert verdict(run, "Decay 0.2 on w alone") == "holds"
    w, b = line(run)
    expected = (1.055064531352, 0.527532265676, -2.901427461219)
    assert (*w[-1], b[-1]) == pytest.approx(expected, abs=2e-12)
    assert abs(signed_angle(w[-1:], [2.0, 1.0])[0]) < 1e-11


def test_the_table_up_to_epoch_10_000(fit: Fit) -> None:
    words = ["--trainer.max_steps", "10001", "--trainer.callbacks", RECORDER]
    check_table(fit("perceptron", *words), [10, 100, 1_000, 10_000])


@pytest.mark.slow
def test_the_table_and_the_law_up_to_epoch_100_000(fit: Fit) -> None:
    run = fit("perceptron", "--trainer.max_steps", "100001")
    found = verdicts(run)
    assert "fails" not in found
    assert found.count("holds") == 17
    assert found.count("refuted") == 2
    check_table(run, list(TABLE))


def test_logits_take_the_same_path(fit: Fit) -> None:
    words = ["--model.loss", "torch.nn.BCEWithLogitsLoss", "--trainer.callbacks", RECORDER]
    run = fit("perceptron", "--model.net.output_activation", "torch.nn.Identity", *words)
    check_table(run, [10, 100])
    names = list(all_lines(run, [Bisector(), DescentLimit(), RegularizedMinimum()]))
    assert names == ["perpendicular bisector", "limit of gradient descent"]


def test_weight_decay_reaches_its_minimum_in_swings(fit: Fit) -> None:
    run = fit("perceptron_weight_decay")
    found = verdicts(run)
    assert "fails" not in found
    assert found.count("holds") == 12
    assert found.count("refuted") == 2
    expected = {"boundary", "oscillation", "sweep_of_decay", *WATCHED}
    assert figures(run) == expected
    w, b = line(run)
    end = (0.594177882652, -0.012645554449, -0.619468991549)
    assert (*w[-1], b[-1]) == pytest.approx(end, abs=1e-12)
    assert margins(run)[-1].tolist() == pytest.approx([1.137774, 0.037937], abs=5e-7)
    wrong = run.trajectory.steps[(margins(run) <= 0).any(axis=1)]
    assert wrong.tolist() == [1, 3, 5, 7, 9, 11]


TO_BISECTOR = [
    (["--model.decay_bias", "false"], 4),
    (["--data.centered", "true"], 3),
    (["--data.centered", "true", "--model.decay_bias", "false"], 3),
]
"""Ways to the bisector, and how many claims each one meets."""


@pytest.mark.parametrize(("words", "holds"), TO_BISECTOR)
def test_the_ways_to_the_bisector(fit: Fit, words: list[str], holds: int) -> None:
    run = fit("perceptron_weight_decay", *words, "--trainer.callbacks", RECORDER)
    assert signed_angle(line(run)[0][-1:], [2.0, 1.0])[0] == pytest.approx(0, abs=1e-10)
    assert MinimumReached("", 1e-12).judge(run).verdict == "holds"


@pytest.mark.slow
@pytest.mark.parametrize(("words", "holds"), TO_BISECTOR)
def test_the_config_has_claims_on_each_way(fit: Fit, words: list[str], holds: int) -> None:
    found = verdicts(fit("perceptron_weight_decay", *words))
    assert set(found) == {"holds", "not applicable"}
    assert found.count("holds") == holds


@pytest.mark.slow
def test_beyond_the_threshold_a_point_stays_misclassified(fit: Fit) -> None:
    run = fit("perceptron_weight_decay", "--model.optimizer.weight_decay", "0.3")
    assert verdict(run, "0.3 is above λ*") == "holds"
    assert "fails" not in verdicts(run)
    late = margins(run)[-100:]
    assert (late[:, 1] < 0).all()
    assert (late[:, 0] > 0).all()


@pytest.mark.slow
def test_other_settings_are_not_judged_by_numbers_of_these(fit: Fit) -> None:
    words = ["--model.optimizer.lr", "0.3", "--model.optimizer.weight_decay", "0.05"]
    run = fit("perceptron_weight_decay", *words, "--data.points", "[[2, 2], [0, 1]]")
    assert set(verdicts(run)) == {"not applicable"}
    x, y = run.data
    w, b = theory.regularized_logistic(x, y, 0.05)
    exact = torch.cat([w, b.reshape(1)]).numpy()
    assert np.abs(run.trajectory.parameters.flat[-1] - exact).max() < 1e-6


def test_the_limit_is_what_the_answer_says() -> None:
    x, y = torch.tensor([[3.0, 2], [1, 1]]), torch.tensor([1, 0])
    w, b = theory.max_margin_augmented(x, y)
    assert (6 * w).tolist() == pytest.approx([7, -2])
    assert float(6 * b) == pytest.approx(-11)
    assert theory.two_point_threshold(x, y) == pytest.approx(1 / (4 * math.log(3)))
