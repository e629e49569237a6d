"""A fit stopped at every hook of every step, by either signal, goes on as if it had not been."""

from __future__ import annotations

import os
import random
import shlex
import signal
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.cli.test_resume import same, weights
from toyml import Run
from toyml.callbacks import checkpoint
from toyml.cli import console

CONFIG = """\
model:
  class_path: toyml.tasks.Supervised
  init_args:
    net: {class_path: toyml.models.MLP, init_args: {widths: [2, 3, 1], activation: torch.nn.Tanh}}
    loss: torch.nn.BCEWithLogitsLoss
    optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.05}}
    metrics: {accuracy: torchmetrics.classification.BinaryAccuracy}
data:
  class_path: toyml.data.Moons
  init_args: {n: 40, noise: 0.15, batch_size: 16, block_size: 5}
trainer:
  max_steps: 12
  log_every_n_steps: 3
  enable_progress_bar: false
  callbacks+:
    - toyml.callbacks.Recorder
    - tests.cli.test_moments.KillAt
"""
HELD = "--data.validation 20"
STEPLR = "--model.lr_scheduler torch.optim.lr_scheduler.StepLR --model.lr_scheduler.step_size 4"
PLATEAU = (
    "--model.lr_scheduler torch.optim.lr_scheduler.ReduceLROnPlateau "
    "--model.lr_scheduler.patience 1 --model.lr_scheduler.threshold 0.2"
)
EARLY = (
    "--trainer.callbacks+ lightning.pytorch.callbacks.EarlyStopping "
    "--trainer.callbacks.monitor val_loss --trainer.callbacks.patience 50"
)
EVERY = "--trainer.callbacks+ toyml.callbacks.Recorder --trainer.callbacks"
DROPOUT = "--model.net tests.cli.test_moments.Dropping"
OWN = "--data tests.cli.test_moments.Loader --data.shuffle"
ROUTES = {
    "a callback": "",
    "clipping": "--trainer.gradient_clip_val 0.5",
    "accumulation": "--trainer.accumulate_grad_batches 2",
    "accumulation by epochs": "--trainer.accumulate_grad_batches 2 --trainer.max_epochs 5",
    "accumulation by epoch": "--trainer.callbacks+ "
    "lightning.pytorch.callbacks.GradientAccumulationScheduler "
    "--trainer.callbacks.scheduling '{0: 1, 1: 2, 2: 3}'",
    "bf16": "--trainer.precision bf16-mixed",
    "validation, schedule": f"{HELD} {STEPLR}",
    "validation within, plateau": f"{HELD} {PLATEAU} --trainer.val_check_interval 2",
    "validation, accumulation": f"{HELD} {PLATEAU} {EARLY} --trainer.accumulate_grad_batches 3",
    "validation every 4 batches": f"{HELD} --trainer.val_check_interval 4 "
    "--trainer.check_val_every_n_epoch null --trainer.accumulate_grad_batches 2",
    "every third": f"{EVERY}.every 3",
    "per decade": f"{EVERY}.per_decade 5 --trainer.callbacks.gradients true {HELD}",
    "dropout": DROPOUT,
    "own loader": f"{OWN} false {HELD.replace('20', '8')}",
    "own loader, shuffled": f"{OWN} true {DROPOUT}",
    "own loader, accumulation": f"{OWN} true --trainer.accumulate_grad_batches 3 {PLATEAU}",
    "own generator": f"{OWN} true --data.seed 3 {STEPLR}",
    "own module": f"{OWN} true --model tests.cli.test_moments.Own",
    "limited": "--trainer.limit_train_batches 2 --trainer.max_epochs 7",
    "overfit": "--trainer.overfit_batches 2",
}
BLOCKS = {
    "blocks": f"{HELD} {STEPLR}",
    "blocks, plateau": f"{HELD} {PLATEAU} {EARLY} {EVERY}.every 3",
    "blocks by epochs": f"{HELD} {DROPOUT} --trainer.max_epochs 4 {EVERY}.per_decade 5",
    "compiled": "--model.compiled true --data.validation 20",
}
HOOKS = (
    "train_batch_start",
    "before_backward",
    "after_backward",
    "before_optimizer_step",
    "before_zero_grad",
    "train_batch_end",
    "train_epoch_start",
    "train_epoch_end",
    "save_checkpoint",
    "validation_start",
    "validation_batch_end",
    "validation_end",
    "train_end",
)


class Loader(pl.LightningDataModule):
    """A loader of one's own, in the order of the global generator or of one of its own."""

    def __init__(self, shuffle: bool, seed: int | None = None, validation: int = 0) -> None:
        super().__init__()
        self.shuffle, self.seed, self.validation = shuffle, seed, validation
        draw = torch.Generator().manual_seed(5)
        self.x = torch.randn(40, 2, generator=draw)
        self.y = (self.x[:, :1] * self.x[:, 1:] > 0).float()

    def train_dataloader(self) -> Any:
        own = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        rows = TensorDataset(self.x, self.y)
        return DataLoader(rows, batch_size=9, shuffle=self.shuffle, generator=own)


class Validated(Loader):
    """The same with held-out rows, which are shuffled too: they draw from the generator."""

    def val_dataloader(self) -> Any:
        rows = TensorDataset(self.x[: self.validation], self.y[: self.validation])
        return DataLoader(rows, batch_size=4)


class Own(pl.LightningModule):
    """A module of one's own: dropout, rows of its own, a plateau that looks at an epoch's end."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.2), nn.Linear(4, 1))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = nn.functional.binary_cross_entropy_with_logits(self.net(x), y)
        self.log("seen", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.1)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "seen"}}


class Dropping(nn.Sequential):
    """A net that draws random numbers at every step."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 4), nn.Dropout(0.3), nn.Linear(4, 1))


class Stop(NamedTuple):
    """A hook, the step at which it is called, a signal, and from which step a checkpoint is due."""

    hook: str
    step: int
    signal: int
    due: int = -1


class KillAt(pl.Callback):
    """Sends this process a signal."""

    plan: ClassVar[Stop | None] = None
    now: ClassVar[float] = 1.0

    def look(self, hook: str, step: int) -> None:
        plan = KillAt.plan
        if plan is None:
            with Path("seen.txt").open("a") as file:
                print(hook, step, file=file)
            return
        if hook in ("train_batch_start", "train_epoch_start") and 0 <= plan.due <= step:
            KillAt.now += 1e9
        if plan.hook == hook and plan.step == step:
            KillAt.plan = plan._replace(hook="")
            signal.raise_signal(plan.signal)


def hooked(hook: str) -> Any:
    return lambda self, trainer, *_: self.look(hook, trainer.global_step)


class KillInBlocks(KillAt):
    """The same where steps are run in blocks, and within them."""

    blockwise = True
    needs_gradients = False

    def wanted(self, first: int, last: int) -> Any:
        return np.arange(first, last + 1)

    def observe(self, step: int, task: Any) -> None:
        self.look("step", step)

    def observe_rows(self, steps: Any, rows: Any) -> None:
        for step in steps.tolist():
            self.look("step", step)


for _hook in HOOKS:
    setattr(KillAt, f"on_{_hook}", hooked(_hook))


def fit(plan: Stop | None, words: str) -> int:
    """A fit in a process of its own, forked from this one; how it ended, as a shell says it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        for number in (1, 2):
            os.dup2(os.open("out.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        KillAt.plan, KillAt.now = plan, 1.0
        checkpoint.time.monotonic = lambda: KillAt.now  # type: ignore[attr-defined]
        import sys

        sys.argv = ["toyml", "fit", "--config", "moons.yaml", *shlex.split(words)]
        os._exit(console())
    finally:
        os._exit(99)


def see_that_it_is_the_same(left: Path, whole: Path, case: object) -> None:
    a, b = (Run.load(folder, trust=True) for folder in (left, whole))
    assert a.finished, case
    assert a.trajectory.steps.tolist() == b.trajectory.steps.tolist(), case
    assert np.array_equal(a.trajectory.parameters.flat, b.trajectory.parameters.flat), case
    for name in b.trajectory.extras:
        first, second = a.trajectory.extra(name).flat, b.trajectory.extra(name).flat
        assert np.array_equal(first, second, equal_nan=True), case
    assert a.metrics == b.metrics, case
    assert same(weights(a), weights(b)), case
    for key in ("steps", "status", "start"):
        assert a.summary.get(key) == b.summary.get(key), (case, key)
    routes = [run.summary["route"].split("(")[0] for run in (a, b)]  # without seconds to compile
    assert routes[0] == routes[1], case


def config(words: str, blocks: bool) -> str:
    text = CONFIG.replace("KillAt", "KillInBlocks") if blocks else CONFIG
    Path("moons.yaml").write_text(text)
    if "Loader" in words and "validation" in words:
        words = words.replace("Loader", "Validated")
    if "max_epochs" in words:
        words += " --trainer.max_steps -1"
    return words


def chain(stops: list[Stop], words: str, whole: Path) -> int:
    """Stop a fit and continue it, as often as asked, and to its end; returns how often it went on.

    Where a stop leaves no checkpoint there is nothing to go on from: the fit starts anew.
    """
    here = Path("runs/joined")
    resumes = 0
    for stop in [*stops, None]:
        folders = sorted(here.glob("*"))
        again = any((f / "checkpoints/last.ckpt").exists() for f in folders)
        if not again:
            for folder in folders:  # what a fit without a checkpoint leaves is another run
                folder.rename(Path("runs") / f"left{len(list(Path('runs').iterdir()))}")
        resumes += again
        name = f"--trainer.logger.experiment joined {'--ckpt_path last' if again else ''}"
        code = fit(stop, f"{words} {name}")
        case = (*stops, stop, code, Path("out.txt").read_text()[-1500:])
        assert code in (0, 130, -signal.SIGKILL), case
        if code == 0 or (code == 130 and Run.load(here / "version_0").finished):
            break
    see_that_it_is_the_same(here / "version_0", whole, stops)
    here.rename(Path("runs") / f"done{len(list(Path('runs').iterdir()))}")
    return resumes


def moments() -> list[Stop]:
    """Every hook that the whole fit came to, by step: each signal, a checkpoint due or not."""
    lines = dict.fromkeys(Path("seen.txt").read_text().splitlines())
    return [
        Stop(hook, int(step), number, due)
        for hook, step in map(str.split, lines)
        for number in (signal.SIGINT, signal.SIGKILL)
        for due in (-1, max(0, int(step) - 1))
    ]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def whole_fit(words: str) -> Path:
    code = fit(None, f"{words} --trainer.logger.experiment whole")
    assert code == 0, Path("out.txt").read_text()
    return Path("runs/whole/version_0")


INT, KILL = signal.SIGINT, signal.SIGKILL
FEW = [
    ("clipping", [Stop("train_batch_start", 4, INT), Stop("train_batch_start", 8, KILL, 6)]),
    ("accumulation", [Stop("after_backward", 4, INT), Stop("train_batch_end", 8, KILL, 5)]),
    ("validation within, plateau", [Stop("validation_start", 4, KILL, 1)]),
    ("every third", [Stop("before_zero_grad", 4, INT), Stop("train_epoch_end", 10, KILL, 7)]),
    ("own module", [Stop("train_batch_end", 3, INT), Stop("train_batch_start", 8, KILL, 6)]),
]


@pytest.mark.parametrize(("name", "stops"), FEW, ids=[name for name, _ in FEW])
def test_a_chain_of_stops(name: str, stops: list[Stop]) -> None:
    words = config(ROUTES[name], blocks=False)
    assert chain(stops, words, whole_fit(words)) == len(stops), "each left a checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ROUTES, *BLOCKS])
def test_every_moment(name: str) -> None:
    blocks = name in BLOCKS
    words = config({**ROUTES, **BLOCKS}[name], blocks)
    whole = whole_fit(words)
    cases, draw, resumes, kills = moments(), random.Random(name), 0, 0
    wrong = []
    for first in draw.sample(cases, min(len(cases), int(os.environ.get("MOMENTS", "2")))):
        later = [case for case in cases if case.step >= first.step]
        stops = sorted([first, *draw.sample(later, 2)], key=lambda stop: stop.step)
        kills += len(stops)
        try:
            resumes += chain(stops, words, whole)
        except AssertionError as error:
            wrong.append(str(error)[:1500])
            for folder in Path("runs").glob("joined"):
                folder.rename(Path("runs") / f"wrong{len(list(Path('runs').iterdir()))}")
    print(f"{name}: {kills} stops, {resumes} resumes, {len(wrong)} differ")
    assert not wrong, "\n".join(wrong[:3])
