from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from toyml.errors import UserError
from toyml.sweep.outcome import CONVERGED, DIVERGED, MOVING, PLATEAU, Definition, judge
from toyml.sweep.record import diverged_at, first_step, seen_steps, trace_steps
from toyml.sweep.table import comparable

STEPS = np.array([0, 1, 10, 50, 90, 95, 100])


def judged(traces: list[list[float]], definition: Definition, lost: list[int] | None = None):
    trace = np.array(traces, dtype=float)
    steps = np.broadcast_to(STEPS, trace.shape)
    diverged = np.array(lost or [-1] * len(trace))
    below = None
    if definition.converged is not None:
        below = first_step(STEPS, definition.converged > trace.T)
    return judge(definition, trace[:, -1], steps, trace, diverged, below)


def test_the_four_outcomes_and_their_steps() -> None:
    found = judged(
        [
            [1, 1, 0.5, 0.05, 0.01, 0.01, 0.01],  # below 0.1 from step 50 on
            [1, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5],  # flat from step 10 on
            [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4],  # on its way
            [1, 2, 1e9, np.nan, np.nan, np.nan, np.nan],
            [1, 0.05, 0.5, 0.5, 0.5, 0.5, 0.5],  # below 0.1 for a moment: it did not stay
        ],
        Definition(converged=0.1),
        [-1, -1, -1, 10, -1],
    )
    assert found.outcome.tolist() == [CONVERGED, PLATEAU, MOVING, DIVERGED, PLATEAU]
    assert found.step.tolist() == [50, 10, 100, 10, 10]
    assert found.level.tolist() == [-1, 0, -1, -1, 0]
    assert found.levels == [("0.5", 0.5)]


def test_without_a_threshold_the_best_training_is_the_measure() -> None:
    flat = [[1.0, 1, 1, 1, v, v, v] for v in (0.2, 0.2079, 0.2081, 0.5)]
    found = judged(flat, Definition(share=0.01))
    assert found.threshold == pytest.approx([0.2 + 0.01 * 0.8] * 4)
    assert found.outcome.tolist() == [CONVERGED, CONVERGED, PLATEAU, PLATEAU]
    assert found.step.tolist() == [90, 90, 90, 90]
    # One training alone has converged: nothing says that it could have done better.
    assert judged([[1.0] * 7], Definition()).outcome.tolist() == [CONVERGED]


def test_plateaus_are_levels_with_names() -> None:
    flat = [[1.0, v, v, v, v, v, v] for v in (0.52, 0.25, 0.253, 0.69, 0.521)]
    definition = Definition(converged=0.1, levels={"strip": 0.25737, "line": 0.52576})
    found = judged(flat, definition)
    assert found.level.tolist() == [1, 0, 0, 2, 1]
    assert found.levels == [
        ("strip", pytest.approx(0.2515)),
        ("line", pytest.approx(0.5205)),
        ("0.69", pytest.approx(0.69)),
    ]


def test_all_diverged() -> None:
    found = judged([[1.0] + [np.nan] * 6] * 2, Definition(), [1, 1])
    assert found.outcome.tolist() == [DIVERGED] * 2
    assert np.isnan(found.threshold).all()


def test_losses_are_judged_against_those_they_can_be_compared_with() -> None:
    ends = [0.5, 0.506, 0.01, 0.5, np.nan]
    trace = np.array([[1.0, *[v] * 6] for v in ends])
    steps, lost = np.broadcast_to(STEPS, trace.shape), np.array([-1, -1, -1, -1, 1])
    group = np.array([0, 0, 1, 1, 2])
    found = judge(Definition(), trace[:, -1], steps, trace, lost, group=group)
    assert found.outcome.tolist() == [CONVERGED, PLATEAU, CONVERGED, PLATEAU, DIVERGED]
    expected = [0.505, 0.505, 0.0199, 0.0199, np.nan]
    assert found.threshold == pytest.approx(expected, nan_ok=True)


def test_which_trainings_can_be_compared() -> None:
    columns = {
        "model.loss": ["a", "a", "a", "b"],
        "data.noise": [0.0, 0.0, 0.1, 0.0],
        "data.batch_size": [1, 2, 1, 1],
        "model.optimizer.lr": [0.1, 0.2, 0.1, 0.1],
    }
    assert comparable(pl.DataFrame(columns)).tolist() == [0, 0, 1, 2]
    assert comparable(pl.DataFrame({"loss": [0.1, 0.2], "database": [1, 2]})).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"share": 0.0}, "share"), ({"gap": 2.0}, "gap"), ({"explosion": 0.5}, "explosion")],
)
def test_settings_out_of_range(settings: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Definition(**settings)  # type: ignore[arg-type]


def test_kept_steps_hold_the_ends_the_tenths_and_those_asked_for() -> None:
    kept = trace_steps(10_000, [9001])
    assert {0, 1, 1000, 9000, 9001, 10_000} <= set(kept.tolist())
    assert len(kept) < 110
    assert (np.diff(kept) > 0).all()


def test_all_steps_are_seen_while_they_fit() -> None:
    kept = trace_steps(100)
    assert seen_steps(100, 3, kept).tolist() == list(range(101))
    thin = seen_steps(100, 3, kept, size=3 * 8 * 21)
    assert set(kept.tolist()) <= set(thin.tolist())
    assert {5, 10, 95} <= set(thin.tolist())


def test_explosions_are_seen_and_a_start_at_zero_has_no_bound() -> None:
    losses = np.array([[1.0, 0.0, 2.0], [11.0, 5.0, np.inf], [1.0, 6.0, np.nan]])
    assert diverged_at(np.array([0, 3, 7]), losses, 10.0).tolist() == [3, -1, 3]
