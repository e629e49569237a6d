"""Every shipped config runs, and leaves what a run has to leave."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from toyml import Run
from toyml.callbacks import Report
from toyml.cli import main
from toyml.errors import DivergedError
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
    keep_callbacks(name, "Recorder", "Verdicts", "Replay")
    run = main(["fit", "--config", "kept.yaml", *words.split()])
    assert isinstance(run, Run)
    claims = run.summary["claims"]
    assert {claim["verdict"] for claim in claims} >= {"not applicable"}
    assert [claim for claim in claims if claim["verdict"] == "fails"] == []


def keep_callbacks(name: str, *kinds: str) -> None:
    """Write a config with some of its callbacks only, as ``kept.yaml``."""
    config = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    callbacks = config["trainer"].pop("callbacks+")
    config["trainer"]["callbacks"] = [c for c in callbacks if c["class_path"].endswith(kinds)]
    Path("kept.yaml").write_text(yaml.safe_dump(config))


ANSWERS = [
    ("perceptron", "", 3, "at -42.51 degrees to the bisector", "differ"),
    ("perceptron", "--model.optimizer.lr 0.5", 1, "lr is 0.5 instead of 1.0", "-34.03"),
    ("perceptron", "--trainer.max_steps 5", 1, "needs step 101; the run has 5 steps", "-34.03"),
    ("l2_one_step", "", 4, "w goes to 4.1 and b to 1.9", "differ"),
    ("l2_one_step", "--model.optimizer.weight_decay 0", 2, "is 0.0 instead of 1.0", "4.1 and"),
    ("sgd", "", 4, "stable up to lr 1.854, 18.5 times as much", "differ"),
    ("sgd", "--model.optimizer.lr 3.0", 0, "this training diverged", "nowhere near"),
    ("rings", "--model.net.widths [2,1,1]", 0, "[2, 1, 1] instead of [2, 3, 1]", "0.526"),
    ("rings", "--model.net.activation torch.nn.ReLU --trainer.max_steps 9", 0, "ReLU", "0.526"),
]
"""Settings, how much of the answer is left, what the page says of it, and what it must not."""


@pytest.mark.parametrize(("name", "words", "count", "said", "unsaid"), ANSWERS)
def test_an_answer_is_about_the_run_that_it_stands_beside(
    name: str,
    words: str,
    count: int,
    said: str,
    unsaid: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    keep_callbacks(name, "Recorder", "Verdicts", "Replay")
    with suppress(DivergedError):
        main(["fit", "--config", "kept.yaml", *words.split()])
    settings = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    settings = settings["trainer"]["callbacks+"][-1]["init_args"]
    page = Report(**settings).page(Run("runs/kept/version_0"))
    prose = " ".join([*page.answer, page.aside])
    assert len(page.answer) == count, prose
    assert said in prose
    assert unsaid not in prose
    assert page.findings
    assert page.advice


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
