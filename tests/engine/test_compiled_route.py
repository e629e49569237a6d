"""The compiled route in a fit: the same training to rounding, every step recorded."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import cloud, small_net, small_task, trainer
from toyml.compiled import NotCompilable, compile_training
from toyml.run import Run
from toyml.tasks import Supervised


def have_compiler() -> bool:
    net = nn.Linear(2, 1)
    try:
        compile_training(net, nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=0.1), 4)
    except NotCompilable:
        return False
    return True


needs_compiler = pytest.mark.skipif(not have_compiler(), reason="no C compiler on this machine")


@needs_compiler
@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("optimizer", [partial(torch.optim.SGD, lr=0.3, momentum=0.9), partial(torch.optim.Adam, lr=0.02)])
def test_compiled_agrees_with_eager(optimizer: Any, batch_size: int | None, tmp_path: Path) -> None:
    fits = []
    for i, compiled in enumerate((False, True)):
        task = small_task(optimizer, compiled=compiled)
        trainer(tmp_path, 330, precision="64-true", log_every_n_steps=7).fit(task, cloud(batch_size=batch_size))
        fits.append((task, Run(tmp_path / f"run/version_{i}")))
    (eager, a), (fast, b) = fits
    assert "compiled route" in fast.route
    assert eager.route == "eager blocks"
    assert a.trajectory.steps.tolist() == b.trajectory.steps.tolist() == list(range(331))
    assert np.allclose(a.trajectory.parameters.flat, b.trajectory.parameters.flat, rtol=1e-9, atol=1e-10)
    assert a.metrics["loss"]["step"] == b.metrics["loss"]["step"]
    assert np.allclose(a.metrics["loss"]["value"], b.metrics["loss"]["value"], rtol=1e-9)


@needs_compiler
def test_long_fits_are_compiled_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toyml.engine.training.COMPILE_FROM", 200)
    for steps, word in ((199, "eager"), (200, "compiled")):
        task = small_task()
        trainer(tmp_path, steps).fit(task, cloud())
        assert word in task.route


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"lr_scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=3)}, "lr_scheduler"),
        ({"optimizer": partial(torch.optim.RMSprop, lr=0.01)}, "RMSprop"),
    ],
)
def test_what_cannot_be_compiled_runs_eagerly_and_says_why(
    settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    task = small_task(compiled=True, **settings)
    fit = trainer(tmp_path, 20)
    fit.fit(task, cloud())
    assert fit.global_step == 20
    assert task.route.startswith("eager route: ")
    assert reason in task.route


def test_no_compiler_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    task = small_task(compiled=True)
    trainer(tmp_path, 20).fit(task, cloud())
    assert "eager route" in task.route
    assert "/nonexistent/cc" in task.route


@needs_compiler
def test_divergence_in_the_kernel_stops_at_its_step(tmp_path: Path) -> None:
    from toyml.errors import DivergedError

    steps = []
    for i, compiled in enumerate((False, True)):
        task = Supervised(small_net(), nn.MSELoss(), partial(torch.optim.SGD, lr=1e4), compiled=compiled)
        with pytest.raises(DivergedError) as caught:
            trainer(tmp_path, 500).fit(task, cloud())
        steps.append(caught.value.step)
        assert Run(tmp_path / f"run/version_{i}").trajectory.steps[-1] == caught.value.step
    assert steps[0] == steps[1]
