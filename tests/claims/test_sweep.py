from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from tests.sweep.configs import written
from toyml.claims import (
    GreatestOf,
    NotApplicable,
    OutcomeCount,
    OutcomeShare,
    SeedQuantile,
    SeedsBetween,
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
    # A training that diverged counts as the greatest, and is in no range.
    assert SeedQuantile("", A, "loss", 0.5, 0).measure(sweep) == pytest.approx(0.25)
    assert SeedQuantile("", A, "loss", 0.99, 0).measure(sweep) == np.inf
    assert SeedsBetween("", A, "loss", 0, high=0.3).measure(sweep) == "2 of 4"
    assert SeedsBetween("", A, "loss", 0, low=0.2).measure(sweep) == "2 of 4"
    assert SeedsLeftBetter("", A, 0).measure(sweep) == "2 of 4"
    assert SeedsLeftBetter("", B, 0).measure(sweep) == "0 of 4"
    assert OutcomeShare("", A, "converged", 0).measure(sweep) == "2 of 4"
    assert GreatestOf("", B, "loss", 0.4, 0).judge(sweep).verdict == "holds"


def test_outcomes_are_counted(sweep: Sweep) -> None:
    assert OutcomeCount("", "converged", 4, 0).judge(sweep).verdict == "holds"
    assert OutcomeCount("", "converged", 2, 0, A).judge(sweep).verdict == "holds"
    assert OutcomeCount("", "diverged", 1, 0, A).judge(sweep).verdict == "holds"
    assert OutcomeCount("", "plateau", 3, 0, B).judge(sweep).verdict == "fails"
    with pytest.raises(ValueError, match="'stuck'"):
        OutcomeCount("", "stuck", 0, 0)
    with pytest.raises(ValueError, match="'stuck'"):
        OutcomeShare("", A, "stuck", 0)


def many(folder: Path, below: int, of: int, first: int = 0) -> Sweep:
    """A sweep of so many seeds, the first of which end below 0.1."""
    loss = [0.05] * below + [0.5] * (of - below)
    return written(folder, {"loss": loss, "seed": list(range(first, first + of))})


def test_a_count_is_tested_against_the_count_of_other_seeds(tmp_path: Path) -> None:
    claim = SeedsBetween("", {}, "loss", 141, "range(64,320)", high=0.1)
    assert claim.predicted == "141 of 256"
    # The exact test has p = 0.00137 at 8, 0.00055 at 7, 0.00117 at 27 and 0.00044 at 28 of 32.
    for count, verdict in ((18, "holds"), (8, "holds"), (7, "fails"), (27, "holds"), (28, "fails")):
        found = claim.judge(many(tmp_path / str(count), count, 32))
        assert (found.verdict, found.measured) == (verdict, f"{count} of 32"), count
    assert (
        "counted over seeds 64 to 319, here over seeds 0 to 31: 8 to 27 of 32 would agree"
        in found.why
    )
    # More seeds tell more apart.
    assert claim.judge(many(tmp_path / "more", 150, 400)).verdict == "fails"


def test_a_count_is_tested_against_a_chance(tmp_path: Path) -> None:
    half = SeedsBetween("", {}, "loss", 0.5, high=0.1)
    # The exact test has p = 0.0016 at 19 and 45, 0.0006 at 18 and 46 of 64.
    for count, verdict in ((45, "holds"), (19, "holds"), (18, "fails"), (46, "fails")):
        found = half.judge(many(tmp_path / str(count), count, 64))
        assert found.verdict == verdict, (count, found.why)
    assert half.predicted == "a chance of 0.5"
    never = SeedsBetween("", {}, "loss", 0, high=0.1)
    assert never.judge(many(tmp_path / "none", 0, 9)).verdict == "holds"
    assert never.judge(many(tmp_path / "one", 1, 9)).verdict == "fails"


def test_a_quantile_is_tested_as_the_count_below_it(tmp_path: Path) -> None:
    claim = SeedQuantile("", {}, "loss", 0.5, 0.1, "range(64,320)")
    found = claim.judge(many(tmp_path / "a", 16, 32))
    assert (found.verdict, found.predicted, found.measured) == ("holds", 0.1, 0.275)
    assert found.why.startswith("16 of 32 are below the predicted value; counted over seeds 64 to")
    assert claim.judge(many(tmp_path / "b", 3, 32)).verdict == "fails"
    for quantile in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            SeedQuantile("", A, "loss", quantile, 0)


@pytest.mark.parametrize(
    ("predicted", "seeds", "words"),
    [(33, "range(0,32)", "a count of 32"), (0.5, "range(0,32)", "a count"), (2, None, "a chance")],
)
def test_counts_and_chances_out_of_range(predicted: float, seeds: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SeedsLeftBetter("", A, predicted, seeds)


def test_seeds_of_several_settings_are_no_sample(sweep: Sweep) -> None:
    pooled = sweep.table.with_columns(pl.Series("seed", [0, 1, 2, 3] * 2))
    sweep.__dict__["table"] = pooled
    found = SeedsLeftBetter("", {}, 0.5).judge(sweep)
    assert (found.verdict, found.why[:30]) == ("not applicable", "it is about the seeds of one s")
    assert SeedsLeftBetter("", A, 0.5).judge(sweep).verdict == "holds"


def test_lower_is_a_chance_over_pairs(sweep: Sweep) -> None:
    # Below both 0.2s: 0.1; ties with both: 0.2; below both 0.4s: 0.1, 0.2, 0.3.
    assert SeedsLower("", A, B, "loss").measure(sweep) == (2 + 6 + 0.5 * 2) / 16
    assert SeedsLower("", B, B, "loss").measure(sweep) == 0.5
    # 3.2905 standard deviations of U / 16, where there is no difference.
    found = SeedsLower("", A, B, "loss").judge(sweep)
    assert found.tolerance == pytest.approx(3.290527 * np.sqrt(9 / (12 * 16)))
    assert found.verdict == "holds"


@pytest.mark.parametrize(
    ("where", "column"), [({WIDTHS: [2, 3, 1]}, "loss"), ({"depth": 2}, "loss"), (A, "accuracy")]
)
def test_what_is_not_in_the_table(sweep: Sweep, where: dict[str, Any], column: str) -> None:
    with pytest.raises(NotApplicable, match="there are"):
        SeedQuantile("", where, column, 0.5, 0).measure(sweep)


def test_one_run_is_no_sweep(tmp_path: Path) -> None:
    (tmp_path / "trajectory").mkdir()
    for claim_ in (
        SeedsBetween("", A, "loss", 2, "range(0,4)"),
        OutcomeCount("", "diverged", 0, 0),
    ):
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
