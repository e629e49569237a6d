"""Running a config of the project, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from toyml.cli import main
from toyml.run import Run

RECORDER = '[{"class_path": "toyml.callbacks.Recorder"}]'
"""Callbacks of a fit that is only recorded: neither figures nor claims."""

Fit = Callable[..., Run]


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """Run a config in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["toyml"])
    # LightningCLI calls what jsonargparse 5 will rename.
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

    def run(name: str, *words: str) -> Run:
        result = main(["fit", "--config", str(ROOT / "configs" / f"{name}.yaml"), *words])
        assert isinstance(result, Run)
        return result

    return run


def verdicts(run: Run) -> list[str]:
    return [claim["verdict"] for claim in run.summary["claims"]]


def figures(run: Run) -> set[str]:
    return {path.stem for path in (run.folder / "figures").glob("*.png")}
