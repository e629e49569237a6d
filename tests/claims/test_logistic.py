from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.claims.recorded import descent, recorded
from tests.conftest import Rows
from toyml import theory
from toyml.claims import (
    DecayThreshold,
    LargestRate,
    LimitAngle,
    LimitDistance,
    LogisticSharpness,
    LogTConstant,
    MarginLogRatio,
    MinimumReached,
    SwingFactor,
)
from toyml.claims.logistic import descent_law, logistic
from toyml.data import TwoPoints
from toyml.models import MLP, Linear
from toyml.run import Run

START = [-0.00529, 0.37932, -0.58198]


def sgd(**settings: Any) -> Any:
    return partial(torch.optim.SGD, **{"lr": 1.0, **settings})


def decayed(folder: Path, steps: int = 300, decay: float = 0.2, spare: bool = False) -> Run:
    path = descent(START, steps, 1.0, decay, spare)
    return recorded(folder, path, optimizer=sgd(weight_decay=decay), decay_bias=not spare)


@pytest.mark.parametrize("spare", [False, True])
def test_descent_by_hand_ends_at_the_exact_minimum(tmp_path: Path, spare: bool) -> None:
    run = decayed(tmp_path, 1500, spare=spare)
    judged = MinimumReached("", 1e-12).judge(run)
    assert judged.verdict == "holds", judged


def test_an_end_elsewhere_fails(tmp_path: Path) -> None:
    path = descent(START, 1500, 1.0, 0.2)
    path[-1, 2] += 1e-6
    run = recorded(tmp_path, path, optimizer=sgd(weight_decay=0.2))
    judged = MinimumReached("", 1e-9).judge(run)
    assert judged.verdict == "fails"
    assert judged.measured == pytest.approx(1e-6, rel=1e-4)


def test_too_few_steps_are_not_judged(tmp_path: Path) -> None:
    judged = MinimumReached("", 1e-12).judge(decayed(tmp_path, 20))
    assert judged.verdict == "not applicable"
    assert "steps to settle; the run has 20" in judged.why


def test_a_rate_beyond_the_limit_is_not_judged(tmp_path: Path) -> None:
    run = recorded(tmp_path, descent(START, 9, 1.2, 0.2), optimizer=sgd(lr=1.2, weight_decay=0.2))
    assert "does not settle" in MinimumReached("", 1e-9).judge(run).why


def test_sharpness_limit_and_factor_belong_together(tmp_path: Path) -> None:
    run = decayed(tmp_path)
    x, y = run.data
    sharpness = theory.logistic_sharpness(x, y, 0.2)
    assert sharpness == pytest.approx(1.8189875593, abs=1e-10)
    # Measured by differentiating the run's own loss twice, not by theory's formula; the
    # derivative of BCELoss keeps 1e-12 from its poles.
    assert LogisticSharpness("", None, 0, 0).measure(run) == pytest.approx(sharpness, abs=1e-10)
    assert LargestRate("", 0, 0).measure(run) == pytest.approx(2 / sharpness, rel=1e-14)
    assert SwingFactor("", 0, 0).measure(run) == pytest.approx(1 - sharpness, abs=1e-6)
    assert SwingFactor("", 0, 0).judge(decayed(tmp_path / "short", 20)).verdict == "not applicable"


def test_sharpness_without_the_decay_of_the_bias(tmp_path: Path) -> None:
    run = decayed(tmp_path, 1500, spare=True)
    x, y = run.data
    exact = theory.logistic_sharpness(x, y, 0.2, decay_bias=False)
    assert LogisticSharpness("", None, 0, 0).measure(run) == pytest.approx(exact, abs=1e-10)


def test_above_the_limit_descent_by_hand_never_settles() -> None:
    # The claim about the largest rate, checked from both sides by training.
    ends = [descent(START, 4000, rate, 0.2)[-2:] for rate in (1.09, 1.11)]
    assert np.ptp(ends[0], axis=0).max() < 1e-12
    assert np.ptp(ends[1], axis=0).max() > 1e-3


def test_the_threshold_in_closed_form_and_by_roots(tmp_path: Path) -> None:
    assert DecayThreshold("", 1 / (4 * math.log(3)), 1e-14).judge(
        decayed(tmp_path / "a")
    ).verdict == ("holds")
    assert DecayThreshold("", 0, 0).measure(decayed(tmp_path / "b", spare=True)) == math.inf
    three = Rows([[3.0, 2], [1, 1], [0, 0.5]], [[1.0], [0], [0]])
    run = recorded(tmp_path / "c", [START], data=three, optimizer=sgd(weight_decay=0.1))
    found = DecayThreshold("", 0, 0).measure(run)
    x, y = run.data
    w, b = theory.regularized_logistic(x, y, found)
    assert float(theory.distances(w, b, x, y[:, 0]).min()) == pytest.approx(0, abs=1e-11)


def test_the_limit_of_plain_descent(tmp_path: Path) -> None:
    run = recorded(tmp_path, descent(START, 5, 1.0))
    exact = -math.degrees(math.atan(1 / 2) + math.atan(2 / 7))
    assert LimitAngle("", exact, 1e-12).judge(run).verdict == "holds"
    assert LimitDistance("", 6 / math.sqrt(53), 1e-14).judge(run).verdict == "holds"


def test_points_that_no_line_separates_have_no_limit(tmp_path: Path) -> None:
    data = Rows([[0.0, 0], [1, 1], [0, 1], [1, 0]], [[0.0], [0], [1], [1]])
    run = recorded(tmp_path, [START], data=data)
    for claim in (LimitAngle("", 0, 0), LimitDistance("", 0, 0), LogTConstant("", 0, 0)):
        assert "not linearly separable" in claim.judge(run).why


@pytest.mark.parametrize("lr", [1.0, 0.25])
def test_the_law_predicts_the_angle_of_descent_by_hand(tmp_path: Path, lr: float) -> None:
    path = descent(START, 20_000, lr)
    run = recorded(tmp_path, path, optimizer=sgd(lr=lr))
    limit, constant, offset = descent_law(run)
    w = path[-1, :2]
    angle = math.degrees(math.atan2(w[1], w[0]))
    law = limit + math.degrees(math.atan(math.radians(constant) / (math.log(20_000) + offset)))
    assert angle == pytest.approx(law, abs=5e-3)
    assert LogTConstant("", constant, 1e-9).judge(run).verdict == "holds"


def test_the_margins_differ_by_the_logarithm_of_a_ratio(tmp_path: Path) -> None:
    run = recorded(tmp_path, descent(START, 20_000, 1.0))
    claim = MarginLogRatio("", 0, 1, 10_000, math.log(20 / 9), 1e-3)
    assert claim.judge(run).verdict == "holds"
    assert MarginLogRatio("", 1, 0, 10_000, math.log(20 / 9), 1e-3).judge(run).verdict == "fails"
    assert MarginLogRatio("", 0, 2, 10, 0, 0).judge(run).why == "rows 0 and 2 of 2"
    assert MarginLogRatio("", 0, 1, 30_000, 0, 0).judge(run).verdict == "not applicable"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"net": MLP([2, 2, 1], output_activation=nn.Sigmoid())}, "not one affine map"),
        ({"net": Linear(2, 1, nn.Sigmoid(), bias=False)}, "not one affine map"),
        ({"net": Linear(2, 1), "loss": nn.MSELoss()}, "MSELoss is not the logistic loss"),
        ({"loss": nn.BCELoss(reduction="sum")}, "not the plain mean"),
        ({"loss": nn.BCELoss(weight=torch.tensor([2.0]))}, "not the plain mean"),
        ({"optimizer": partial(torch.optim.AdamW, lr=0.1)}, "decays outside the gradient"),
        ({"optimizer": sgd()}, "no minimum"),
        ({"optimizer": sgd(weight_decay=0.1, momentum=0.9)}, "momentum 0.9"),
        ({"optimizer": partial(torch.optim.Adam, weight_decay=0.1)}, "Adam is not gradient"),
        ({"data": TwoPoints(batch_size=1), "optimizer": sgd(weight_decay=0.1)}, "batches of 1"),
        ({"data": Rows([[0.0, 1], [1, 0]], [[1.0], [1.0]])}, "labels are not 0 and 1"),
    ],
)
def test_other_trainings_are_not_judged(tmp_path: Path, settings: dict[str, Any], why: str) -> None:
    net = settings.get("net") or Linear(2, 1)
    size = sum(p.numel() for p in net.parameters())
    run = recorded(tmp_path, np.zeros((3, size)), **settings)
    judged = MinimumReached("", 1.0).judge(run)
    assert judged.verdict == "not applicable"
    assert why in judged.why


def test_logits_are_the_same_model(tmp_path: Path) -> None:
    net, loss = Linear(2, 1), nn.BCEWithLogitsLoss()
    run = recorded(tmp_path, [START], net=net, loss=loss, optimizer=sgd(weight_decay=0.2))
    expected = [0.594177882652, -0.012645554449, -0.619468991549]
    assert logistic(run).minimum().tolist() == pytest.approx(expected, abs=1e-12)
