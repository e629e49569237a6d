"""Every shipped config runs, and leaves what a run has to leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import main
from toyml.sweep.folder import Sweep

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

COUNTS = {
    "basins": (3, 1, 0),
    "damped_sine": (4, 0, 0),
    "damped_sine_flipped": (3, 0, 0),
    "damped_sine_percentage": (4, 0, 0),
    "damped_sine_seeds": (4, 1, 0),
    "damped_sine_symmetric": (5, 0, 0),
    "l2_logistic": (7, 1, 0),
    "l2_one_step": (9, 0, 3),
    "perceptron": (12, 2, 7),
    "perceptron_weight_decay": (12, 2, 6),
    "rings": (8, 1, 5),
    "rings_printed_weights": (10, 0, 0),
    "rings_seeds": (21, 0, 0),
    "sgd": (47, 1, 1),
    "sgd_stability": (4, 0, 0),
    "xor": (33, 3, 0),
    "xor_ladder": (8, 0, 0),
    "xor_ladder_shared": (8, 0, 0),
    "xor_seeds": (4, 1, 0),
}
"""Claims that hold, are refuted and do not apply when a config is run as it is."""


SWEEPS = [path for path in CONFIGS if "sweep" in yaml.safe_load(path.read_text())]
FITS = [path for path in CONFIGS if path not in SWEEPS]


def command(path: Path) -> str:
    return "sweep" if path in SWEEPS else "fit"


@pytest.mark.parametrize("path", FITS, ids=lambda p: p.stem)
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
    assert_complete(run)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_a_short_sweep_leaves_every_artefact(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = ["--seeds", "2"] if "seeds" in path.stem else []
    sweep = main(["sweep", "--config", str(path), "--trainer.max_steps", "7", *seeds])
    assert isinstance(sweep, Sweep)
    assert str(sweep.folder) == f"runs/{path.stem}/sweep_0"
    assert sweep.finished
    assert sweep.table["steps"].unique().to_list() == [7]
    assert_complete(sweep)


@pytest.mark.slow
@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_fit_trains_one_run_of_a_sweep(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = main(["fit", "--config", str(path), "--trainer.max_steps", "7"])
    assert isinstance(run, Run)
    assert run.trajectory.steps[-1] == 7
    assert list((run.folder / "figures").glob("*.png"))
    assert (run.folder / "report.html").exists()


def assert_complete(run: Run) -> None:
    """Claims judged and none failed, figures in both forms, a page, and no draft."""
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["claims"]
    assert all(claim["verdict"] and claim["statement"] for claim in summary["claims"])
    # Too few steps say nothing: a claim that fails has to mean that it is wrong.
    assert [claim for claim in summary["claims"] if claim["verdict"] == "fails"] == []
    words = sorted((run.folder / "figures").glob("*.json"))
    drawn = [json.loads(word.read_text()) for word in words]
    assert any("alt" in d for d in drawn)
    for word, d in zip(words, drawn, strict=True):
        for kind in ("png", "svg"):
            assert word.with_suffix(f".{kind}").exists() == ("alt" in d)
    page = (run.folder / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert not list(run.folder.rglob("*.part")), "a draft was left behind"


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_in_full_its_claims_are_judged_as_written_down(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = main([command(path), "--config", str(path)])
    assert isinstance(run, Run)
    found = [claim["verdict"] for claim in run.summary["claims"]]
    assert set(found) <= {"holds", "refuted", "not applicable"}, run.summary["claims"]
    counts = (found.count("holds"), found.count("refuted"), found.count("not applicable"))
    assert counts == COUNTS[path.stem]


OTHER_TRAININGS = [
    ("perceptron", "--model.net.bias false"),
    ("perceptron", "--trainer.max_steps 5"),
    ("perceptron", "--model.net.output_activation torch.nn.Tanh --model.loss torch.nn.MSELoss"),
    ("perceptron", "--trainer.gradient_clip_val 0.01"),
    ("perceptron_weight_decay", "--model.net.bias false"),
    ("perceptron_weight_decay", "--model.optimizer.maximize true"),
    ("l2_one_step", "--model.loss.reduction sum"),
    ("l2_one_step", "--trainer.max_steps 5"),
    ("l2_logistic", "--trainer.max_steps 1"),
    ("l2_logistic", "--trainer.max_steps 20 --model.optimizer.maximize true"),
    ("rings_printed_weights", "--model.optimizer.betas [0.5,0.9]"),
    ("rings", "--trainer.max_steps 5"),
    ("damped_sine_percentage", "--trainer.max_steps 5"),
    ("xor_ladder", "--trainer.max_steps 100 --model.net.activation torch.nn.Tanh"),
    ("xor", "--trainer.max_steps 100 --trainer.gradient_clip_val 0.001"),
]
"""Trainings that the claims of a config say nothing about, or not yet."""


@pytest.mark.parametrize(("name", "words"), OTHER_TRAININGS)
def test_claims_do_not_fail_where_they_were_not_made(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    judges = ("Recorder", "Verdicts", "Replay")
    callbacks = config["trainer"].pop("callbacks+")
    config["trainer"]["callbacks"] = [c for c in callbacks if c["class_path"].endswith(judges)]
    Path("judged.yaml").write_text(yaml.safe_dump(config))
    run = main(["fit", "--config", "judged.yaml", *words.split()])
    assert isinstance(run, Run)
    claims = run.summary["claims"]
    assert {claim["verdict"] for claim in claims} >= {"not applicable"}
    assert [claim for claim in claims if claim["verdict"] == "fails"] == []


def test_counts_are_written_down_for_every_config() -> None:
    assert list(COUNTS) == [path.stem for path in CONFIGS]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_its_header_says_question_and_command(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert any(
        line == f"# python -m toyml {command(path)} --config configs/{path.name}"
        for line in lines[:5]
    )
