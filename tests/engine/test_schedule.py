"""A schedule lasts as long as its fit, and what a continued fit asks for is what acts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as torchs

from tests.conftest import cloud, small_task, trainer
from toyml import Run
from toyml.claims.curvature import limits
from toyml.errors import UserError
from toyml.tasks import Supervised

FIRST, LAST, LR = 20, 40, 0.5
EXPONENTIAL = partial(torchs.ExponentialLR, gamma=0.9)
ONE_CYCLE = partial(torchs.OneCycleLR, max_lr=0.4, total_steps=60)
REACHED = LR * 0.9**FIRST

Rate = Callable[[int], float]


def task(scheduler: Any = None, **settings: float) -> Supervised:
    settings = {"lr": LR, **settings}
    return small_task(partial(torch.optim.SGD, **settings), lr_scheduler=scheduler)  # type: ignore[arg-type]


def checkpoint(folder: Path, scheduler: Any, **settings: float) -> Path:
    trainer(folder, FIRST).fit(task(scheduler, **settings), cloud())
    return folder / "run/version_0/checkpoints/last.ckpt"


def continued(tmp_path: Path, before: Any, after: Any, **settings: float) -> Run:
    """A fit of 20 steps on one schedule, and what goes on from it on another, up to step 40."""
    path = checkpoint(tmp_path / "a", before, **settings)
    last = task(after, **settings)
    data = cloud()
    trainer(tmp_path / "b", LAST).fit(last, data, ckpt_path=path, weights_only=True)
    return Run(tmp_path / "b/run/version_0", last, data)


def rates(run: Run) -> list[float]:
    """The learning rate of every update of plain SGD: length of the step over the gradient's."""
    x, y = (a.float() for a in run.data)
    found = []
    for i in range(len(run.trajectory.steps) - 1):
        run.net.load_state_dict(run.trajectory.at(int(run.trajectory.steps[i])))
        run.net.zero_grad()
        run.loss(run.net(x), y).backward()
        gradient = torch.cat([p.grad.reshape(-1) for p in run.net.parameters()])  # type: ignore[union-attr]
        step = np.diff(run.trajectory.parameters.flat[i : i + 2].astype(float), axis=0)[0]
        found.append(float(np.linalg.norm(step)) / float(gradient.norm()))
    return found


def slowly(step: int) -> float:
    return 0.99**step


def hyperbola(step: int) -> float:
    return 1 / (1 + step)


def cosine(step: int) -> float:
    return 1 + math.cos(math.pi * step / 30)


CHANGED: dict[str, tuple[Any, Any, Rate]] = {
    "another gamma": (
        EXPONENTIAL,
        partial(torchs.ExponentialLR, gamma=0.8),
        lambda step: REACHED * 0.8 ** (step - FIRST),
    ),
    "steps": (
        EXPONENTIAL,
        partial(torchs.StepLR, step_size=8, gamma=0.1),
        lambda step: REACHED * 0.1 ** (step // 8 - FIRST // 8),
    ),
    "milestones": (
        partial(torchs.MultiStepLR, milestones=[10, 30], gamma=0.5),
        partial(torchs.MultiStepLR, milestones=[10, 25], gamma=0.2),
        lambda step: LR * 0.5 * (0.2 if step >= 25 else 1),
    ),
    "a function of the step": (
        EXPONENTIAL,
        partial(torchs.LambdaLR, lr_lambda=hyperbola),
        lambda step: LR / (1 + step),
    ),
    "another function of the step": (
        partial(torchs.LambdaLR, lr_lambda=slowly),
        partial(torchs.LambdaLR, lr_lambda=hyperbola),
        lambda step: LR / (1 + step),
    ),
    "a cosine that falls": (
        EXPONENTIAL,
        partial(torchs.CosineAnnealingLR, T_max=30),
        lambda step: REACHED * cosine(step) / cosine(FIRST) if step < 30 else math.nan,
    ),
    "none any more": (EXPONENTIAL, None, lambda step: LR),
    "one where none was": (None, EXPONENTIAL, lambda step: LR * 0.9 ** (step - FIRST)),
    "on a plateau": (
        EXPONENTIAL,
        partial(torchs.ReduceLROnPlateau, patience=100),
        lambda step: REACHED,
    ),
    "the same": (EXPONENTIAL, EXPONENTIAL, lambda step: LR * 0.9**step),
}


@pytest.mark.parametrize(("before", "after", "rate"), CHANGED.values(), ids=CHANGED)
def test_the_schedule_asked_for_acts_from_the_step_that_was_reached(
    before: Any, after: Any, rate: Rate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = continued(tmp_path, before, after)
    expected = np.array([rate(step) for step in range(FIRST, LAST)])
    known = np.isfinite(expected)
    assert np.array(rates(run))[known] == pytest.approx(expected[known], rel=1e-3)
    assert ("lr_scheduler was" in capsys.readouterr().out) == (before is not after)
    if after is not None and after.func is torchs.ReduceLROnPlateau:
        return
    steps = run.trajectory.steps[:-1]
    assert limits(run, steps).values[known] == pytest.approx(2 / expected[known], rel=1e-12)


def test_a_changed_schedule_is_known_when_a_fit_goes_on_once_more(tmp_path: Path) -> None:
    halved = partial(torchs.ExponentialLR, gamma=0.5)
    continued(tmp_path, EXPONENTIAL, halved)
    path = tmp_path / "b/run/version_0/checkpoints/last.ckpt"
    last, data = task(halved, weight_decay=1e-3), cloud()
    trainer(tmp_path / "c", 50).fit(last, data, ckpt_path=path, weights_only=True)
    run = Run(tmp_path / "c/run/version_0", last, data)
    expected = 2 / (REACHED * 0.5 ** np.arange(LAST - FIRST, 50 - FIRST))
    assert limits(run, run.trajectory.steps[:-1]).values == pytest.approx(expected, rel=1e-12)


def test_after_one_cycle_the_momentum_is_that_of_the_settings(tmp_path: Path) -> None:
    after = partial(torchs.StepLR, step_size=100)
    run = continued(tmp_path, ONE_CYCLE, after, momentum=0.9)
    optimizer = torch.optim.SGD([torch.zeros(1)], LR, momentum=0.9)
    schedule = ONE_CYCLE(optimizer)
    for _ in range(FIRST):
        optimizer.step()
        schedule.step()
    saved = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)
    (group,) = saved["optimizer_states"][0]["param_groups"]
    assert (group["lr"], group["momentum"]) == (optimizer.param_groups[0]["lr"], 0.9)
    assert optimizer.param_groups[0]["momentum"] != 0.9


@pytest.mark.parametrize(
    ("before", "after", "settings", "message"),
    [
        (
            EXPONENTIAL,
            partial(torchs.LinearLR, total_iters=30),
            {},
            r"lr_scheduler was ExponentialLR\(gamma=0.9\), is LinearLR\(.*; LinearLR cannot begin",
        ),
        (EXPONENTIAL, ONE_CYCLE, {}, "OneCycleLR cannot begin in the middle, at step 20"),
        (EXPONENTIAL, partial(torchs.CosineAnnealingLR, T_max=15), {}, "cannot begin in the"),
        (
            ONE_CYCLE,
            partial(torchs.OneCycleLR, max_lr=0.2, total_steps=60),
            {},
            "OneCycleLR cannot begin",
        ),
        (EXPONENTIAL, EXPONENTIAL, {"lr": 0.1}, "optimizer.lr changed from 0.5 to 0.1 on resume"),
        (ONE_CYCLE, ONE_CYCLE, {"momentum": 0.5}, "optimizer.momentum changed from 0.9 to 0.5"),
    ],
)
def test_a_schedule_that_cannot_begin_there_is_refused_before_anything_is_written(
    before: Any, after: Any, settings: dict[str, float], message: str, tmp_path: Path
) -> None:
    path = checkpoint(tmp_path / "a", before, momentum=0.9)
    fit = trainer(tmp_path / "b", LAST)
    with pytest.raises(UserError, match=message):
        fit.fit(
            task(after, **{"momentum": 0.9, **settings}),
            cloud(),
            ckpt_path=path,
            weights_only=True,
        )
    assert not (tmp_path / "b").exists()


def test_a_momentum_that_no_schedule_moves_is_that_of_the_settings(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a", EXPONENTIAL, momentum=0.9)
    last = task(EXPONENTIAL, momentum=0.5)
    trainer(tmp_path / "b", LAST).fit(last, cloud(), ckpt_path=path, weights_only=True)
    (group,) = last.trainer.optimizers[0].param_groups
    assert (group["momentum"], group["lr"]) == (0.5, pytest.approx(LR * 0.9**LAST))


# -- whether it lasts ------------------------------------------------------------------------


def table(step: int) -> float:
    return [1.0, 0.5, 0.25][step]


class Ended(torchs.ExponentialLR):
    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch >= 11:
            raise RuntimeError("no more")
        super().step(epoch)


@pytest.mark.parametrize(
    ("scheduler", "settings", "message"),
    [
        (ONE_CYCLE, {"max_steps": 70}, "OneCycleLR cannot take step 61 of 70"),
        (ONE_CYCLE, {"max_steps": 70, "gradient_clip_val": 1.0}, "step 61 of 70"),
        (ONE_CYCLE, {"max_steps": -1, "max_epochs": 16}, "step 61 of 64"),
        (ONE_CYCLE, {"max_steps": 62, "max_epochs": 99}, "step 61 of 62"),
        (ONE_CYCLE, {"max_steps": -1, "max_epochs": 16, "gradient_clip_val": 1.0}, "61 of 64"),
        (partial(torchs.OneCycleLR, max_lr=1, total_steps=50_000), {"max_steps": 60_000}, "60000"),
        (
            partial(torchs.LambdaLR, lr_lambda=table),
            {"max_steps": 9},
            "LambdaLR cannot take step 3",
        ),
        (partial(Ended, gamma=0.9), {"max_steps": 13}, r"step 12 of 13 \(no more\)"),
        (
            partial(torchs.LambdaLR, lr_lambda=lambda step: math.nan if step > 5 else 1),
            {"max_steps": 9},
            "LambdaLR gives lr nan at step 6",
        ),
        (partial(torchs.OneCycleLR, max_lr=1), {"max_steps": 9}, "cannot be set up for SGD"),
        (
            partial(torchs.CyclicLR, base_lr=0.1, max_lr=1, step_size_up=0),
            {"max_steps": 9},
            "cannot be set up for SGD",
        ),
    ],
)
def test_a_schedule_shorter_than_its_fit_is_refused_before_anything_is_written(
    scheduler: Any, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    fit = trainer(tmp_path, settings.pop("max_steps"), **settings)
    with pytest.raises(UserError, match=message):
        fit.fit(task(scheduler, momentum=0.9), cloud(batch_size=10))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("steps", [60, 59])
def test_a_schedule_as_long_as_its_fit_is_none_too_short(steps: int, tmp_path: Path) -> None:
    trainer(tmp_path, steps).fit(task(ONE_CYCLE, momentum=0.9), cloud())
