"""Every shipped config runs, and leaves what a run has to leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import main

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def case(path: Path) -> object:
    # The configs over seeds train hundreds of nets after the fit.
    marks = [pytest.mark.slow] if path.stem.endswith("_seeds") else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [case(path) for path in CONFIGS])
def test_a_few_steps_leave_every_artefact(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = main(["fit", "--config", str(path), "--trainer.max_steps", "7"])
    assert isinstance(run, Run)
    assert str(run.folder) == f"runs/{path.stem}/version_0"
    assert run.finished
    assert run.trajectory.steps[0] == 0
    assert run.trajectory.steps[-1] == 7
    assert run.metrics["loss"]["step"][-1] == 7
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["claims"]
    assert all(claim["verdict"] and claim["statement"] for claim in summary["claims"])
    words = sorted((run.folder / "figures").glob("*.json"))
    drawn = [json.loads(word.read_text()) for word in words]
    assert any("alt" in d for d in drawn)
    for word, d in zip(words, drawn, strict=True):
        for kind in ("png", "svg"):
            assert word.with_suffix(f".{kind}").exists() == ("alt" in d)
    page = (run.folder / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert not list(run.folder.rglob("*.part")), "a draft was left behind"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_its_header_says_question_and_command(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert any(line == f"# python -m toyml fit --config configs/{path.name}" for line in lines[:5])
