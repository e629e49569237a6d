"""Ctrl-C and SIGTERM: the step is completed, what there is is drawn, the status is 130."""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.children import DRAWING, RECORDING, Child, around
from tests.cli.test_kill import CONFIG, see_that_nothing_is_torn, started
from toyml import Run
from toyml.cli import console
from toyml.engine import AtOnceError, hold_back
from toyml.trajectory import TrajectoryWriter

LONG = "--data.block_size 100 --trainer.max_steps 90000 --model.compiled false"
KERNEL = "--data.block_size 100 --trainer.max_steps 9000000 --model.compiled true"
LOOP = "--trainer.max_steps 90000 --trainer.gradient_clip_val 1000"


def see_that_it_ended_well(child: Child, folder: Path) -> Run:
    assert child.end() == 130
    assert "Traceback" not in child.errors
    run = Run.load(folder / "runs/moons/version_0")
    steps = run.trajectory.steps
    assert np.array_equal(steps, np.arange(len(steps)))
    see_that_nothing_is_torn(run.folder)
    saved = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == steps[-1]
    weight = saved["state_dict"]["net.hidden1.weight"].numpy()
    assert np.array_equal(weight, run.trajectory.parameters["hidden1.weight"][-1])
    return run


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (LONG, signal.SIGINT),
        pytest.param(LONG, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(KERNEL, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(KERNEL, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(LOOP, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(LOOP, signal.SIGTERM, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_while_recording(words: str, kind: signal.Signals, tmp_path: Path) -> None:
    child = started(tmp_path, words)
    child.wait_for(RECORDING, step=30)
    child.signal(kind)
    run = see_that_it_ended_well(child, tmp_path)
    step = run.trajectory.steps[-1]
    assert run.status == f"unfinished at step {step}"
    assert f"interrupted at step {step}; --ckpt_path last goes on" in child.errors
    page = re.sub(r"<[^>]+>", "", (run.folder / "report.html").read_text())
    assert f"stopped at step {step:,}" in page


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_while_drawing(kind: signal.Signals, tmp_path: Path) -> None:
    child = started(tmp_path, LONG.replace("90000", "200"), held=DRAWING)
    child.wait_for(DRAWING)
    child.signal(kind)
    run = see_that_it_ended_well(child, tmp_path)
    assert run.finished
    assert not (run.folder / "report.html").exists()
    assert "interrupted while drawing; the fit is finished, and toyml report" in child.errors


@pytest.mark.slow
def test_a_second_one_leaves_the_drawing(tmp_path: Path) -> None:
    child = started(tmp_path, LONG, held=DRAWING)
    child.wait_for(RECORDING, step=100)
    child.signal(signal.SIGINT)
    child.wait_for(DRAWING)
    child.signal(signal.SIGINT)
    run = see_that_it_ended_well(child, tmp_path)
    assert not run.finished
    assert not (run.folder / "report.html").exists()
    assert f"toyml report {run.folder.relative_to(tmp_path)} draws what there is" in child.errors


def test_a_second_one_before_the_drawing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = 0

    def in_a_hurry(self: object, *args: object) -> None:
        nonlocal asked
        if args[0] == 30 or asked:
            asked += 1
            signal.raise_signal(signal.SIGINT)

    around(TrajectoryWriter, "append", lambda: None, in_a_hurry, monkeypatch)
    around(Run, "__init__", lambda: None, in_a_hurry, monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("moons.yaml").write_text(CONFIG)
    monkeypatch.setattr("sys.argv", ["toyml", "fit", "--config=moons.yaml", *LONG.split()])
    before = signal.getsignal(signal.SIGINT)
    try:
        assert console() == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked == 2
    said = capsys.readouterr().err
    assert "toyml report runs/moons/version_0 draws what there is" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("error", [KeyboardInterrupt, AtOnceError])
def test_one_that_nobody_answers_is_no_trace_back(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise error

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("toyml.cli.main", interrupted)
    try:
        assert console() == 130
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3])
def test_during_start_up(delay: float, tmp_path: Path) -> None:
    child = started(tmp_path, LONG)
    while not (tmp_path / "err.txt").exists():  # it has a process group of its own
        time.sleep(0.001)
    time.sleep(delay)
    child.signal(signal.SIGINT)
    assert child.end() == 130
    assert "Traceback" not in child.errors
    assert "toyml: error" not in child.errors
    folder = tmp_path / "runs/moons/version_0"
    assert not folder.exists() or (folder / "trajectory").is_dir()


def test_a_signal_waits_until_it_is_asked_for() -> None:
    before = signal.getsignal(signal.SIGINT)
    with hold_back(signal.SIGINT) as held:
        signal.raise_signal(signal.SIGINT)
        assert held.asked
        with hold_back(signal.SIGINT) as inner:
            assert inner is held
        with pytest.raises(AtOnceError):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            held.release()
        with pytest.raises(KeyboardInterrupt) as plain:
            signal.raise_signal(signal.SIGINT)
        assert not isinstance(plain.value, AtOnceError)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_a_destructor_swallows_comes_again() -> None:
    class Hurried:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = sys.unraisablehook
    with hold_back(signal.SIGINT):
        signal.raise_signal(signal.SIGINT)
        Hurried()
        with pytest.raises(AtOnceError):
            time.sleep(5)
    assert sys.unraisablehook is before


def test_another_error_that_cannot_leave_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: said.append(unraisable.exc_value))
    with hold_back(signal.SIGINT):
        Broken()
    assert isinstance(said[0], ValueError)


def test_who_ignores_a_signal_is_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with hold_back(signal.SIGTERM) as held:
            signal.raise_signal(signal.SIGTERM)
            assert not held.asked
    finally:
        signal.signal(signal.SIGTERM, before)
