from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import small_task, trainer, xor
from toyml.callbacks import Recorder
from toyml.claims import ParityWithin
from toyml.run import Run


def made(folder: Path, every: int = 1, precision: Any = "64-true") -> Run:
    task, data = small_task(), xor()
    settings = {"callbacks": [Recorder(every=every)], "precision": precision}
    trainer(folder, 8, **settings).fit(task, datamodule=data)
    return Run(next(folder.glob("run/version_*")), task, data)


def test_what_the_callback_found_for_this_trajectory_is_taken(tmp_path: Path) -> None:
    run = made(tmp_path)
    these = {"snapshots": 9, "last_step": 8, "dtype": "float64"}
    run.update_summary(parity={**these, "largest": 7.0})
    assert ParityWithin("", 1e-13).measure(run) == 7.0


@pytest.mark.parametrize(
    "other", [{"snapshots": 3}, {"last_step": 4}, {"dtype": "float32"}, {"dtype": None}]
)
def test_what_was_found_for_another_is_not(tmp_path: Path, other: dict[str, Any]) -> None:
    run = made(tmp_path)
    these = {"snapshots": 9, "last_step": 8, "dtype": "float64", "largest": 7.0}
    run.update_summary(parity={**these, **other})
    assert ParityWithin("", 1e-13).judge(run).verdict == "holds"


def test_without_the_start_there_is_nothing_to_compare(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.trajectory.steps += 1
    assert ParityWithin("", 1e-13).judge(run).verdict == "not applicable"
