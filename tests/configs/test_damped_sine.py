from __future__ import annotations

import pytest

from tests.configs.fitting import RECORDER, Fit, figures, fit, verdicts
from toyml.callbacks import SeedOutcomes, Seeds, SeedSides, SideErrors
from toyml.claims import (
    BetterSide,
    LeftShare,
    MeanSquare,
    NotApplicable,
    SideError,
    WorstRowShare,
)
from toyml.seeds import SeedTable

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


def test_seeds_are_trained_once(fit: Fit) -> None:
    run = fit("damped_sine_symmetric", "--trainer.max_steps", "20")
    assert verdicts(run) == ["holds"] * 2
    with pytest.raises(NotApplicable, match="no table"):
        SeedSides(["a"]).draw(run)
    callback = Seeds({"a": {}, "b": {"data.flipped": True}}, seeds=2, noted=[10])
    callback.finish(run)
    table = SeedTable.load(run.folder)
    assert table is not None
    assert list(table.settings) == ["a", "b"]
    assert callback.complete(run)
    for other in (
        Seeds({"a": {}}, seeds=2),
        Seeds({"a": {}, "b": {}}, seeds=3),
        Seeds({"a": {}, "b": {}}, seeds=2, noted=[5]),
        Seeds({"a": {"trainer.max_steps": 9}, "b": {}}, seeds=2),
    ):
        assert not other.complete(run)
    assert len(SeedSides(["a", "b"]).draw(run).canvas.axes) == 2
    outcomes = SeedOutcomes({"all": ["a", "b"]}, floors={"zero": 0.5}, column="loss_10")
    assert "Medians: a " in outcomes.draw(run).caption
    with pytest.raises(NotApplicable, match="no setting 'c'"):
        SeedSides(["c"]).draw(run)
    with pytest.raises(ValueError, match="0 seeds"):
        Seeds({"a": {}}, seeds=0)


@pytest.mark.slow
def test_over_seeds(fit: Fit) -> None:
    run = fit("damped_sine_seeds")
    assert verdicts(run) == ["holds"] * 4 + ["refuted"]
    assert {"seed_sides", "seed_losses"} <= figures(run)
