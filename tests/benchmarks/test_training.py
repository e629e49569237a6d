"""The benchmark runs, and what it times is the same training on every side."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks import training
from tests.engine.test_compiled_route import needs_compiler


@needs_compiler
def test_short_form_measures_every_case_on_every_side(tmp_path: Path) -> None:
    written, text = tmp_path / "found.json", io.StringIO()
    rows = training.main(["--short", "--json", str(written)], Console(file=text, width=220))
    found = {(row.case, row.side): row for row in rows}
    names = [case.name for case in training.CASES]
    expected = {(name, side) for name in names for side in ("eager", "compiled", "stock")}
    assert set(found) == expected | {(training.LONG.name, "compiled")}
    for (name, side), row in found.items():
        assert len(row.ratios) == len(row.whole_ratios) == 1
        assert 0 < row.ratio < min(row.whole_ratios), "set-up cannot take negative time"
        if side == "eager":
            assert row.route == "eager blocks"
            assert row.bit_equal, name
        if side == "compiled":
            assert row.route == "compiled route: C kernel (from the cache)"
            assert row.compile_cold is not None
            assert row.deviation < 1e-5
    saved = json.loads(written.read_text())
    assert [row["case"] for row in saved["rows"]] == [row.case for row in rows]
    assert saved["machine"]["threads"] == 1
    assert all(name.split(",")[0] in text.getvalue() for name in names)


@pytest.mark.parametrize("case", training.CASES, ids=lambda case: case.name)
def test_without_a_compiler_the_eager_side_is_still_measured(
    case: training.Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    rows = training.measure(case, ["eager", "compiled"], 3, 1)
    assert [row.side for row in rows] == ["eager"]


def test_the_loop_takes_exactly_the_steps_it_is_timed_for() -> None:
    case = next(case for case in training.CASES if case.data().batch_size)
    per_pass = case.data().steps_per_pass
    for steps in (per_pass, per_pass + 1):
        one_by_one = training.recorded(case, steps, compiled=False)
        assert torch.equal(training.plain(case, steps).weights, one_by_one.weights)


def test_a_fit_that_records_less_is_not_timed(tmp_path: Path) -> None:
    from toyml.trajectory import TrajectoryWriter

    TrajectoryWriter(tmp_path / "trajectory", {"w": (1,)}, torch.zeros(1).numpy().dtype).close()
    with pytest.raises(AssertionError, match="0 snapshots of 5 steps"):
        training.check_record(tmp_path, 5)


def test_tables_replace_what_stands_between_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- training -->\nold\n<!-- end of training -->\nafter\n")
    row = training.Row("a case", "eager", 5000, 1.1, ratios=[0.5, 0.4, 0.6], us=70.0)
    training.write_between(page, "training", training.markdown([row]))
    text = page.read_text()
    assert "old" not in text
    assert "| a case, 5,000 steps |" in text
    assert "**0.5** (1.10)" in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    with pytest.raises(ValueError, match="add them"):
        training.write_between(page, "startup", "")


def test_documentation_has_room_for_both_tables(root: Path) -> None:
    text = (root / "docs" / "speed.md").read_text()
    for name in ("training", "startup"):
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- end of {name} -->") == 1
