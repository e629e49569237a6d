"""A fit interrupted at any step and continued in its folder is the fit that was not interrupted."""

from __future__ import annotations

import random
import shlex
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from toyml import Run
from toyml.callbacks import LastCheckpoint, Recorder
from toyml.cli import InterruptedFitError, main
from toyml.errors import UserError
from toyml.trajectory import TrajectoryWriter

STEPS = 160
BARE = """\
trainer:
  max_steps: 160
  log_every_n_steps: 7
  callbacks:
    - toyml.callbacks.LastCheckpoint
    - toyml.callbacks.Recorder
"""
MOONS = "--data toyml.data.Moons --data.n 40 --data.batch_size 16 --data.block_size 33"
SETTINGS = {
    "momentum": "--model.optimizer.momentum 0.9 --data.block_size 50",
    "Nesterov, float32": "--trainer.precision 32-true --model.optimizer.momentum 0.9 "
    "--model.optimizer.nesterov true",
    "Adam": "--model.optimizer torch.optim.Adam --model.optimizer.lr 0.1 --data.block_size 50",
    "shuffled mini-batches": f"{MOONS} --model.optimizer.momentum 0.9",
    "shuffled, Adam, float32": f"{MOONS} --trainer.precision 32-true "
    "--model.optimizer torch.optim.Adam --model.optimizer.lr 0.1",
    "cosine schedule": "--model.lr_scheduler torch.optim.lr_scheduler.CosineAnnealingLR "
    "--model.lr_scheduler.T_max 150 --data.block_size 50",
    "plateau schedule": f"{MOONS} --model.lr_scheduler torch.optim.lr_scheduler.ReduceLROnPlateau "
    "--model.lr_scheduler.patience 9",
    "validation": f"{MOONS} --data.validation 20",
    "compiled": f"{MOONS} --model.compiled true --model.optimizer.momentum 0.9",
    "ordinary loop": f"{MOONS} --trainer.gradient_clip_val 0.5 --model.optimizer.momentum 0.9",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["toyml"])


def fit(name: str, settings: str) -> Run:
    Path("bare.part").write_text(BARE)
    config = f"--config {ROOT}/configs/perceptron.yaml --config bare.part"
    words = f"fit {config} --trainer.logger.experiment {name} {settings}"
    run = main(shlex.split(words))
    assert isinstance(run, Run)
    return run


class Interrupted:
    """Ctrl-C in the moment after a step was recorded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.at = -1
        append, append_rows = TrajectoryWriter.append, TrajectoryWriter.append_rows

        def one(writer: TrajectoryWriter, step: int, **fields: Any) -> None:
            append(writer, step, **fields)
            self.look(writer.last_step)

        def several(writer: TrajectoryWriter, steps: Any, rows: Any) -> None:
            append_rows(writer, steps, rows)
            self.look(writer.last_step)

        patch.setattr(TrajectoryWriter, "append", one)
        patch.setattr(TrajectoryWriter, "append_rows", several)

    def look(self, step: int) -> None:
        if 0 <= self.at <= step:
            self.at = -1
            signal.raise_signal(signal.SIGINT)


def weights(run: Run) -> dict[str, Any]:
    saved = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)
    return {**saved["state_dict"], "optimizer": saved["optimizer_states"]}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


QUICK = ("momentum", "shuffled, Adam, float32", "plateau schedule", "ordinary loop")


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(name, seed, marks=() if name in QUICK and seed == 0 else pytest.mark.slow)
        for name in SETTINGS
        for seed in (0, 1)
    ],
)
def test_interrupted_at_a_random_step_and_continued(
    name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS[name]
    whole = fit("whole", settings)
    draw, ctrl_c = random.Random(f"{name} {seed}"), Interrupted(monkeypatch)
    first, second = sorted(draw.sample(range(1, STEPS - 33), 2))
    for at, again in ((first, ""), (second, " --ckpt_path last")):
        ctrl_c.at = at
        with pytest.raises(InterruptedFitError, match=r"interrupted at step (\d+)"):
            fit("joined", settings + again)
        run = Run.load("runs/joined/version_0")
        reached = int(run.trajectory.steps[-1])
        assert run.status == f"unfinished at step {reached}"
        assert reached == at or name == "compiled", "it stops after the step, or after the call"
    joined = fit("joined", settings + " --ckpt_path last")
    assert [p.name for p in joined.folder.parent.iterdir()] == ["version_0"]
    assert joined.finished
    assert np.array_equal(joined.trajectory.steps, np.arange(STEPS + 1))
    assert np.array_equal(joined.trajectory.parameters.flat, whole.trajectory.parameters.flat)
    assert joined.metrics == whole.metrics
    assert same(weights(joined), weights(whole))
    assert not list(joined.folder.glob("trajectory/rows.after*")), "nothing was done twice"


OFTEN = "{class_path: toyml.callbacks.LastCheckpoint, init_args: {every_seconds: 1.0e-9}}"


class Killed(BaseException):
    """What stands for SIGKILL: nothing is saved or marked on the way out."""


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS["momentum"],
        SETTINGS["shuffled mini-batches"],
        SETTINGS["validation"],
        SETTINGS["ordinary loop"],
        f"{SETTINGS['validation']} --trainer.max_steps -1 --trainer.max_epochs 7",
        f"{SETTINGS['ordinary loop']} --trainer.max_steps -1 --trainer.max_epochs 7",
    ],
)
def test_a_fit_killed_after_its_last_step_is_completed(
    settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings += " --config often.part"
    Path("often.part").write_text(BARE.replace("toyml.callbacks.LastCheckpoint", OFTEN))
    whole = fit("whole", settings)
    with monkeypatch.context() as killing:

        def kill(*_: Any) -> None:
            raise Killed

        killing.setattr(Recorder, "on_train_end", kill)
        killing.setattr(Recorder, "on_exception", lambda recorder, *_: recorder._close())
        killing.setattr(LastCheckpoint, "on_exception", lambda *_: None)
        with pytest.raises(Killed):
            fit("joined", settings)
    left = Run.load("runs/joined/version_0")
    last = int(whole.trajectory.steps[-1])
    assert left.status == f"unfinished at step {last}"
    joined = fit("joined", settings + " --ckpt_path last")
    assert [p.name for p in joined.folder.parent.iterdir()] == ["version_0"]
    assert joined.finished
    assert np.array_equal(joined.trajectory.parameters.flat, whole.trajectory.parameters.flat)
    assert joined.metrics == whole.metrics
    assert same(weights(joined), weights(whole))
    with pytest.raises(UserError, match="the fit had no step to do"):
        fit("joined", settings + " --ckpt_path last")


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS["momentum"],
        SETTINGS["compiled"],
        SETTINGS["ordinary loop"],
        f"{SETTINGS['validation']} --trainer.max_steps -1 --trainer.max_epochs 7",
        f"{SETTINGS['compiled']} --trainer.max_steps -1 --trainer.max_epochs 7",
    ],
)
def test_a_signal_after_the_last_step_leaves_a_finished_fit(
    settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctrl_c = Interrupted(monkeypatch)
    ctrl_c.at = 21 if "max_epochs" in settings else STEPS
    with suppress(InterruptedFitError):
        fit("joined", settings)
    assert ctrl_c.at == -1, "the signal came"
    run = Run.load("runs/joined/version_0")
    assert run.finished
    assert run.trajectory.steps[-1] == (21 if "max_epochs" in settings else STEPS)


def test_a_signal_within_the_last_pass_leaves_an_unfinished_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = f"{SETTINGS['validation']} --trainer.max_steps -1 --trainer.max_epochs 7"
    whole = fit("whole", settings)
    Interrupted(monkeypatch).at = 20
    with pytest.raises(InterruptedFitError, match="interrupted at step 20"):
        fit("joined", settings)
    assert Run.load("runs/joined/version_0").status == "unfinished at step 20"
    joined = fit("joined", settings + " --ckpt_path last")
    assert joined.finished
    assert np.array_equal(joined.trajectory.parameters.flat, whole.trajectory.parameters.flat)
