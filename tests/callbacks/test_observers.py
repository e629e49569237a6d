"""Whatever watches a fit, the fit is bit for bit the one nobody watched."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import nn

from tests.conftest import ROOT
from toyml import callbacks
from toyml.callbacks import Figure, Recorder
from toyml.claims import LossAt
from toyml.configured import instantiate
from toyml.data import InMemory, TwoPoints, Xor
from toyml.logger import RunLogger
from toyml.models import MLP, Linear
from toyml.plots import style
from toyml.tasks import Supervised

# Lightning remarks on the frozen module below.
pytestmark = pytest.mark.filterwarnings("ignore:Found 1 module.s. in eval mode")

STEPS = 120
CLAIM = LossAt(statement="the loss at the start", step=0, predicted=0.7, tolerance=1.0)
# What each shipped callback needs; those not named need nothing.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "TwoConventions": {"penalty": 0.1},
    "Report": {"question": "Does it disturb?"},
    "Replay": {"claims": [CLAIM], "steps": 5},
    "Verdicts": {"claims": [CLAIM]},
    "LossLandscapes": {"grid": 9, "steps": 20},
    "SweepOfDecay": {"count": 5},
}
"""A callback that is not in this table and cannot be made without arguments fails its test."""


def shipped() -> list[str]:
    """Every callback of toyml.callbacks that can be put into a config."""
    found = [(name, getattr(callbacks, name)) for name in callbacks.__all__]
    found = [(n, k) for n, k in found if isinstance(k, type) and issubclass(k, Callback)]
    # A sweep's report is none of a fit.
    found = [(n, k) for n, k in found if n != "SweepReport"]
    return [name for name, kind in found if not unfinished(kind)]


def unfinished(kind: type) -> bool:
    """Whether a class is there to be derived from (Callback's metaclass does not know)."""
    members = inspect.getmembers(kind)
    return any(getattr(member, "__isabstractmethod__", False) for _, member in members)


def test_every_callback_can_be_found() -> None:
    """One that its package does not name would be tested by nobody."""
    found = set()
    for module in pkgutil.iter_modules(callbacks.__path__, "toyml.callbacks."):
        members = vars(importlib.import_module(module.name)).values()
        kinds = [k for k in members if isinstance(k, type) and issubclass(k, Callback)]
        found |= {k.__name__ for k in kinds if k.__module__ == module.name and not unfinished(k)}
    assert len(found) > 30
    assert found - {"SweepReport", "BeforeBatch"} == set(shipped())  # a part of LastCheckpoint


FIGURES = [name for name in shipped() if issubclass(getattr(callbacks, name), Figure)]


def make(name: str) -> Callback:
    found = getattr(callbacks, name)(**ARGUMENTS.get(name, {}))
    assert isinstance(found, Callback)
    return found


# -- fits to watch ----------------------------------------------------------------------------


def perceptron() -> tuple[Supervised, InMemory]:
    net = Linear(2, 1, nn.Sigmoid())
    optimizer = partial(torch.optim.SGD, lr=1.0, momentum=0.5, weight_decay=0.01)
    return Supervised(net, nn.BCELoss(), optimizer), TwoPoints()


def noisy() -> tuple[Supervised, InMemory]:
    """A net whose training draws random numbers and keeps statistics."""
    net = nn.Sequential(
        nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 1)
    )
    data = Xor(batch_size=2)
    return Supervised(net, nn.BCEWithLogitsLoss(), partial(torch.optim.Adam, lr=0.01)), data


def hidden() -> tuple[Supervised, InMemory]:
    net = MLP([2, 3, 1], nn.Sigmoid(), nn.Sigmoid())
    return Supervised(net, nn.MSELoss(), partial(torch.optim.SGD, lr=0.3)), Xor()


FITS: dict[str, Callable[[], tuple[Supervised, InMemory]]] = {
    "perceptron": perceptron,
    "noisy": noisy,
    "hidden": hidden,
}
CONFIG = {
    "seed_everything": 0,
    "model": {
        "class_path": "toyml.tasks.Supervised",
        "init_args": {
            "net": {
                "class_path": "toyml.models.Linear",
                "init_args": {"inputs": 2, "output_activation": "torch.nn.Sigmoid"},
            },
            "loss": "torch.nn.BCELoss",
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1.0}},
        },
    },
    "data": "toyml.data.TwoPoints",
    "trainer": {"max_steps": STEPS, "precision": "64-true"},
}


def outcome(kind: str, folder: Path, *watching: Callback, **settings: Any) -> dict[str, Any]:
    """Everything that a fit leaves in memory, after callbacks have looked at it."""
    torch.manual_seed(3)
    task, data = FITS[kind]()
    task.net[-1].eval()  # frozen by its user; nobody may wake it up
    np.random.seed(4)  # noqa: NPY002
    random.seed(5)
    path = folder / "run/version_0"
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    fit = pl.Trainer(
        max_steps=STEPS,
        max_epochs=-1,
        accelerator="cpu",
        logger=RunLogger(str(folder), version=0),
        callbacks=list(watching),
        precision="64-true",
        num_sanity_val_steps=0,
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in watching),
        enable_progress_bar=any(isinstance(c, callbacks.Progress) for c in watching),
        enable_model_summary=False,
        log_every_n_steps=7,
        **settings,
    )
    fit.fit(task, data)
    return {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "python": random.getstate(),
        "weights and statistics": task.state_dict(),
        "optimizer": fit.optimizers[0].state_dict(),
        "training": {name: m.training for name, m in task.named_modules()},
        "gradients": {name: p.grad for name, p in task.named_parameters()},
        "needs gradient": {name: p.requires_grad for name, p in task.named_parameters()},
        "dtypes": {name: str(p.dtype) for name, p in task.named_parameters()},
        "attributes": {name: sorted(vars(m)) for name, m in task.net.named_modules()},
        "steps": fit.global_step,
        "modes": (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()),
    }


def same(a: Any, b: Any, where: str) -> None:
    """Bit for bit, naming the first place that differs."""
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            same(a[key], b[key], f"{where} / {key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (p, q) in enumerate(zip(a, b, strict=True)):
            same(p, q, f"{where} / {i}")
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b), where
    else:
        assert a == b, where


ALONE: dict[str, dict[str, Any]] = {}


@pytest.fixture
def unwatched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Each fit without any callback, once."""
    for kind in FITS.keys() - ALONE.keys():
        ALONE[kind] = outcome(kind, tmp_path_factory.mktemp(kind))
    return ALONE


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels: what is drawn is the same, and drawn five times as fast."""
    coarse = {kind: {**options, "dpi": 20} for kind, options in style.SAVE_OPTIONS.items()}
    monkeypatch.setattr("toyml.callbacks.figure.SAVE_OPTIONS", coarse)


# -- what must not matter ---------------------------------------------------------------------


def test_a_fit_is_repeated_bit_for_bit_and_a_difference_is_seen(
    unwatched: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    same(unwatched["noisy"], outcome("noisy", tmp_path / "a"), "noisy")

    class Careless(Callback):
        blockwise = True

        def on_train_epoch_end(self, *_: object) -> None:
            torch.rand(1)

    with pytest.raises(AssertionError, match="torch"):
        same(unwatched["noisy"], outcome("noisy", tmp_path / "b", Careless()), "noisy")


PAIRS = [
    pytest.param(name, kind) for name in sorted(set(shipped()) - set(FIGURES)) for kind in FITS
]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_alone(name: str, kind: str, unwatched: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    needs_a_run = not isinstance(watching := make(name), Recorder)
    recorder = [Recorder()] if needs_a_run else []
    same(unwatched[kind], outcome(kind, tmp_path, *recorder, watching), f"{kind}, {name}")


# Where each figure has something to draw; the others are looked at with the perceptron.
DRAWN_ON = {"HiddenLines": "hidden", "Activations": "hidden", "ScriptLoss": "hidden"}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_alone(name: str, unwatched: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    kind = DRAWN_ON.get(name, "perceptron")
    found = outcome(kind, tmp_path, Recorder(), make(name))
    same(unwatched[kind], found, f"{kind}, {name}")
    assert list((tmp_path / "run/version_0/figures").glob("*.json"))


@pytest.mark.parametrize("kind", ["noisy", "hidden"])
def test_all_together(kind: str, unwatched: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    slow_or_known = ("Ladder",) if kind == "hidden" else ("Ladder", "Replay")
    names = [name for name in shipped() if name not in slow_or_known]
    everything = [make(name) for name in names]
    same(unwatched[kind], outcome(kind, tmp_path, *everything), f"{kind}, all")
    drawn = {p.stem for p in (tmp_path / "run/version_0/figures").glob("*.png")}
    assert {"curves", "parameters"} <= drawn
    assert (tmp_path / "run/version_0/report.html").exists()


@pytest.mark.parametrize("kind", ["perceptron", "noisy", "hidden"])
def test_gradients_and_state_are_looked_at_without_a_trace(
    kind: str, unwatched: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    watching = Recorder(every=3, gradients=True, optimizer_state=True)
    same(unwatched[kind], outcome(kind, tmp_path, watching), kind)


def test_the_ordinary_loop_is_not_disturbed_either(tmp_path: Path) -> None:
    for kind in ("noisy", "perceptron"):
        alone = outcome(kind, tmp_path / kind / "alone", gradient_clip_val=1e9)
        watching = [make(name) for name in ("Recorder", "LastCheckpoint", "Progress", "Boundary")]
        watched = outcome(kind, tmp_path / kind / "watched", *watching, gradient_clip_val=1e9)
        same(alone, watched, kind)


def test_the_config_of_these_fits_is_one_that_can_be_built() -> None:
    built = instantiate(CONFIG, ("model", "data"), "here")
    assert isinstance(built["model"].net, Linear)
    assert (ROOT / "configs/perceptron.yaml").exists()
