"""Exact minima, limits, predicted paths and replays of a two-parameter run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import plain_loop, small_task, trainer, xor
from toyml import claims
from toyml.callbacks import Lines, LossLandscapes, Replay, Stability
from toyml.callbacks.loss_landscapes import make_panel
from toyml.claims import NotApplicable
from toyml.claims.minimum import exact_minimum, loss_at
from toyml.claims.quadratic import quadratic
from toyml.claims.replay import replayed
from toyml.comparison import first_difference
from toyml.data import NoisyParabola
from toyml.models import Linear
from toyml.run import Run
from toyml.tasks import Supervised

LIMITS: dict[str, tuple[dict[str, Any], float]] = {
    "plain": ({}, 0.97565354),
    "momentum": ({"momentum": 0.9}, 1.85374172),
    "Nesterov": ({"momentum": 0.9, "nesterov": True}, 0.66205061),
    "dampening": ({"momentum": 0.9, "dampening": 0.8}, 9.26870860),
    "weight decay": ({"momentum": 0.9, "nesterov": True, "weight_decay": 2.0}, 0.33510461),
}


def line() -> Linear:
    return Linear(1, initial={"linear.weight": [[6.0]], "linear.bias": [-3.0]})


def fit(
    folder: Path,
    steps: int = 100,
    loss: nn.Module | None = None,
    optimizer: Any = None,
    data: NoisyParabola | None = None,
    precision: str = "64-true",
    **settings: Any,
) -> Run:
    optimizer = optimizer or partial(torch.optim.SGD, lr=0.1)
    task = Supervised(line(), loss or nn.MSELoss(), optimizer, **settings)
    maker = trainer(folder, steps, precision=precision)
    data = data or NoisyParabola()
    maker.fit(task, datamodule=data)
    (run,) = folder.glob("run/version_*")
    return Run(run, task, data)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return fit(tmp_path)


def plain_path(loss: nn.Module, steps: int, **settings: Any) -> tuple[list[float], nn.Module]:
    x, y = NoisyParabola().arrays()
    net = line().double()
    losses = plain_loop(
        net, loss, partial(torch.optim.SGD, **{"lr": 0.1, **settings}), lambda _: (x, y), steps
    )
    return losses, net


@pytest.mark.parametrize("name", LIMITS)
def test_just_below_the_limit_converges_and_just_above_diverges(run: Run, name: str) -> None:
    settings, limit = LIMITS[name]
    with replayed(run, 0, optimizer=partial(torch.optim.SGD, lr=0.1, **settings)) as other:
        exact = quadratic(other).limit
    assert exact == pytest.approx(limit, abs=5e-9)
    decay = settings.get("weight_decay", 0.0)
    x, y = NoisyParabola().arrays()
    ends = {}
    for share in (0.99, 1.01):
        losses, net = plain_path(nn.MSELoss(), 3000, **settings, lr=share * exact)
        penalty = decay / 2 * sum(float(p.detach().square().sum()) for p in net.parameters())
        with torch.no_grad():
            ends[share] = float(nn.MSELoss()(net(x), y)) + penalty
        assert losses[0] == pytest.approx(53.078270)
    assert not ends[1.01] < 1e6  # or no number any more
    floor = exact_fixed_loss(decay)
    assert ends[0.99] == pytest.approx(floor, abs=1e-6)


def exact_fixed_loss(decay: float) -> float:
    from toyml import theory

    x, y = NoisyParabola().arrays()
    w, b = theory.ridge(x, y, decay)
    penalty = decay / 2 * float(w.square().sum() + b.square())
    return float(nn.MSELoss()(x @ w[:, None] + b, y)) + penalty


@pytest.mark.parametrize("name", LIMITS)
def test_the_path_is_powers_of_the_companion_matrix(run: Run, name: str) -> None:
    claim = claims.CompanionPath("", tolerance=3e-15)
    optimizer = partial(torch.optim.SGD, lr=0.1, **LIMITS[name][0])
    with replayed(run, 100, optimizer=optimizer) as other:
        assert claim.judge(other).verdict == "holds"
    wrong = partial(torch.optim.SGD, lr=0.1 + 1e-9)
    with replayed(run, 100, optimizer=wrong) as other:
        other.task.optimizer = partial(torch.optim.SGD, lr=0.1)  # type: ignore[assignment]
        assert claim.judge(other).verdict == "fails"


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.HuberLoss(delta=0.2), nn.SmoothL1Loss()]
)
def test_no_neighbour_of_the_exact_minimum_is_lower(run: Run, loss: nn.Module) -> None:
    with replayed(run, 0, loss=loss) as other:
        point = exact_minimum(other)
        least = loss_at(other, point)
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        around = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], axis=1))
        for size in (1e-3, 1e-1, 3.0):
            assert all(loss_at(other, point + size * step) > least for step in around)
        found = claims.MinimumLoss("", predicted=least, tolerance=0.0).measure(other)
        # The minimum is found anew; where its data lie in memory may move the last bit.
        assert found == pytest.approx(least, rel=1e-14)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_a_replay_with_nothing_changed_is_the_run(
    tmp_path: Path, precision: str, batch_size: int | None
) -> None:
    run = fit(
        tmp_path,
        30,
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
        data=NoisyParabola(batch_size=batch_size),
        precision=precision,
        lr_scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=7, gamma=0.5),
        decay_bias=False,
    )
    with replayed(run, 30) as other:
        assert len(other.trajectory) == 31
        assert first_difference(run, other) is None
    with replayed(run, 30, optimizer=partial(torch.optim.SGD, lr=0.1)) as other:
        parting = first_difference(run, other)
    assert parting is not None
    assert parting.step == 1


def test_smooth_l1_at_its_defaults_is_huber_and_with_another_beta_is_not(run: Run) -> None:
    with replayed(run, 100, loss=nn.HuberLoss()) as huber:
        same = claims.SameTraining("", loss=nn.SmoothL1Loss())
        assert same.judge(huber).verdict == "holds"
        other = claims.SameTraining("", loss=nn.SmoothL1Loss(beta=0.5)).judge(huber)
    assert other.verdict == "fails"
    assert "differs from step 1 on" in str(other.measured)


def test_a_diverging_replay_ends_where_the_loss_is_not_finite(run: Run) -> None:
    with replayed(run, 5000, optimizer=partial(torch.optim.SGD, lr=5.0)) as other:
        assert 100 < len(other.trajectory) < 5000
        assert claims.CompanionPath("", tolerance=1.0).judge(other).verdict == "not applicable"


def test_overshoots_are_the_extremes_of_the_path(run: Run) -> None:
    momentum = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    with replayed(run, 100, optimizer=momentum) as other:
        low = claims.LowestValue("", "linear.weight[0,0]", -2.24062014, 1e-7)
        high = claims.HighestValue("", "linear.bias[0]", 6.64664668, 1e-7)
        assert [c.judge(other).verdict for c in (low, high)] == ["holds", "holds"]
    assert low.judge(run).verdict == "fails"
    absent = claims.LowestValue("", "linear.weight[1,0]", 0.0, 1.0).judge(run)
    assert absent.verdict == "not applicable"
    assert claims.LowestValue("", "other", 0.0, 1.0).judge(run).verdict == "not applicable"


def test_printed_values_are_compared_bit_by_bit(run: Run) -> None:
    logged = run.metrics["loss"]["value"][0]
    assert claims.Printed("", {0: logged}).judge(run).verdict == "holds"
    near = float(np.nextafter(logged, 100))
    verdict = claims.Printed("", {0: near, 50: run.metrics["loss"]["value"][1]}).judge(run)
    assert verdict.verdict == "fails"
    assert str(verdict.measured).startswith("1 of 2 differ, first at step 0")
    assert claims.Printed("", {1: 0.0}).judge(run).verdict == "not applicable"
    assert claims.Printed("", {0: 0.0}, metric="none").judge(run).verdict == "not applicable"
    with pytest.raises(ValueError, match="values is empty"):
        claims.Printed("", {})


def test_theory_says_when_it_has_no_answer(run: Run, tmp_path: Path) -> None:
    limit = claims.StabilityLimit("", 0.0, 1.0)
    for change, why in (
        ({"loss": nn.L1Loss()}, "L1Loss is not"),
        ({"optimizer": partial(torch.optim.Adam, lr=0.1)}, "Adam is not SGD"),
        ({"loss": nn.MSELoss(reduction="sum")}, "not the mean squared error"),
        ({"optimizer": partial(torch.optim.SGD, lr=0.1, maximize=True)}, "no formula"),
    ):
        with replayed(run, 0, **change) as other:
            verdict = limit.judge(other)
        assert verdict.verdict == "not applicable"
        assert why in verdict.why
    assert claims.HessianEigenvalue("", 7, 0.0, 1.0).judge(run).verdict == "not applicable"
    assert claims.DistanceFrom("", 0, [1.0], 1.0).judge(run).verdict == "not applicable"
    batches = Run(run.folder, run.task, NoisyParabola(batch_size=10))
    assert "batches of 10 rows" in limit.judge(batches).why
    with replayed(run, 0, loss=nn.BCEWithLogitsLoss()) as other:
        assert "no exact minimiser" in claims.MinimumLoss("", 0.0, 1.0).judge(other).why


def test_figures_and_claims_leave_out_larger_nets(tmp_path: Path) -> None:
    data, task = xor(), small_task()
    trainer(tmp_path, 3).fit(task, datamodule=data)
    (folder,) = tmp_path.glob("run/version_*")
    run = Run(folder, task, data)
    for figure in (LossLandscapes(), Stability(), Lines()):
        with pytest.raises(NotApplicable):
            figure.draw(run)
    assert claims.MinimumLoss("", 0.0, 1.0).judge(run).verdict == "not applicable"


def test_a_landscape_panel_holds_path_and_minimum(run: Run) -> None:
    panels = LossLandscapes(grid=11, steps=100).panels(
        run, np.linspace(-5, 8, 11), ["linear.weight[0,0]", "linear.bias[0]"]
    )
    assert [p.name for p in panels] == ["MSE", "L1", "Huber", "SmoothL1"]
    x, y = (rows.numpy() for rows in run.data)
    # Column is w, row is b: the corner w = 8, b = -5 is the last column of the first row.
    assert panels[0].surface[0, -1] == pytest.approx(((8 * x - 5 - y) ** 2).mean())
    assert panels[1].surface[-1, 0] == pytest.approx(np.abs(-5 * x + 8 - y).mean())
    for panel, end in zip(panels, (0.4994412814, 0.6062493620, 0.3402713475), strict=False):
        assert panel.path.shape == (101, 2)
        assert panel.losses[1] == pytest.approx(end, abs=1e-10)
    assert np.array_equal(panels[2].path, panels[3].path)
    assert panels[0].minimum == pytest.approx([0.92582732, 2.48438425], abs=1e-8)
    decay = partial(torch.optim.SGD, lr=0.1, weight_decay=2.0)
    with replayed(run, 400, optimizer=decay) as other:
        panel = make_panel(other, "MSE", nn.MSELoss(), panels[0].surface)
    assert panel.decayed == pytest.approx(panel.path[-1], abs=1e-9)


def test_settings_out_of_range_are_errors_of_one_line() -> None:
    for make, message in (
        (lambda: LossLandscapes(low=3, high=3), "low has to be below high"),
        (lambda: LossLandscapes(grid=2), "grid is 2"),
        (lambda: LossLandscapes(steps=0), "steps is 0"),
        (lambda: Stability(momentum=1.0), "momentum is 1.0"),
        (lambda: Lines(count=1), "count is 1"),
        (lambda: claims.SameTraining("", most_steps=0), "most_steps is 0"),
        (lambda: Replay([], steps=-1), "steps is -1"),
        (lambda: Replay([claims.LossAt("a", 0, 0.0, 0.0, given={"x": 1})], 1), "own given"),
        (lambda: Replay([claims.LossAt("a", 0, 0.0, 0.0)] * 2, 1), "there twice"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            make()
        assert "\n" not in str(error.value)


def test_a_replay_that_does_not_apply_says_so(run: Run) -> None:
    replay = Replay(
        [claims.LossAt("end", 100, 0.4994412814, 1e-10)], 100, partial(torch.optim.SGD, lr=0.1)
    )
    assert replay.judge(run)[0].verdict == "holds"
    elsewhere = Replay(replay.claims, 1, given={"data.n": 50})
    assert elsewhere.judge(run)[0].verdict == "not applicable"
