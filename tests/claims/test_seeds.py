from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toyml.claims import (
    NotApplicable,
    SeedQuantile,
    SeedsBelow,
    SeedsLeftBetter,
    SeedsLower,
)
from toyml.run import Run
from toyml.seeds import SeedTable


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a table over four seeds of two settings."""
    (tmp_path / "trajectory").mkdir()
    a = {"loss": [0.1, 0.2, 0.3, np.nan], "left": [1, 2, 3, 4], "right": [2, 2, 1, 5]}
    b = {"loss": [0.2, 0.2, 0.4, 0.4], "left": [1, 1, 1, 1], "right": [0, 0, 0, 0]}
    SeedTable(
        {n: {k: np.array(v, float) for k, v in c.items()} for n, c in (("a", a), ("b", b))}
    ).save(tmp_path)
    return Run(tmp_path)


def test_the_table_is_read(run: Run) -> None:
    # A seed that diverged counts as the greatest.
    assert SeedQuantile("", "a", "loss", 0.5, 0, 0).measure(run) == pytest.approx(0.25)
    assert SeedQuantile("", "a", "loss", 1.0, 0, 0).measure(run) == np.inf
    assert SeedsBelow("", "a", "loss", 0.3, 2, 0).judge(run).verdict == "holds"
    assert SeedsLeftBetter("", "a", 2, 0).judge(run).verdict == "holds"
    assert SeedsLeftBetter("", "b", 1, 0).judge(run).verdict == "fails"


def test_lower_is_a_chance_over_pairs(run: Run) -> None:
    # Below both 0.2s: 0.1; ties with both: 0.2; below both 0.4s: 0.1, 0.2, 0.3.
    assert SeedsLower("", "a", "b", "loss", 0, 0).measure(run) == (2 + 6 + 0.5 * 2) / 16
    assert SeedsLower("", "b", "b", "loss", 0, 0).measure(run) == 0.5


@pytest.mark.parametrize(("setting", "column"), [("c", "loss"), ("a", "accuracy")])
def test_what_is_not_in_the_table(run: Run, setting: str, column: str) -> None:
    with pytest.raises(NotApplicable, match="there are"):
        SeedQuantile("", setting, column, 0.5, 0, 0).measure(run)


def test_no_table(tmp_path: Path) -> None:
    (tmp_path / "trajectory").mkdir()
    verdict = SeedsBelow("", "a", "loss", 0.3, 2, 0).judge(Run(tmp_path))
    assert verdict.verdict == "not applicable"
    assert "toyml.callbacks.Seeds" in verdict.why


def test_a_quantile_is_a_share() -> None:
    with pytest.raises(ValueError, match="quantile is 50"):
        SeedQuantile("", "a", "loss", 50, 0, 0)
