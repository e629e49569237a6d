from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.claims.recorded import recorded
from tests.conftest import cloud, small_task, trainer
from toyml.callbacks.after import AfterFit
from toyml.claims import NotApplicable
from toyml.run import Run
from toyml.views import frames, kept


class Seen(NamedTuple):
    values: NDArray[np.float64]
    named: dict[str, NDArray[np.float64]]


class Counted:
    """A view that counts how often it is made."""

    def __init__(self) -> None:
        self.made = 0

        @kept
        def view(run: Run, most: int = 3, scale: object = 1.0) -> Seen:
            self.made += 1
            return Seen(np.zeros(most), {"a": np.ones(most)})

        self.view = view


def test_a_view_is_made_once_for_a_run_and_its_settings(tmp_path: Path) -> None:
    run, counted = recorded(tmp_path, np.ones((3, 3))), Counted()
    first = counted.view(run)
    assert counted.view(run, 3) is counted.view(run, most=3, scale=1.0) is first
    assert counted.made == 1
    assert len(counted.view(run, 4).values) == 4
    assert counted.view(Run(tmp_path), 3) is not first
    assert counted.made == 3


def test_its_arrays_are_read_only(tmp_path: Path) -> None:
    seen = Counted().view(recorded(tmp_path, np.ones((3, 3))))
    for values in (seen.values, seen.named["a"]):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 5


def test_it_goes_with_the_run(tmp_path: Path) -> None:
    run, counted = recorded(tmp_path, np.ones((3, 3))), Counted()
    values = weakref.ref(counted.view(run).values)
    assert values() is not None
    del run
    gc.collect()
    assert values() is None


def test_a_setting_that_cannot_be_compared_is_named(tmp_path: Path) -> None:
    run = recorded(tmp_path, np.ones((3, 3)))
    with pytest.raises(TypeError, match=r"view: scale is \[1\], which cannot be hashed"):
        Counted().view(run, scale=[1])


def test_a_view_that_raises_is_asked_again(tmp_path: Path) -> None:
    answers = [NotApplicable("not yet"), 7]

    @kept
    def view(run: Run) -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    run = recorded(tmp_path, np.ones((3, 3)))
    with pytest.raises(NotApplicable):
        view(run)
    assert view(run) == view(run) == 7


@pytest.mark.parametrize("most", [2, 3, 10, 41, 1000])
def test_frames_hold_both_ends_and_are_few(tmp_path: Path, most: int) -> None:
    run = recorded(tmp_path, np.ones((500, 3)))
    found = frames(run, most)
    assert (np.diff(found) > 0).all()
    assert found[0] == 0
    assert found[-1] == 499
    assert len(found) <= most
    if most == 41:
        # Dense at the start as on a logarithmic axis, and no gap as on a linear one.
        assert found[:5].tolist() == [0, 1, 2, 3, 4]
        assert np.diff(found).max() <= 500 / 18
    with pytest.raises(ValueError, match="most is 1"):
        frames(run, 1)


class Watcher(AfterFit):
    def finish(self, run: Run) -> None:
        self.seen = run


def test_all_callbacks_of_a_fit_look_at_one_run(tmp_path: Path) -> None:
    watchers = [Watcher(), Watcher(), Watcher()]
    made = trainer(tmp_path, 5, *watchers)
    made.fit(small_task(), datamodule=cloud())
    assert watchers[0].seen is watchers[1].seen is watchers[2].seen
    torch.manual_seed(1)
    before = watchers[0].seen
    trainer(tmp_path / "next", 3, *watchers).fit(small_task(), datamodule=cloud())
    assert watchers[0].seen is watchers[2].seen is not before
    assert watchers[0].seen.trajectory.steps[-1] == 3
