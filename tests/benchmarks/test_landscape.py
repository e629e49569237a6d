"""The benchmark runs, and what it times is the same landscape on every side."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks import landscape
from tests.engine.test_compiled_route import needs_compiler
from toyml.measures import points


def test_short_form_measures_every_case_against_every_loop(tmp_path: Path) -> None:
    written, page, text = tmp_path / "found.json", tmp_path / "page.md", io.StringIO()
    page.write_text("<!-- landscape -->\nold\n<!-- end of landscape -->\n")
    words = ["--short", "--json", str(written), "--update", str(page)]
    rows = landscape.main(words, Console(file=text, width=220))
    expected = [
        (case.name, str(case.dtype).removeprefix("torch."), loop)
        for case in landscape.CASES
        for loop in case.targets
    ]
    assert [(row.case, row.dtype, row.loop) for row in rows] == expected
    for row in rows:
        assert len(row.ratios) == len(row.eager_ratios) == 1
        assert row.ratio > 0
        assert row.loop_ms / row.ms == pytest.approx(row.ratio)
    saved = json.loads(written.read_text())
    assert [row["case"] for row in saved["rows"]] == [row.case for row in rows]
    assert len(saved["seconds"]) == 6
    assert "old" not in page.read_text()
    assert all(name in page.read_text() for name in saved["seconds"])
    assert all(case.name in text.getvalue() for case in landscape.CASES)


def test_every_side_sees_the_same_grid() -> None:
    problem = landscape.CASES[1].problem(5)
    grids = [side(problem) for side in (*landscape.LOOPS.values(), landscape.ours)]
    a, b = problem.axis[1], problem.axis[3]
    line = a * problem.x + b
    for grid in grids:
        torch.testing.assert_close(grid["MSELoss"][3, 1], (line - problem.y).square().mean())
        assert landscape.difference(grid, grids[0]) < 1e-14


@needs_compiler
@pytest.mark.usefixtures("kernels")
def test_the_other_column_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "WORTH_COMPILING", 0)
    problem = landscape.CASES[2].problem(3)
    assert landscape.kernel_of(problem) is not None
    with landscape.never_compiling():
        assert landscape.kernel_of(problem) is None
    assert points.WORTH_COMPILING == 0


def test_grids_that_differ_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = landscape.tensor_programs

    def shifted(problem: landscape.Problem) -> landscape.Grids:
        return {name: grid + 1e-3 for name, grid in wrong(problem).items()}

    monkeypatch.setattr(landscape, "tensor_programs", shifted)
    with pytest.raises(AssertionError, match="grids differ by"):
        landscape.measure(landscape.CASES[2], 1, 3)


def test_documentation_has_room_for_the_tables(root: Path) -> None:
    text = (root / "docs" / "landscape.md").read_text()
    assert text.count("<!-- landscape -->") == text.count("<!-- end of landscape -->") == 1
