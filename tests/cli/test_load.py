"""Long fits and large nets: memory stays flat, pictures are thinned, and the page says so."""

from __future__ import annotations

import re
import tracemalloc
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from tests.conftest import cloud, small_task, trainer
from toyml.callbacks import Activations, Curvature, Recorder, Report
from toyml.engine import training
from toyml.models import MLP
from toyml.run import Run
from toyml.tasks import Supervised

STATUS = Path("/proc/self/status")
needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="memory is read from Linux's /proc")


def memory() -> float:
    """Megabytes that belong to this process alone."""
    lines = STATUS.read_text().splitlines()
    return sum(float(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


class Sampling(pl.Callback):
    """Memory at the end of every block."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_end(self, *_: object) -> None:
        self.seen.append(memory())


def large(compiled: bool) -> Supervised:
    """A net of 25,921 parameters: a hundred kilobytes a snapshot."""
    net = MLP([2, 160, 158, 1], nn.Tanh())
    sgd = partial(torch.optim.SGD, lr=0.01)
    return Supervised(net, nn.BCEWithLogitsLoss(), sgd, compiled=compiled)


@needs_proc
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "C"])
def test_memory_does_not_grow_with_the_record(compiled: bool, tmp_path: Path) -> None:
    sampling = Sampling()
    fit = trainer(tmp_path, 1500, callbacks=[Recorder(), sampling])
    fit.fit(large(compiled), cloud(block_size=150))
    rows = tmp_path / "run/version_0/trajectory/rows.bin"
    assert rows.stat().st_size > 150e6
    assert len(sampling.seen) == 10
    assert max(sampling.seen) - sampling.seen[1] < 30, sampling.seen


def test_a_call_of_the_kernel_keeps_a_bounded_number_of_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    monkeypatch.setattr(training, "KEPT", 13 * 40)
    observe_rows = Recorder.observe_rows

    def noted(self: Recorder, steps: object, rows: torch.Tensor) -> None:
        kept.append(len(rows))
        observe_rows(self, steps, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Recorder, "observe_rows", noted)
    trainer(tmp_path / "a", 200).fit(small_task(compiled=True), cloud(block_size=150))
    assert max(kept) == 40
    assert sum(kept) == 200
    monkeypatch.undo()
    trainer(tmp_path / "b", 200).fit(small_task(compiled=True), cloud(block_size=150))
    a, b = ((tmp_path / x / "run/version_0/trajectory/rows.bin").read_bytes() for x in "ab")
    assert a == b, "how the steps are divided changes no bit"


def test_of_many_hidden_units_only_the_combinations_drawn_are_made(tmp_path: Path) -> None:
    net = MLP([2, 300, 1], nn.Tanh())
    task = Supervised(net, nn.BCEWithLogitsLoss(), partial(torch.optim.SGD, lr=0.01))
    data = cloud()
    trainer(tmp_path, 2).fit(task, datamodule=data)
    run = Run(tmp_path / "run/version_0", task, data)
    tracemalloc.start()
    try:
        drawing = Activations(most=1).draw(run)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "1 of 4,455,100 combinations" in drawing.caption
    assert most < 50e6


def test_the_page_says_that_it_is_thinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("toyml.trajectory.AT_ONCE", 13 * 100)
    callbacks = [Curvature(), Report(question="Is it thinned?")]
    trainer(tmp_path, 300, *callbacks).fit(small_task(), cloud())
    page = re.sub(r"<[^>]+>", "", (tmp_path / "run/version_0/report.html").read_text())
    found = re.search(
        "Thinned: 301 snapshots were recorded and are kept; "
        r"each picture over the steps shows at least (\d+)",
        page,
    )
    assert found
    assert 2 <= int(found[1]) <= 10, "the curvature takes ten numbers for each parameter"
    assert "Thinned: 301" in capsys.readouterr().out
    monkeypatch.undo()
    trainer(tmp_path / "few", 20, Report(question="Is it whole?")).fit(small_task(), cloud())
    assert "Thinned" not in (tmp_path / "few/run/version_0/report.html").read_text()
