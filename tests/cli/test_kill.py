"""A fit that is killed at any moment: nothing it recorded is lost, and no file is torn."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.cli.children import DRAWING, RECORDING, REPORTING, SAVING, Child
from toyml import Run
from toyml.cli import main
from toyml.errors import UserError

CONFIG = """\
model:
  class_path: toyml.tasks.Supervised
  init_args:
    net:
      class_path: toyml.models.MLP
      init_args: {widths: [2, 3, 1], activation: torch.nn.Tanh}
    loss: torch.nn.BCEWithLogitsLoss
    optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
    metrics: {accuracy: torchmetrics.classification.BinaryAccuracy}
data: {class_path: toyml.data.Moons, init_args: {n: 40, noise: 0.15, batch_size: 16}}
trainer:
  log_every_n_steps: 7
  callbacks:
    - {class_path: toyml.callbacks.LastCheckpoint, init_args: {every_seconds: 0.02}}
    - toyml.callbacks.Recorder
    - {class_path: toyml.callbacks.Curves, init_args: {name: curves}}
    - class_path: toyml.callbacks.Verdicts
      init_args:
        claims:
          - class_path: toyml.claims.LossAt
            init_args: {statement: it starts near ln 2, step: 0, predicted: 0.69, tolerance: 0.3}
    - {class_path: toyml.callbacks.Report, init_args: {question: "Does it survive?"}}
"""
BLOCKS = "--data.block_size 40 --trainer.max_steps 1200 --model.compiled false"
KERNEL = "--data.block_size 100 --trainer.max_steps 60000 --model.compiled true"
LOOP = "--data.block_size 40 --trainer.max_steps 250 --trainer.gradient_clip_val 1000"
ROUTES = [BLOCKS, KERNEL, LOOP]


class Whole(NamedTuple):
    """An uninterrupted fit: its folder, seconds spent drawing, events in the file system."""

    run: Run
    drawing: float
    events: int


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The uninterrupted fit of a route, made once."""

    @cache
    def fit(words: str) -> Whole:
        folder = tmp_path_factory.mktemp("whole")
        child = started(folder, words)
        child.wait_for(DRAWING)
        began = time.monotonic()
        child.wait_for(REPORTING)
        drawing = time.monotonic() - began
        assert child.end() == 0, child.errors
        run = Run.load(folder / "runs/moons/version_0")
        assert run.finished
        return Whole(run, drawing, child.notes.read()[2])

    return fit


def started(folder: Path, words: str, event: int = 0, held: int = -1) -> Child:
    (folder / "moons.yaml").write_text(CONFIG)
    return Child(folder, ["fit", "--config", "moons.yaml", *words.split()], event, held)


def rows(path: Path) -> list[str]:
    return path.read_text().splitlines()


def see_that_nothing_is_torn(folder: Path) -> None:
    """Every file that has its name can be read whole."""
    for path in folder.rglob("*"):
        if path.name.endswith(".part"):
            assert path.name.startswith("."), "a draft has a name that nothing reads"
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix in (".svg", ".html"):
            assert path.read_text().rstrip().endswith(f"</{path.suffix[1:]}>"), path
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".yaml":
            assert yaml.safe_load(path.read_text())["model"]
        elif path.suffix == ".ckpt":
            assert torch.load(path, weights_only=True)["global_step"] > 0


def see_what_is_left(
    folder: Path, whole: Whole, recorded: int, monkeypatch: pytest.MonkeyPatch
) -> str:
    """All that a killed fit has promised; returns how its folder reads."""
    run_folder = folder / "runs/moons/version_0"
    if not run_folder.exists():
        assert recorded == -1
        return "no folder"
    see_that_nothing_is_torn(run_folder)
    try:
        run = Run.load(run_folder)
        steps = run.trajectory.steps
    except UserError as error:
        assert recorded == -1
        return str(error)
    # Every snapshot is there of which the fit knew, and it is the right one.
    assert len(steps) > recorded
    assert np.array_equal(steps, np.arange(len(steps)))
    assert np.array_equal(
        run.trajectory.parameters.flat, whole.run.trajectory.parameters.flat[: len(steps)]
    )
    # The table's whole rows are the first of the uninterrupted fit's; a torn one is not read.
    table = run_folder / "metrics.csv"
    if table.exists() and len(read := rows(table)) > 1:
        known = rows(whole.run.folder / "metrics.csv")
        assert read[:-1] == known[: len(read) - 1]
        assert known[len(read) - 1].startswith(read[-1])
    # It does not pass for a finished one.
    trained = run.finished
    if trained:
        assert len(steps) == len(whole.run.trajectory)
    elif len(steps):
        assert run.status == f"unfinished at step {steps[-1]}"
        assert not (run_folder / "report.html").exists()
    if not len(steps) or not (run_folder / "config.yaml").exists():
        return run.status
    monkeypatch.chdir(folder)
    main(["report", str(run_folder.relative_to(folder))])
    see_that_nothing_is_torn(run_folder)
    page = re.sub(r"<[^>]+>", "", (run_folder / "report.html").read_text())
    said = f"stopped at step {steps[-1]:,}" in page
    assert said != trained
    return run.status


def see_that_it_goes_on(folder: Path, words: str, whole: Whole) -> None:
    """Where there is a checkpoint, continuing gives the bits of the uninterrupted fit."""
    if not (folder / "runs/moons/version_0/checkpoints/last.ckpt").exists():
        return
    if Run.load(folder / "runs/moons/version_0").finished:
        return
    child = started(folder, f"{words} --ckpt_path last")
    assert child.end() == 0, child.errors
    assert [p.name for p in (folder / "runs/moons").iterdir()] == ["version_0"]
    joined = Run.load(folder / "runs/moons/version_0")
    assert joined.finished
    assert np.array_equal(joined.trajectory.steps, whole.run.trajectory.steps)
    assert np.array_equal(joined.trajectory.parameters.flat, whole.run.trajectory.parameters.flat)
    assert joined.metrics == whole.run.metrics
    assert "stopped at step" not in (joined.folder / "report.html").read_text()


def killed(folder: Path, words: str, whole: Whole, draw: random.Random, when: str) -> int:
    """Start a fit, kill it; returns the last step it knew to be recorded."""
    last = int(whole.run.trajectory.steps[-1])
    if when == "file event":
        child = started(folder, words, event=draw.randint(1, whole.events))
    else:
        child = started(folder, words)
        if when == "recording":
            child.wait_for(RECORDING, step=draw.randint(0, last))
        elif when == "saving":
            child.wait_for(SAVING, step=draw.randint(0, last - 1))
            time.sleep(draw.uniform(0, 0.003))
        elif when == "drawing":
            child.wait_for(DRAWING)
            time.sleep(draw.uniform(0, whole.drawing))
        else:
            child.wait_for(REPORTING)
            time.sleep(draw.uniform(0, 0.01))
        child.signal(signal.SIGKILL)
    assert child.end() in (-signal.SIGKILL, 0), child.errors
    return child.notes.read()[1]


WHENS = ["recording", "saving", "file event", "drawing", "report"]


def try_one(
    seed: int, when: str, words: str, whole: Any, folder: Path, patch: pytest.MonkeyPatch
) -> None:
    reference = whole(words)
    recorded = killed(folder, words, reference, random.Random(seed), when)
    left = see_what_is_left(folder, reference, recorded, patch)
    print(f"{when}: {recorded} steps known; {left}")
    if seed % 2:
        see_that_it_goes_on(folder, words, reference)


@pytest.mark.parametrize(("seed", "when"), [(1, "recording"), (2, "file event")])
def test_a_kill_loses_nothing_and_tears_nothing(
    seed: int, when: str, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_one(seed, when, BLOCKS, whole, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_fifty_kills_lose_nothing_and_tear_nothing(
    seed: int, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    when, words = WHENS[seed % 5], ROUTES[seed // 5 % 3]
    try_one(1000 + seed, when, words, whole, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_kill_while_a_fit_is_continued_keeps_what_was_there(
    seed: int, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, reference = random.Random(seed), whole(BLOCKS)
    assert started(tmp_path, BLOCKS.replace("1200", "400")).end() == 0
    folder = tmp_path / "runs/moons/version_0"
    before = (folder / "trajectory/rows.bin").read_bytes()
    page = (folder / "report.html").read_bytes()
    child = started(
        tmp_path, f"{BLOCKS} --ckpt_path last", event=draw.randint(1, 40) if seed % 2 else 0
    )
    child.wait_for(RECORDING, step=draw.randint(400, 1200))
    child.signal(signal.SIGKILL)
    child.end()
    rows_after = (folder / "trajectory/rows.bin").read_bytes()
    assert rows_after.startswith(before)
    assert page in [p.read_bytes() for p in folder.glob("report*.html")]
    see_that_nothing_is_torn(folder)
    if len(Run.load(folder).trajectory) > 401:  # else it is the finished fit that it was
        see_what_is_left(tmp_path, reference, child.notes.read()[1], monkeypatch)
    see_that_it_goes_on(tmp_path, BLOCKS, reference)
    shutil.rmtree(tmp_path)
