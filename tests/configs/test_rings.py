from __future__ import annotations

import pytest

from tests.configs.fitting import RECORDER, Fit, figures, fit, verdicts
from tests.conftest import ROOT
from toyml.callbacks import Activations
from toyml.claims import Enclosed, FloorHolds, LossBetween, RegionsOf
from toyml.cli import main
from toyml.sweep.folder import Sweep

__all__ = ["fit"]


def test_the_ten_printed_losses(fit: Fit) -> None:
    run = fit("rings_printed_weights")
    assert verdicts(run) == ["holds"] * 10


def test_three_units_enclose_the_disk(fit: Fit) -> None:
    run = fit("rings")
    found = verdicts(run)
    assert "fails" not in found
    assert found.count("holds") == 8
    assert found.count("refuted") == 1
    assert figures(run) == {
        "hidden_lines",
        "activations",
        "boundary",
        "curves",
        "parameters",
        "landscape",
    }


def test_two_units_do_not_and_other_settings_are_not_judged(fit: Fit) -> None:
    words = ["--model.net.widths", "[2, 2, 1]", "--data.noise", "0.1", "--data.n", "50"]
    run = fit("rings", *words, "--trainer.max_steps", "2000")
    assert set(verdicts(run)) == {"not applicable"}
    assert "activations" not in figures(run)
    assert "hidden_lines" in figures(run)
    assert Enclosed("", encloses=False).judge(run).verdict == "holds"
    assert LossBetween("", 0.1, 0.7).judge(run).verdict == "holds"
    assert LossBetween("", 0.0, 0.1).judge(run).verdict == "fails"
    assert RegionsOf("", 1, 6).judge(run).verdict == "fails"
    with pytest.raises(ValueError, match="label is 2"):
        RegionsOf("", 2, 6)
    with pytest.raises(ValueError, match="lower end first"):
        LossBetween("", 1.0, 0.0)


@pytest.mark.parametrize("activation", ["Sigmoid", "ReLU"])
def test_one_unit_stays_above_the_floor(fit: Fit, activation: str) -> None:
    words = ["--model.net.widths", "[2, 1, 1]", "--model.net.activation", f"torch.nn.{activation}"]
    words += ["--data.n", "100", "--trainer.max_steps", "3000", "--trainer.callbacks", RECORDER]
    run = fit("rings", *words)
    assert FloorHolds("").judge(run).verdict == "holds"


def test_five_units_are_drawn_in_all_combinations(fit: Fit) -> None:
    words = ["--model.net.widths", "[2, 5, 1]", "--trainer.max_steps", "5"]
    run = fit("rings", *words, "--trainer.callbacks", RECORDER)
    drawing = Activations().draw(run)
    assert len(drawing.canvas.axes) == 10
    assert "10 of 10 combinations" in drawing.caption
    assert len(Activations(most=4).draw(run).canvas.axes) == 4


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [[], ["--seeds", "range(32,64)"]])
def test_over_seeds(fit: Fit, seeds: list[str]) -> None:
    sweep = main(["sweep", "--config", str(ROOT / "configs/rings_seeds.yaml"), *seeds])
    assert isinstance(sweep, Sweep)
    assert verdicts(sweep) == ["holds"] * 21
    assert figures(sweep) == {"sweep_rates", "sweep_outcomes", "sweep_steps"}
