"""The benchmark of the report cuts where it says, and its table says what passes a limit."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import report


def test_short_form_covers_every_callback_and_the_whole_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["toyml"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    monkeypatch.setattr(report, "opening_time", lambda page: 0.5 if page.exists() else None)
    document, found = tmp_path / "speed.md", tmp_path / "found.json"
    document.write_text("before\n<!-- report -->\n<!-- end of report -->\nafter\n")
    text = io.StringIO()
    words = ["--short", "--stages", "--only", "damped_sine_symmetric"]
    begin = time.perf_counter()
    (row,) = report.main(
        [*words, "--json", str(found), "--update", str(document)], Console(file=text, width=220)
    )
    assert 0 < row.total < time.perf_counter() - begin
    assert sum(row.groups.values()) == pytest.approx(row.total)
    assert set(row.groups) == set(report.GROUPS)
    assert {"Fit fit", "Curves curves", "Verdicts", "Report"} <= set(row.stages)
    assert row.groups["figures"] >= row.stages["Fit fit"] + row.stages["Curves curves"]
    assert row.groups["page"] == row.stages["Report"]
    assert row.megabytes > 0.1
    assert "Curves curves" in text.getvalue()
    assert json.loads(found.read_text())[0]["name"] == "damped_sine_symmetric"
    assert f"| damped_sine_symmetric | {row.groups['figures']:.2f} |" in document.read_text()


def test_a_stage_inside_another_is_counted_once() -> None:
    clock = report.Clock()
    with clock.stage("outer"):
        time.sleep(0.01)
        with clock.stage("inner"):
            time.sleep(0.03)
        with clock.stage("inner"):
            time.sleep(0.03)
    assert clock.stages["inner"] >= 0.06
    assert clock.stages["outer"] >= 0.01
    with clock.stage("outer"):
        pass
    assert list(clock.stages) == ["inner", "outer"]


def test_what_passes_a_limit_is_bold() -> None:
    groups = dict.fromkeys(report.GROUPS, 1.0)
    fine = report.Row("fine", {}, groups, 4.99, 1.0, 7.9, None)
    late = replace(fine, name="late", total=5.01, opens=2.5)
    assert fine.late == []
    assert late.late == ["total", "opens"]
    lines = report.markdown([fine, late]).splitlines()
    assert "**" not in lines[2]
    assert "**5.01**" in lines[3]
    assert "**2.50**" in lines[3]
    assert "**7.90**" not in lines[3]


def test_the_median_row_is_one_that_was_measured() -> None:
    rows = [
        report.Row("a", {"x": s}, dict.fromkeys(report.GROUPS, 0.0), s, 0, 0) for s in (3, 1, 2)
    ]
    assert report.median_row(rows) is rows[2]
