from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.report.packing import levels, pack, unpack
from toyml.report.scene import Choice, Move, Panel, Plot, Reading, Scene, held, moved, wire

STEPS = np.array([0, 10, 20])


def plot(**settings: object) -> Plot:
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    return Plot("a", [{"type": "scatter"}], {}, [Move(0, "y", values, STEPS)], **settings)


@given(
    st.lists(st.integers(0, 10**6), min_size=1, unique=True).map(sorted),
    st.lists(st.integers(0, 10**6), min_size=1),
)
def test_the_last_step_that_is_not_later_holds(steps: list[int], at: list[int]) -> None:
    for wanted, place in zip(at, held(steps, at), strict=True):
        earlier = [i for i, step in enumerate(steps) if step <= wanted]
        assert place == (earlier[-1] if earlier else 0)


def test_a_move_is_at_its_step_or_holds() -> None:
    shown = {step: next(moved(plot(), step))[2].tolist() for step in (0, 9, 10, 99)}
    assert shown == {0: [1, 2], 9: [1, 2], 10: [3, 4], 99: [5, 6]}


def test_a_trail_is_everything_so_far_and_a_choice_picks_a_column() -> None:
    values = np.arange(6.0).reshape(3, 2)
    trail = Plot("a", [{}], {}, [Move(0, "x", values[:, 0], STEPS, trail=True)])
    assert next(moved(trail, 10))[2].tolist() == [0, 2]
    move = Move(0, "x", levels(values[:, None, :]), STEPS, choice=0)
    chosen = Plot("a", [{}], {}, [move], choices=[Choice("unit", ["a", "b"], 1)])
    assert next(moved(chosen, 20))[2] == pytest.approx([5.0], abs=1e-3)


def test_on_the_wire_views_share_the_tables_from_stops_to_rows() -> None:
    late = np.array([5, 15])
    panel = Panel("a", "t", "c", "alt", [plot(time=True)], [Reading("r", np.zeros(2), late)])
    scene = Scene(STEPS, [panel], losses={"": (STEPS, np.ones(3))}, runs={"a": 20})
    document = unpack(pack(wire(scene)))
    assert [table.tolist() for table in document["maps"]] == [[0, 1, 2], [0, 0, 1]]
    (sent,) = document["panels"]
    assert sent["plots"][0]["moves"][0]["rows"] == document["losses"][0]["rows"] == 0
    assert sent["readings"][0]["rows"] == 1
    assert document["runs"] == [{"name": "a", "last": 20}]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Move(0, "y", np.zeros((2, 4)), STEPS), "has 2 values for 3 steps"),
        (lambda: Panel("a", "t", "c", "alt", []), "'a' has no plot"),
        (lambda: Panel("a", "t", "c", " ", [plot()]), "'a' has no alternative text"),
        (lambda: Scene(np.array([], int), []), "at least one"),
        (lambda: Scene(np.array([3, 3]), []), "steps that increase"),
        (lambda: Scene(STEPS, [Panel("a", "t", "c", "b", [plot()])] * 2), r"\['a', 'a'\]"),
    ],
)
def test_what_cannot_be_shown_is_refused(make: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()  # type: ignore[operator]
