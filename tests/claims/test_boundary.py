from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.claims.recorded import recorded
from toyml.claims import (
    AngleAt,
    AngleLaw,
    Claim,
    DistanceGrows,
    MarginAt,
    MisclassifiedSteps,
    NotApplicable,
    Separates,
    SmallerDistance,
)
from toyml.claims.boundary import line, signed_angle
from toyml.models import MLP, Linear

# Lines through the plane with (3, 2) in class 1 and (1, 1) in class 0.
GOOD = [1.0, 0.0, -2.0]  # x1 = 2: both points at distance 1
FLIPPED = [-1.0, 0.0, 2.0]
LOW = [1.0, 0.0, -0.5]  # x1 = 1/2: (1, 1) on the wrong side, by 1/2
TOUCH = [1.0, 0.0, -1.0]  # through (1, 1)


@given(st.floats(-179, 179), st.floats(0.1, 10), st.floats(-180, 180))
def test_the_angle_is_that_of_the_turn(turn: float, length: float, start: float) -> None:
    a, b = np.radians(start), np.radians(start + turn)
    w = length * np.array([[np.cos(b), np.sin(b)]])
    assert signed_angle(w, [np.cos(a), np.sin(a)])[0] == pytest.approx(turn, abs=1e-9)


def test_the_angle_at_a_step_and_at_the_last(tmp_path: Path) -> None:
    run = recorded(tmp_path, [GOOD, [0.0, 2.0, 0.0]])
    assert AngleAt("", 0, [1.0, 0.0], 0.0, 0.0).measure(run) == 0.0
    assert AngleAt("", None, [1.0, 0.0], 0.0, 0.0).measure(run) == 90.0
    assert AngleAt("", 2, [1.0, 0.0], 0.0, 0.0).judge(run).verdict == "not applicable"


def test_distances_and_margins_of_both_points(tmp_path: Path) -> None:
    run = recorded(tmp_path, [GOOD, [2.0, 0.0, -1.0], FLIPPED])
    assert SmallerDistance("", 0, 0.0, 0.0).measure(run) == 1.0
    assert SmallerDistance("", 1, 0.0, 0.0).measure(run) == -0.5
    assert SmallerDistance("", None, 0.0, 0.0).measure(run) == -1.0
    # Margins grow with the weights, distances do not.
    assert MarginAt("", 0, 1, 0.0, 0.0).measure(run) == 5.0
    assert MarginAt("", 1, 1, 0.0, 0.0).measure(run) == -1.0
    assert MarginAt("", 2, 1, 0.0, 0.0).judge(run).why == (
        "there are 2 points, numbered from 0; no 2"
    )


def test_separation_counts_points_and_a_point_on_the_line_is_wrong(tmp_path: Path) -> None:
    run = recorded(tmp_path, [GOOD, LOW, TOUCH, FLIPPED])
    found = [Separates("", step).measure(run) for step in range(4)]
    assert found == [
        "separates",
        "1 on the wrong side",
        "1 on the wrong side",
        "2 on the wrong side",
    ]
    assert Separates("", None, wrong=2).judge(run).verdict == "holds"
    assert Separates("", None).judge(run).verdict == "fails"


def test_misclassified_steps_are_exactly_those(tmp_path: Path) -> None:
    run = recorded(tmp_path, [LOW, GOOD, LOW, GOOD, TOUCH, GOOD])
    claim = MisclassifiedSteps("", [2, 4], 1, 5)
    assert claim.judge(run).verdict == "holds"
    assert claim.predicted == "2, 4"
    assert MisclassifiedSteps("", [0, 2, 4], 1, 5).judge(run).verdict == "fails"
    assert MisclassifiedSteps("", [], 5, 5).judge(run).measured == "none"
    assert MisclassifiedSteps("", [], 1, 6).judge(run).verdict == "not applicable"


def test_misclassified_steps_need_every_step(tmp_path: Path) -> None:
    run = recorded(tmp_path, [GOOD, LOW, GOOD], steps=[0, 2, 4])
    assert MisclassifiedSteps("", [2], 0, 4).judge(run).why == (
        "needs every step of the range recorded"
    )


def test_a_distance_grows_or_the_step_before_its_fall_is_named(tmp_path: Path) -> None:
    run = recorded(tmp_path, [GOOD, LOW, TOUCH, [1.0, 0.0, -1.5], GOOD])
    assert DistanceGrows("", 1).judge(run).verdict == "holds"
    judged = DistanceGrows("", 0).judge(run)
    assert (judged.verdict, judged.measured) == ("fails", "falls after step 0")
    assert DistanceGrows("", 4).judge(run).verdict == "not applicable"


@pytest.mark.parametrize("constant", [20.0, -7.0])
def test_the_law_is_read_off_exactly_whatever_its_offset(tmp_path: Path, constant: float) -> None:
    steps = np.arange(2001)
    logs = np.log(np.maximum(steps, 1)) + 3.5
    turn = np.radians(30.0) + np.arctan(np.radians(constant) / logs)
    path = np.c_[np.cos(turn), np.sin(turn), np.zeros(2001)]
    run = recorded(tmp_path, path)
    claim = AngleLaw("", 30.0, [1.0, 0.0], 1000, constant, 1e-8)
    assert claim.judge(run).verdict == "holds"
    assert AngleLaw("", 30.0, [1.0, 0.0], 3000, 1.0, 1.0).judge(run).why == (
        "needs 3000 steps; the run has 2000"
    )


@pytest.mark.parametrize("net", [MLP([2, 3, 1]), Linear(3, 1), Linear(2, 2)])
def test_a_net_that_is_no_line_is_not_judged(tmp_path: Path, net: nn.Module) -> None:
    size = sum(p.numel() for p in net.parameters())
    run = recorded(tmp_path, np.ones((3, size)), net=net)
    claims: list[Claim] = [
        AngleAt("", None, [1.0, 0.0], 0.0, 0.0),
        SmallerDistance("", None, 0.0, 0.0),
        Separates(""),
        DistanceGrows("", 0),
    ]
    for claim in claims:
        assert claim.judge(run).verdict == "not applicable"


def test_a_net_without_bias_is_a_line_through_the_origin(tmp_path: Path) -> None:
    net: Any = Linear(2, 1, nn.Sigmoid(), bias=False)
    run = recorded(tmp_path, [[1.0, 2.0]], net=net)
    w, b = line(run)
    assert w.tolist() == [[1.0, 2.0]]
    assert b.tolist() == [0.0]


def test_not_applicable_is_an_exception_of_its_own() -> None:
    assert not issubclass(NotApplicable, ValueError)
