"""Settings and fixtures for all tests."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Lightning calls parser methods that jsonargparse has renamed; nobody here can change that.
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn

from toyml.callbacks import LastCheckpoint, Recorder
from toyml.data import InMemory
from toyml.data.memory import Arrays
from toyml.files import open_private
from toyml.logger import RunLogger
from toyml.models import MLP
from toyml.tasks import Supervised

ROOT = Path(__file__).parent.parent

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI tries the same examples every time; elsewhere hypothesis goes on looking for new ones.
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# Who starts the tests in the background of a script hands them a Ctrl-C that is ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def _one_thread_one_seed() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)  # a test's nets are the same whatever ran before it in this process
    dtype = torch.get_default_dtype()
    yield
    assert torch.get_default_dtype() == dtype


@pytest.fixture(autouse=True)
def _known_warnings() -> Iterator[None]:
    """What Lightning warns about in every fit (toyml.cli.trainer.NOISE names each reason)."""
    from toyml.cli.trainer import NOISE

    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message)
        yield


@pytest.fixture
def root() -> Path:
    """The project's folder."""
    return ROOT


@contextmanager
def kernels_of_their_own(patch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of kernels, below the home: where others may write, none is kept."""
    home = Path.home()
    try:
        os.close(open_private(home))
    except OSError as error:
        pytest.skip(f"the home is not private, so no kernel is kept: {error}")
    with tempfile.TemporaryDirectory(prefix=".toyml-tests-", dir=home) as folder:
        patch.setenv("XDG_CACHE_HOME", folder)
        yield Path(folder)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache home of one test."""
    with kernels_of_their_own(monkeypatch) as folder:
        yield folder


class Rows(InMemory):
    """Given rows."""

    def __init__(
        self, x: Any, y: Any, batch_size: int | None = None, shuffle: bool = True, **sizes: int
    ) -> None:
        settings = {"seed": 3, "block_size": 50, **sizes}
        super().__init__(batch_size, shuffle, **settings)
        self.rows = (np.asarray(x, float), np.asarray(y, float))

    def sample(self, held_out: bool) -> Arrays:
        """The rows, or the first of them as held-out ones."""
        x, y = self.rows
        return (x[: self.validation], y[: self.validation]) if held_out else (x, y)


def xor(**settings: Any) -> Rows:
    """The four rows of XOR."""
    return Rows([[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]], **settings)


def cloud(n: int = 37, **settings: Any) -> Rows:
    """A cloud of labelled points."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n, 2))
    return Rows(x, (x[:, :1] * x[:, 1:] > 0), **settings)


def small_net(seed: int = 0) -> MLP:
    """A 2-3-1 net on logits."""
    torch.manual_seed(seed)
    return MLP([2, 3, 1], nn.Tanh())


def small_task(optimizer: Callable[..., Any] | None = None, **settings: Any) -> Supervised:
    """The net with BCE on logits and SGD."""
    optimizer = optimizer or partial(torch.optim.SGD, lr=0.5)
    return Supervised(small_net(), nn.BCEWithLogitsLoss(), optimizer, **settings)


def trainer(folder: Path, steps: int, *callbacks: pl.Callback, **settings: Any) -> pl.Trainer:
    """A quiet trainer on the CPU that records into ``folder``."""
    settings = {
        "max_steps": steps,
        "max_epochs": -1,
        "logger": RunLogger(str(folder)),
        "callbacks": [Recorder(), LastCheckpoint(), *callbacks],
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "num_sanity_val_steps": 0,
        **settings,
    }
    return pl.Trainer(**settings)


def plain_loop(
    net: nn.Module,
    loss: nn.Module,
    optimizer: Callable[..., torch.optim.Optimizer],
    batches: Callable[[int], tuple[torch.Tensor, torch.Tensor]],
    steps: int,
    scheduler: Callable[..., Any] | None = None,
) -> list[float]:
    """The loop a user writes; returns the losses before each update."""
    update = optimizer(net.parameters())
    schedule = scheduler(update) if scheduler else None
    losses = []
    for step in range(steps):
        x, y = batches(step)
        update.zero_grad()
        value = loss(net(x), y)
        value.backward()
        update.step()
        if schedule is not None:
            schedule.step()
        losses.append(value.item())
    return losses


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether two nets have the same parameters, bit for bit."""
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
