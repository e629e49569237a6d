from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from toyml.errors import UserError
from toyml.sweep.outcome import CONVERGED, DIVERGED, MOVING, PLATEAU, Definition, judge
from toyml.sweep.record import diverged_at, first_step, seen_steps, trace_steps
from toyml.sweep.table import outcome_table

STEPS = np.array([0, 1, 10, 50, 90, 95, 100])
CONSTANT = 0.25


def judged(traces: list[list[float]], definition: Definition, lost: list[int] | None = None):
    trace = np.array(traces, dtype=float)
    steps = np.broadcast_to(STEPS, trace.shape)
    diverged = np.array(lost or [-1] * len(trace))
    bound = definition.threshold(CONSTANT)
    below = first_step(STEPS, bound > trace.T)
    bounds = np.full(len(trace), bound)
    return judge(definition, trace[:, -1], steps, trace, diverged, bounds, below)


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


def test_the_best_of_a_bad_lot_has_not_converged() -> None:
    # One per cent of what the best constant gets is the measure, whatever the others reach.
    flat = [[0.3, 0.3, 0.3, 0.3, v, v, v] for v in (0.167, 0.1675, 0.25)]
    found = judged(flat, Definition())
    assert found.threshold.tolist() == [0.0025] * 3
    assert found.outcome.tolist() == [PLATEAU] * 3
    learned = judged([*flat, [0.3, 0.3, 0.3, 0.3, 0.0024, 0.0024, 0.0024]], Definition())
    assert learned.outcome.tolist() == [PLATEAU] * 3 + [CONVERGED]
    assert learned.step[-1] == 90


def test_the_threshold_lies_between_the_constant_and_the_least_loss() -> None:
    assert Definition(share=0.1).threshold(1.0, 0.5) == pytest.approx(0.55)
    assert Definition(converged=0.1).threshold(1.0, 0.5) == 0.1
    # A constant is already as good as anything, or its loss is not known: no threshold.
    for constant, least in ((0.0, 0.0), (0.5, 0.5), (np.nan, 0.0), (np.inf, 0.0)):
        assert np.isnan(Definition().threshold(constant, least))


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
    assert found.threshold.tolist() == [0.0025] * 2


def test_parts_of_an_older_version_have_no_threshold() -> None:
    row: dict[str, Any] = {"loss": [0.2], "diverged_at": [-1]}
    row |= {"trace_steps": [[0, 95, 100]], "trace": [[0.4, 0.3, 0.2]]}
    table, found = outcome_table(pl.DataFrame(row), Definition(converged=0.25))
    assert (table["outcome"][0], found.threshold[0]) == (CONVERGED, 0.25)
    assert outcome_table(pl.DataFrame(row), Definition())[0]["outcome"][0] == MOVING


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
