from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.sweep.configs import written
from toyml.claims import (
    NotApplicable,
    OutcomeCount,
    SeedQuantile,
    SeedsBelow,
    SeedsLeftBetter,
    SeedsLower,
    SharpestEnd,
    SharpnessAtBest,
    StabilityBoundary,
)
from toyml.run import Run
from toyml.sweep.conduct import conduct
from toyml.sweep.folder import Sweep, claim
from toyml.sweep.local import Job, Local
from toyml.sweep.outcome import Definition
from toyml.sweep.plan import make_plan

WIDTHS, LR = "model.net.widths", "model.optimizer.lr"
A, B = {WIDTHS: [2, 1, 1]}, {WIDTHS: [2, 2, 1]}


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Four trainings of two widths."""
    return written(
        tmp_path,
        {
            "loss": [0.1, 0.2, 0.3, np.nan, 0.2, 0.2, 0.4, 0.4],
            "left": [1.0, 2, 3, 4, 1, 1, 1, 1],
            "right": [2.0, 2, 1, 5, 0, 0, 0, 0],
            WIDTHS: ["[2, 1, 1]"] * 4 + ["[2, 2, 1]"] * 4,
        },
        {WIDTHS: [[2, 1, 1], [2, 2, 1]]},
        outcomes={"converged": 0.25},
    )


def test_the_table_is_read(sweep: Sweep) -> None:
    # A training that diverged counts as the greatest.
    assert SeedQuantile("", A, "loss", 0.5, 0, 0).measure(sweep) == pytest.approx(0.25)
    assert SeedQuantile("", A, "loss", 1.0, 0, 0).measure(sweep) == np.inf
    assert SeedsBelow("", A, "loss", 0.3, 2, 0).judge(sweep).verdict == "holds"
    assert SeedsLeftBetter("", A, 2, 0).judge(sweep).verdict == "holds"
    assert SeedsLeftBetter("", B, 1, 0).judge(sweep).verdict == "fails"
    assert SeedsLeftBetter("", {}, 2, 0).judge(sweep).verdict == "holds"


def test_outcomes_are_counted(sweep: Sweep) -> None:
    assert OutcomeCount("", "converged", 4, 0).judge(sweep).verdict == "holds"
    assert OutcomeCount("", "converged", 2, 0, A).judge(sweep).verdict == "holds"
    assert OutcomeCount("", "diverged", 1, 0, A).judge(sweep).verdict == "holds"
    assert OutcomeCount("", "plateau", 3, 0, B).judge(sweep).verdict == "fails"
    with pytest.raises(ValueError, match="'stuck'"):
        OutcomeCount("", "stuck", 0, 0)


def test_lower_is_a_chance_over_pairs(sweep: Sweep) -> None:
    # Below both 0.2s: 0.1; ties with both: 0.2; below both 0.4s: 0.1, 0.2, 0.3.
    assert SeedsLower("", A, B, "loss", 0, 0).measure(sweep) == (2 + 6 + 0.5 * 2) / 16
    assert SeedsLower("", B, B, "loss", 0, 0).measure(sweep) == 0.5


@pytest.mark.parametrize(
    ("where", "column"), [({WIDTHS: [2, 3, 1]}, "loss"), ({"depth": 2}, "loss"), (A, "accuracy")]
)
def test_what_is_not_in_the_table(sweep: Sweep, where: dict[str, Any], column: str) -> None:
    with pytest.raises(NotApplicable, match="there are"):
        SeedQuantile("", where, column, 0.5, 0, 0).measure(sweep)


def test_one_run_is_no_sweep(tmp_path: Path) -> None:
    (tmp_path / "trajectory").mkdir()
    for claim_ in (SeedsBelow("", A, "loss", 0.3, 2, 0), OutcomeCount("", "diverged", 0, 0)):
        verdict = claim_.judge(Run(tmp_path))
        assert verdict.verdict == "not applicable"
        assert "toyml sweep" in verdict.why


def test_a_quantile_is_a_share() -> None:
    with pytest.raises(ValueError, match="quantile is 50"):
        SeedQuantile("", A, "loss", 50, 0, 0)


def test_without_an_end_there_is_no_sharpness(sweep: Sweep) -> None:
    for claim_ in (SharpnessAtBest("", 1, 1), SharpestEnd("", 4.0), StabilityBoundary("", "lr")):
        assert claim_.judge(sweep).verdict == "not applicable"


# One parameter: f(x) = w x on the row 1 -> 1, loss (w - 1)^2, curvature 2, limit 1 + momentum.
PARABOLA: dict[str, Any] = {
    "model": {
        "class_path": "toyml.tasks.Supervised",
        "init_args": {
            "net": {
                "class_path": "toyml.models.Linear",
                "init_args": {"inputs": 1, "bias": False, "initial": {"linear.weight": [[3.0]]}},
            },
            "loss": "torch.nn.MSELoss",
            "optimizer": {
                "class_path": "torch.optim.SGD",
                "init_args": {"lr": 0.5, "momentum": 0.0},
            },
        },
    },
    "data": {"class_path": "toyml.data.TwoRows", "init_args": {"x": [1.0], "y": [1.0]}},
    "trainer": {"max_steps": 600, "precision": "64-true", "accelerator": "cpu"},
    "sweep": {"outcomes": {"converged": 1e-6, "explosion": 100.0}},
}


def trained(folder: Path, vary: dict[str, Any]) -> Sweep:
    plan = make_plan(PARABOLA, 1, vary)
    place = claim(folder, "parabola", yaml.safe_dump(PARABOLA), plan)
    return conduct(place, plan, Job(PARABOLA, Definition(1e-6, explosion=100.0)), Local())


def test_the_boundary_is_theorys_and_the_claim_can_fail(tmp_path: Path) -> None:
    rates, momenta = np.linspace(0.61, 2.01, 15).round(4).tolist(), [0.0, 0.3, 0.8]
    sweep = trained(tmp_path, {LR: rates, "model.optimizer.momentum": momenta})
    assert SharpnessAtBest("", 2.0, 1e-9).judge(sweep).verdict == "holds"
    found = StabilityBoundary("", "momentum").judge(sweep)
    assert found.verdict == "holds"
    # The limits 1, 1.3 and 1.8 lie 0.09 above a rate of the grid of spacing 0.1.
    assert found.measured == pytest.approx(0.4, abs=1e-6)
    other = StabilityBoundary("", "momentum", tolerance=0.3).judge(sweep)
    assert other.verdict == "fails"


def test_ends_are_no_sharper_than_the_limit(tmp_path: Path) -> None:
    sweep = trained(tmp_path, {"initial.linear.weight[0,0]": [0.0, 2.0, 5.0]})
    found = SharpestEnd("", 4.0).judge(sweep)
    assert (found.verdict, found.measured) == ("holds", pytest.approx(2.0))
    assert not SharpestEnd("", 1.0).agrees(2.0)
    assert "limit of this sweep is 4.0" in SharpestEnd("", 3.0).judge(sweep).why
