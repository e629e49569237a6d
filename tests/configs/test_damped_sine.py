from __future__ import annotations

import pytest

from tests.configs.fitting import RECORDER, Fit, figures, fit, verdicts
from tests.conftest import ROOT
from toyml.callbacks import SideErrors
from toyml.claims import (
    BetterSide,
    LeftShare,
    MeanSquare,
    NotApplicable,
    SideError,
    WorstRowShare,
)
from toyml.cli import main
from toyml.sweep.folder import Sweep

__all__ = ["fit"]

CURVE = {"fit", "thresholds", "side_errors", "curves", "parameters", "landscape"}


def test_the_left_half_is_fitted(fit: Fit) -> None:
    run = fit("damped_sine")
    assert verdicts(run) == ["holds"] * 4
    assert figures(run) == CURVE
    left, right = (SideError("", side, 0, 0).measure(run) for side in (True, False))
    assert left < 0.1 < 0.5 < right


def test_reversed_the_right_half_is_fitted(fit: Fit) -> None:
    run = fit("damped_sine_flipped", "--trainer.callbacks", RECORDER)
    assert BetterSide("", left=False).judge(run).verdict == "holds"
    assert LeftShare("", 0.073, 5e-4).judge(run).verdict == "holds"


def test_one_point_is_the_whole_percentage_error(fit: Fit) -> None:
    words = ["--trainer.max_steps", "600", "--trainer.callbacks", RECORDER]
    run = fit("damped_sine_percentage", *words)
    assert WorstRowShare("", 1.0, 1e-6, step=0).judge(run).verdict == "holds"
    for left in (True, False):
        assert SideError("", left, 1.0, 0.02).judge(run).verdict == "holds"


def test_other_settings_are_drawn_but_not_judged(fit: Fit) -> None:
    words = ["--data.n", "50", "--data.noise", "0.2", "--model.net.activation", "torch.nn.Tanh"]
    run = fit("damped_sine", *words, "--trainer.max_steps", "20")
    assert set(verdicts(run)) == {"not applicable"}
    assert figures(run) == CURVE - {"thresholds"}


def test_curves_are_for_curves(fit: Fit) -> None:
    words = ["--trainer.max_steps", "5", "--data.n", "20", "--trainer.callbacks", RECORDER]
    run = fit("rings", *words)
    for claim in (MeanSquare("", 0, 0), LeftShare("", 0, 0), BetterSide("", True)):
        with pytest.raises(NotApplicable, match="not a curve"):
            claim.measure(run)
    with pytest.raises(NotApplicable, match="not a curve"):
        SideErrors().draw(run)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [[], ["--seeds", "range(400,432)"]])
def test_over_seeds(fit: Fit, seeds: list[str]) -> None:
    sweep = main(["sweep", "--config", str(ROOT / "configs/damped_sine_seeds.yaml"), *seeds])
    assert isinstance(sweep, Sweep)
    assert verdicts(sweep) == ["holds"] * 4 + ["refuted"]
    assert {"sweep_sides", "sweep_outcomes"} <= figures(sweep)
