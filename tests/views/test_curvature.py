from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, OneCycleLR, ReduceLROnPlateau, StepLR

from tests.claims.recorded import descent, recorded
from tests.conftest import Rows
from toyml import theory
from toyml.claims import NotApplicable, SharpnessAt, StableAt
from toyml.models import MLP, Linear
from toyml.run import Run
from toyml.views import CurvatureView, curvature_view
from toyml.views.curvature import detail, headline, stretches

START = [-0.00529, 0.37932, -0.58198]
X = [[-1.0], [0.5], [2.0], [3.0]]
Y = [[1.0], [0.0], [2.0], [-1.0]]


def sgd(**settings: Any) -> Any:
    return partial(torch.optim.SGD, **{"lr": 0.1, **settings})


def line(folder: Path, optimizer: Any = None, loss: nn.Module | None = None, t: int = 6) -> Run:
    """A run of y = w x + b on four rows."""
    theta = np.random.default_rng(0).normal(size=(t, 2))
    return recorded(
        folder,
        theta,
        data=Rows(X, Y),
        net=Linear(1),
        loss=loss or nn.MSELoss(),
        optimizer=optimizer or sgd(),
    )


def quadratic() -> np.ndarray:
    """The Hessian of the mean squared error, by hand."""
    rows = np.c_[np.array(X), np.ones(4)]
    return 2 / 4 * rows.T @ rows


def test_of_a_quadratic_it_is_the_same_everywhere(tmp_path: Path) -> None:
    view = curvature_view(line(tmp_path))
    assert view.steps.tolist() == [0, 1, 2, 3, 4, 5]
    exact = np.linalg.eigvalsh(quadratic())
    assert np.abs(view.spectrum - exact).max() < 1e-13
    assert view.sharpness.tolist() == view.spectrum[:, -1].tolist()
    assert view.limit is not None
    assert view.limit.tolist() == pytest.approx([20.0] * 6)
    assert view.formula == "2 / lr"
    assert view.words.startswith("The sharpness stays below the limit 2 / lr = 20. ")


def test_weight_decay_adds_to_the_curvature(tmp_path: Path) -> None:
    view = curvature_view(line(tmp_path, sgd(weight_decay=0.7)))
    exact = np.linalg.eigvalsh(quadratic()) + 0.7
    assert np.abs(view.spectrum - exact).max() < 1e-13
    adamw = curvature_view(line(tmp_path / "w", partial(torch.optim.AdamW, weight_decay=0.7)))
    assert np.abs(adamw.spectrum - exact + 0.7).max() < 1e-13


def test_weight_decay_that_spares_the_bias(tmp_path: Path) -> None:
    path = descent(START, 5, 1.0, 0.2, spare=True)
    run = recorded(
        tmp_path,
        path,
        net=Linear(2),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=sgd(weight_decay=0.2),
        decay_bias=False,
    )
    x, y = (rows.double() for rows in run.data)
    for theta, found in zip(path, curvature_view(run).spectrum, strict=True):
        w, b = torch.tensor(theta[:2]), torch.tensor(theta[2])
        exact = theory.logistic_hessian(x, y[:, 0], w, b, 0.2, False)
        assert np.abs(found - torch.linalg.eigvalsh(exact).numpy()).max() < 1e-13


@pytest.mark.parametrize(
    ("settings", "limit", "formula"),
    [
        ({"lr": 0.25}, 8.0, "2 / lr"),
        ({"momentum": 0.9}, 38.0, "2 (1 + m) / lr"),
        ({"momentum": 0.9, "nesterov": True}, 38 / 2.8, "2 (1 + m) / ((1 + 2 m) lr)"),
        ({"momentum": 0.9, "dampening": 0.5}, 76.0, "2 (1 + m) / ((1 - d) lr)"),
        ({"dampening": 0.5}, 20.0, "2 / lr"),
    ],
)
def test_the_limit_is_that_of_the_optimizer_in_use(
    tmp_path: Path, settings: dict[str, Any], limit: float, formula: str
) -> None:
    view = curvature_view(line(tmp_path, sgd(**settings)))
    assert view.limit is not None
    assert view.limit.tolist() == pytest.approx([limit] * 6, rel=1e-14)
    assert view.formula == formula


@pytest.mark.parametrize("factor", [0.98, 1.02])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 3.0},
        {"momentum": 0.6},
        {"momentum": 0.6, "dampening": 0.3},
        {"momentum": 0.6, "nesterov": True, "weight_decay": 1.5},
    ],
)
def test_beyond_the_limit_the_training_diverges(
    tmp_path: Path, settings: dict[str, Any], factor: float
) -> None:
    """The rate at which limit and sharpness meet, times a factor, tried out."""
    view = curvature_view(line(tmp_path, sgd(lr=1.0, **settings)))
    assert view.limit is not None
    rate = factor * view.limit[0] / view.sharpness[0]
    theta = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=float(rate), **settings)
    hessian = torch.from_numpy(quadratic())
    for _ in range(2000):
        theta.grad = hessian @ theta.detach()
        optimizer.step()
    assert (float(theta.detach().norm()) < 1) == (factor < 1)


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        (lambda o: StepLR(o, 2, gamma=0.5), [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]),
        (lambda o: ExponentialLR(o, 0.5), [0.1 * 0.5**s for s in range(6)]),
        (lambda o: LambdaLR(o, lambda s: 1 / (1 + s)), [0.1 / (1 + s) for s in range(6)]),
    ],
)
def test_a_schedule_moves_the_limit(tmp_path: Path, scheduler: Any, rates: list[float]) -> None:
    run = line(tmp_path)
    run.task.lr_scheduler = scheduler
    view = curvature_view(run)
    assert view.limit is not None
    assert view.limit.tolist() == pytest.approx([2 / rate for rate in rates], rel=1e-12)
    assert "=" not in view.headline, "a limit that moves has no one value"


def test_a_schedule_may_move_the_momentum_too(tmp_path: Path) -> None:
    run = line(tmp_path, sgd(momentum=0.9))
    run.task.lr_scheduler = lambda o: OneCycleLR(o, max_lr=0.4, total_steps=10)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    scheduler = OneCycleLR(optimizer, max_lr=0.4, total_steps=10)
    expected = []
    for _ in range(6):
        group = optimizer.param_groups[0]
        expected.append(2 * (1 + group["momentum"]) / group["lr"])
        optimizer.step()
        scheduler.step()
    view = curvature_view(run)
    assert view.limit is not None
    assert view.limit.tolist() == pytest.approx(expected)
    assert len(set(expected)) > 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"optimizer": torch.optim.Adam}, "no limit on the sharpness is known for Adam"),
        ({"optimizer": sgd(maximize=True)}, "with maximize the training climbs"),
        ({"lr_scheduler": lambda o: ReduceLROnPlateau(o)}, "follows the loss"),
    ],
)
def test_without_a_limit_the_curvature_is_still_seen(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    run = line(tmp_path)
    for name, value in change.items():
        setattr(run.task, name, value)
    view = curvature_view(run)
    assert view.limit is None
    assert why in view.formula
    assert f"There is nothing to compare it with: {view.formula}" in view.words
    assert np.isfinite(view.sharpness).all()


@pytest.mark.parametrize(
    ("loss", "net", "words"),
    [
        (nn.L1Loss(), Linear(1), "L1's gradient jumps"),
        (nn.HuberLoss(), Linear(1), "HuberLoss is curved only for rows with a small residual"),
        (nn.MSELoss(), MLP([1, 2, 1], activation=nn.ReLU()), "ReLU bends where a unit switches"),
    ],
)
def test_it_says_what_a_hessian_does_not_see(
    tmp_path: Path, loss: nn.Module, net: nn.Module, words: str
) -> None:
    p = sum(q.numel() for q in net.parameters())
    run = recorded(tmp_path, np.ones((3, p)), data=Rows(X, Y), net=net, loss=loss, optimizer=sgd())
    view = curvature_view(run)
    assert words in view.words
    assert "jumps count as nothing" in view.words
    if isinstance(loss, nn.L1Loss):
        assert view.sharpness.tolist() == [0, 0, 0]


def test_smooth_nets_need_no_such_words(tmp_path: Path) -> None:
    assert "count as nothing" not in curvature_view(line(tmp_path)).words


def test_few_snapshots_of_a_large_net_are_looked_at(tmp_path: Path) -> None:
    net = MLP([1, 70, 1])
    theta = np.random.default_rng(1).normal(size=(60, sum(q.numel() for q in net.parameters())))
    run = recorded(tmp_path, theta, data=Rows(X, Y), net=net, loss=nn.MSELoss(), optimizer=sgd())
    steps = curvature_view(run).steps
    assert 10 < len(steps) <= 24
    assert steps[[0, -1]].tolist() == [0, 59]


def test_what_does_not_converge_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ArithmeticError("Lanczos left a residual")

    monkeypatch.setattr("toyml.measures.sharpness", fails)
    net = MLP([1, 70, 1])
    theta = np.ones((2, sum(q.numel() for q in net.parameters())))
    run = recorded(tmp_path, theta, data=Rows(X, Y), net=net, loss=nn.MSELoss(), optimizer=sgd())
    with pytest.raises(NotApplicable, match="Lanczos left a residual"):
        curvature_view(run)


def test_a_large_net_shows_its_largest_eigenvalue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = MLP([1, 70, 1])
    p = sum(q.numel() for q in net.parameters())
    assert p > 200
    theta = np.random.default_rng(1).normal(size=(2, p))
    optimizer = sgd(weight_decay=0.5)
    run = recorded(
        tmp_path, theta, data=Rows(X, Y), net=net, loss=nn.MSELoss(), optimizer=optimizer
    )
    view = curvature_view(run)
    assert view.spectrum.shape == (2, 1)
    flat = torch.from_numpy(theta[1])

    def height(flat: torch.Tensor) -> torch.Tensor:
        pieces, start = {}, 0
        for name, q in net.named_parameters():
            pieces[name] = flat[start : start + q.numel()].reshape(q.shape)
            start += q.numel()
        output = torch.func.functional_call(net, pieces, (torch.tensor(X).double(),))
        decay = 0.25 * flat.square().sum()
        return nn.functional.mse_loss(output, torch.tensor(Y).double()) + decay

    exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(height, flat))[-1]
    assert view.sharpness[1] == pytest.approx(float(exact), rel=1e-6)
    monkeypatch.setattr("toyml.claims.curvature.BASIS_NUMBERS", 1)  # one snapshot at a time
    again = curvature_view(Run(tmp_path, run.task, run.datamodule))
    np.testing.assert_allclose(again.sharpness, view.sharpness, rtol=1e-6)
    run.task.decay_bias = False
    with pytest.raises(NotApplicable, match="spares some of more than 200"):
        curvature_view(Run(tmp_path, run.task, run.datamodule))


def test_looking_disturbs_neither_parameters_nor_gradients(tmp_path: Path) -> None:
    run = line(tmp_path, sgd(momentum=0.9))
    run.task.lr_scheduler = lambda o: StepLR(o, 2)
    for p in run.net.parameters():
        p.grad = torch.ones_like(p)
    before = [p.detach().clone() for p in run.net.parameters()]
    state = torch.get_rng_state()
    curvature_view(run)
    assert all(torch.equal(p, q) for p, q in zip(run.net.parameters(), before, strict=True))
    assert all(p.grad is not None and (p.grad == 1).all() for p in run.net.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_batches_are_mentioned(tmp_path: Path) -> None:
    run = line(tmp_path)
    run.datamodule.batch_size = 2
    assert "The batches of 2 rows add noise" in curvature_view(run).words


SOME = "At the 3 of 101 steps looked at, the sharpness is"


@pytest.mark.parametrize(
    ("steps", "values", "words"),
    [
        (
            [0, 1, 2],
            [1.0, 1.9, 1.5],
            "The sharpness stays below the limit f = 2. It comes closest at step 1, with 1.9,",
        ),
        ([0, 10, 100], [1.0, 1.9, 1.5], f"{SOME} below the limit f = 2. It comes closest at"),
        (
            [0, 10, 100],
            [3.0, 1.0, 1.0],
            f"{SOME} above the limit f = 2 at step 0 and ends below it. At most, at step 0, it is",
        ),
        (
            [0, 10, 100],
            [1.0, 3.0, 3.0],
            f"{SOME} above the limit f = 2 from step 10 to 100 and ends above it.",
        ),
        (
            [5, 6, 7],
            [3.0, 3.0, 4.0],
            "The sharpness is above the limit f = 2 at every step. At most, at step 7, it is 2",
        ),
        ([0, 10, 100], [3.0, 3.0, 4.0], f"{SOME} above the limit f = 2. At most, at step 100,"),
        ([0, 1, 2], [1.0, 1.5, np.nan], "At the 2 of 3 steps looked at, the sharpness is below"),
    ],
)
def test_words_say_where(steps: list[int], values: list[float], words: str) -> None:
    shown = np.array(steps), np.array(values), np.full(3, 2.0), "f"
    assert f"{headline(*shown)}. {detail(*shown)}".startswith(words)


def test_what_has_no_limit_is_said_of_the_steps_looked_at(tmp_path: Path) -> None:
    shown = np.array([0, 10, 100]), np.array([1.0, 3.0, 2.0]), None, ""
    said = "At the 3 of 101 steps looked at, the sharpness goes from 1 to 2"
    assert headline(*shown) == said
    run = recorded(tmp_path, descent(START, 300, 1.0), optimizer=sgd(lr=1.0))
    view = curvature_view(run, most=24)
    assert len(view.steps) <= 24
    assert view.headline.startswith(f"At the {len(view.steps)} of 301 steps looked at, ")


def test_many_stretches_are_counted() -> None:
    inside = np.array([1, 0, 1, 1, 0, 1, 0], dtype=bool)
    words = stretches(np.arange(7), inside)
    assert words == "in 3 stretches, first at step 0, last at step 5,"


def test_nothing_finite_is_nothing_to_show(tmp_path: Path) -> None:
    run = recorded(tmp_path, np.full((2, 3), np.nan))
    with pytest.raises(NotApplicable, match="nowhere a finite number"):
        curvature_view(run)


def test_claims_read_the_same_numbers(tmp_path: Path) -> None:
    run = recorded(
        tmp_path, descent(START, 3000, 1.0, 0.2), optimizer=sgd(lr=1.0, weight_decay=0.2)
    )
    view: CurvatureView = curvature_view(run)
    claim = SharpnessAt("at the minimum", 1.818988, 1e-6)
    assert claim.judge(run).verdict == "holds"
    assert claim.measure(run) == view.sharpness[-1]
    assert SharpnessAt("at the start", float(view.sharpness[0]), 0.0, step=0).agrees(
        view.sharpness[0]
    )
    assert StableAt("stable").judge(run).verdict == "holds"
    run.task.optimizer = sgd(lr=1.2, weight_decay=0.2)
    verdict = StableAt("stable").judge(run)
    assert verdict.verdict == "fails"
    assert verdict.measured == "1.81899, and the limit is 1.66667"
    run.task.optimizer = torch.optim.Adam
    assert StableAt("stable").judge(run).verdict == "not applicable"
