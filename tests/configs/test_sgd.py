from __future__ import annotations

import pytest

from tests.configs.fitting import Fit, figures, fit, verdicts

__all__ = ["fit"]

LANDSCAPES = {
    "landscape",
    "landscape_momentum",
    "landscape_nesterov",
    "landscape_weight_decay",
    "landscape_dampening",
}


FORCES = {"forces_weight_decay", "forces_dampening"}


def test_every_claim_is_judged_and_every_figure_drawn(fit: Fit) -> None:
    run = fit("sgd")
    found = verdicts(run)
    assert found.count("refuted") == 1
    # Only the claim about a float64 run has nothing to say about this one.
    assert found.count("not applicable") == 1
    assert found.count("holds") == len(found) - 2 == 47
    assert run.summary["claims"][0]["measured"] == "all 13 equal"
    drawn = {"stability", "companion", "lines", "curves", "parameters", "curvature"}
    drawn |= FORCES
    assert figures(run) == LANDSCAPES | drawn
    assert (run.folder / "report.html").exists()


def test_an_adaptive_optimizer_on_another_loss_and_data(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other landscapes are those of the test above; drawing them again tells nothing new.
    from toyml.callbacks import LossLandscapes

    finish = LossLandscapes.finish
    monkeypatch.setattr(
        LossLandscapes, "finish", lambda self, run: self.name == "landscape" and finish(self, run)
    )
    words = ["--model.optimizer=torch.optim.Adam", "--model.optimizer.lr=0.1"]
    words += ["--model.loss=torch.nn.L1Loss", "--data.n=30", "--data.noise=1.0", "--data.seed=5"]
    run = fit("sgd", *words, "--trainer.max_steps=20")
    assert set(verdicts(run)) == {"not applicable"}
    assert figures(run) == {"landscape", "lines", "curves", "parameters", "curvature", *FORCES}
