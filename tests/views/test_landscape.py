from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from tests.claims.recorded import descent, recorded
from tests.conftest import Rows
from toyml import measures
from toyml.claims import NotApplicable
from toyml.models import MLP, Linear
from toyml.run import Run
from toyml.views import (
    CurvaturePlane,
    FilterNormalizedPlane,
    LandscapeView,
    ParameterPlane,
    PlaneThrough,
    PrincipalPlane,
    RandomPlane,
    RunPlane,
    frames,
    landscape_view,
    line_view,
)
from toyml.views.landscape import drawn, window_of
from toyml.views.line import line_words

X = [[-1.0], [0.5], [2.0], [3.0]]
Y = [[1.0], [0.0], [2.0], [-1.0]]
SGD = partial(torch.optim.SGD, lr=0.1)
PLANES: list[RunPlane] = [
    PrincipalPlane(),
    RandomPlane(3),
    FilterNormalizedPlane(3),
    CurvaturePlane(),
    CurvaturePlane(4),
    PlaneThrough([0, 5, 11]),
    ParameterPlane("hidden1.weight[0,0]", "output.bias[0]"),
]


def net() -> MLP:
    return MLP([1, 2, 1], activation=nn.Tanh())


def curved(folder: Path, t: int = 12) -> Run:
    """A small net on a path that bends through its 7 parameters."""
    time = np.linspace(0, 1, t)[:, None]
    rng = np.random.default_rng(2)
    a, b, c = rng.normal(size=(3, 7))
    theta = a * time + b * time**2 + 0.3 * c * np.sin(5 * time)
    return recorded(folder, theta, data=Rows(X, Y), net=net(), loss=nn.MSELoss(), optimizer=SGD)


def line(folder: Path, theta: Any = None) -> Run:
    theta = np.random.default_rng(0).normal(size=(6, 2)) if theta is None else theta
    return recorded(folder, theta, data=Rows(X, Y), net=Linear(1), loss=nn.MSELoss(), optimizer=SGD)


def loss_at(run: Run, flat: np.ndarray, loss: nn.Module | None = None) -> float:
    """The loss at one point of parameter space, by one forward pass."""
    like = {name: torch.zeros(1, *shape) for name, shape in run.trajectory.shapes.items()}
    stack = measures.unflatten(torch.tensor(flat)[None], like)
    point = {name: p[0] for name, p in stack.items()}
    x, y = (rows.double() for rows in run.data)
    return float((loss or run.loss)(functional_call(run.net, point, (x,)), y))


def place(run: Run, plane: RunPlane, a: float, b: float) -> np.ndarray:
    """The parameters at a point of the plane."""
    flat = plane.lay(run, frames(run, 200))
    u, v = flat.rows().numpy()
    origin = measures.flatten({n: p[None] for n, p in flat.origin.items()})[0].numpy()
    return np.asarray(origin + a * u + b * v)


@pytest.mark.parametrize("plane", PLANES, ids=repr)
def test_grid_rows_and_columns_are_the_losses_at_those_places(
    tmp_path: Path, plane: RunPlane
) -> None:
    run = curved(tmp_path)
    view = landscape_view(run, plane, grid=5, losses=(nn.L1Loss(),))
    assert list(view.surfaces) == ["MSE", "L1"]
    for i, j in ((0, 0), (0, 4), (4, 1), (2, 3)):
        point = place(run, plane, view.a[j], view.b[i])
        assert view.surface[i, j] == pytest.approx(loss_at(run, point), rel=1e-12)
        exact = loss_at(run, point, nn.L1Loss())
        assert view.surfaces["L1"][i, j] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("plane", PLANES, ids=repr)
def test_the_path_is_the_nearest_point_and_its_heights_are_honest(
    tmp_path: Path, plane: RunPlane
) -> None:
    run = curved(tmp_path)
    view = landscape_view(run, plane, grid=5)
    theta = np.asarray(run.trajectory.parameters.flat)
    for s in (0, 3, 11):
        nearest = place(run, plane, *view.path[s])
        beside = theta[s] - nearest
        assert np.linalg.norm(beside) == pytest.approx(view.distance[s], abs=1e-12)
        for direction in plane.lay(run, frames(run, 200)).rows().numpy():
            assert abs(beside @ direction) < 1e-10 * np.linalg.norm(direction)
        assert view.true[s] == pytest.approx(loss_at(run, theta[s]), rel=1e-12)
        assert view.on_plane[s] == pytest.approx(loss_at(run, nearest), rel=1e-12)
    assert not view.whole
    assert view.words.startswith("This plane holds ")
    inside = (view.path > [view.a[0], view.b[0]]) & (view.path < [view.a[-1], view.b[-1]])
    assert inside.all(), "the window does not hold the path"


def test_two_parameters_are_their_own_plane(tmp_path: Path) -> None:
    run = line(tmp_path)
    view = landscape_view(run)
    assert view.names == ("linear.weight[0,0]", "linear.bias[0]")
    np.testing.assert_allclose(view.path, run.trajectory.parameters.flat, rtol=1e-15)
    assert view.whole
    assert view.explained == pytest.approx(1.0)
    x, y = np.c_[np.array(X), np.ones(4)], np.array(Y)[:, 0]
    assert view.minimum is not None
    np.testing.assert_allclose(view.minimum, np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-12)


def test_more_parameters_are_shown_on_the_principal_plane(tmp_path: Path) -> None:
    run = curved(tmp_path)
    view = landscape_view(run, grid=5)
    assert view.names[0].startswith("principal component 1")
    theta = np.asarray(run.trajectory.parameters.flat)
    singular = np.linalg.svd(theta - theta.mean(0), compute_uv=False)
    best = (singular[:2] ** 2).sum() / (singular**2).sum()
    assert view.explained == pytest.approx(best, rel=1e-12)
    for plane in (RandomPlane(), PlaneThrough([0, 5, 11])):
        assert landscape_view(run, plane, grid=5).explained < best
    assert view.minimum is None


def test_equal_planes_are_one_view(tmp_path: Path) -> None:
    run = curved(tmp_path)
    view = landscape_view(run, RandomPlane(1), grid=5)
    assert landscape_view(run, RandomPlane(seed=1), grid=5) is view
    assert landscape_view(run, RandomPlane(2), grid=5) is not view
    assert RandomPlane(1) != FilterNormalizedPlane(1)
    assert repr(RandomPlane(1)) == "RandomPlane(seed=1)"


def test_a_random_plane_is_shown_as_far_as_the_net_is_long(tmp_path: Path) -> None:
    run = curved(tmp_path)
    length = np.linalg.norm(run.trajectory.parameters.flat[-1])
    for plane, reach in ((RandomPlane(), length), (FilterNormalizedPlane(), 1.0)):
        view = landscape_view(run, plane, grid=5)
        assert view.a[0] < -reach < reach < view.a[-1]
        assert view.b[0] < -reach < reach < view.b[-1]


@pytest.mark.parametrize(
    ("plane", "why"),
    [
        (ParameterPlane("weight", "nothing"), "no scalar parameter"),
        (PlaneThrough([0, 1, 99]), "needs step 99; the run has 11 steps"),
        (CurvaturePlane(50), "needs step 50"),
    ],
)
def test_a_plane_that_does_not_exist(tmp_path: Path, plane: RunPlane, why: str) -> None:
    with pytest.raises(NotApplicable, match=why):
        landscape_view(curved(tmp_path), plane)


def test_a_path_that_stands_still_has_no_principal_plane(tmp_path: Path) -> None:
    run = recorded(
        tmp_path, np.ones((4, 7)), data=Rows(X, Y), net=net(), loss=nn.MSELoss(), optimizer=SGD
    )
    with pytest.raises(NotApplicable, match="all alike, have no direction"):
        landscape_view(run)
    assert landscape_view(run, RandomPlane(), grid=5).surface.shape == (5, 5)


def test_three_different_steps_span_a_plane() -> None:
    for steps in ([0, 1], [0, 1, 1], [0, 1, 2, 3]):
        with pytest.raises(ValueError, match="give three different ones"):
            PlaneThrough(steps)


def test_what_ran_away_does_not_stretch_the_window(tmp_path: Path) -> None:
    theta = np.concatenate([np.random.default_rng(0).normal(size=(20, 2)), [[200.0, -100.0]]])
    view = landscape_view(line(tmp_path, theta), grid=5)
    assert abs(view.a).max() < 20
    assert view.path[-1].tolist() == [200.0, -100.0]


@pytest.mark.parametrize("plane", [None, RandomPlane(), FilterNormalizedPlane(), CurvaturePlane(1)])
def test_a_path_ends_where_its_parameters_are_no_longer_finite(
    tmp_path: Path, plane: RunPlane | None
) -> None:
    theta = descent([0.0, 0.3, -0.5], 9, 1.0)
    theta[-2:] = np.nan
    run = recorded(tmp_path, theta, optimizer=SGD)
    view = landscape_view(run, plane, grid=5)
    assert view.steps.tolist() == list(range(8))
    assert np.isfinite(view.path).all()
    assert np.isfinite(view.surface).all()
    lost = recorded(tmp_path / "lost", np.full((3, 3), np.nan), optimizer=SGD)
    with pytest.raises(NotApplicable, match="no step with finite parameters"):
        landscape_view(lost, plane)


def test_windows_hold_the_path_and_are_not_flat() -> None:
    points = np.array([[0.0, 5.0], [100.0, 5.0]])
    (left, right), (bottom, top) = window_of(points, np.ones(2), 0.0)
    assert left < 0 < 100 < right
    assert top - bottom == pytest.approx(0.35 * (right - left))
    assert window_of(np.zeros((1, 2)), np.ones(1), 0.0)[0] == pytest.approx((-0.27, 0.27), abs=0.01)
    assert window_of(np.full((2, 2), np.nan), np.ones(2), 2.0)[0][1] > 2


def test_a_window_can_be_asked_for(tmp_path: Path) -> None:
    view = landscape_view(line(tmp_path), grid=3, window=((-5.0, 8.0), (0.0, 1.0)))
    assert view.a.tolist() == [-5, 1.5, 8]
    assert view.b.tolist() == [0, 0.5, 1]


def test_a_longer_path_is_thinned_the_record_is_not(tmp_path: Path) -> None:
    path = descent([0.0, 0.3, -0.5], 900, 1.0)
    run = recorded(tmp_path, path, optimizer=SGD)
    view: LandscapeView = landscape_view(run, grid=3, most=40)
    assert len(view.steps) <= 40
    assert view.steps[[0, -1]].tolist() == [0, 900]
    assert len(run.trajectory) == 901


def test_losses_on_a_line_are_those_between_the_snapshots(tmp_path: Path) -> None:
    run = curved(tmp_path)
    view = line_view(run, first=2, second=9, grid=7, reach=0.5, losses=(nn.L1Loss(),))
    start, end = np.asarray(run.trajectory.parameters.flat)[[2, 9]]
    assert view.at[[0, -1]].tolist() == [-0.5, 1.5]
    for i in (0, 2, 6):
        point = start + view.at[i] * (end - start)
        assert view.losses["MSE"][i] == pytest.approx(loss_at(run, point), rel=1e-12)
        assert view.losses["L1"][i] == pytest.approx(loss_at(run, point, nn.L1Loss()), rel=1e-12)
    assert view.distance == pytest.approx(np.linalg.norm(end - start))
    assert view.ends == ("step 2", "step 9")
    between = [loss_at(run, start + t * (end - start)) for t in np.linspace(0, 1, 7)]
    chord = np.linspace(between[0], between[-1], 7)
    assert view.barrier == pytest.approx((between - chord).max(), rel=1e-9, abs=1e-15)


def test_a_line_may_lead_to_another_run(tmp_path: Path) -> None:
    run, other = curved(tmp_path / "version_0"), curved(tmp_path / "version_1", t=20)
    view = line_view(run, 3, other=other, grid=3, reach=0.0)
    assert view.ends == ("step 3", "step 19 of version_1")
    exact = loss_at(run, np.asarray(other.trajectory.parameters.flat[-1]))
    assert view.losses["MSE"][-1] == pytest.approx(exact, rel=1e-12)
    with pytest.raises(NotApplicable, match="other names or shapes"):
        line_view(run, other=line(tmp_path / "line"))
    with pytest.raises(NotApplicable, match=r"no line from step 3 to step 3: 0\.0 apart"):
        line_view(run, 3, 3)
    with pytest.raises(NotApplicable, match="needs step 44"):
        line_view(run, 44)


def test_a_quadratic_has_no_barrier(tmp_path: Path) -> None:
    view = line_view(line(tmp_path))
    assert view.barrier == 0
    assert view.words.endswith("the straight line meets no barrier.")


def test_a_line_to_another_run_joins_the_two_ends(tmp_path: Path) -> None:
    # One weight, loss (w^2 - 1)^2 by hand: the ends of both runs are the two minima.
    class Well(nn.Module):
        def forward(self, output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return ((output**2 - y) ** 2).mean()

    runs = []
    for name, path in (("version_0", [0.3, 0.9, 1.1]), ("version_1", [-0.2, -1.0])):
        net = nn.Linear(1, 1, bias=False)
        data = Rows([[1.0]], [[1.0]])
        theta = np.array(path)[:, None]
        runs.append(recorded(tmp_path / name, theta, data=data, net=net, loss=Well()))
    view = line_view(runs[0], other=runs[1])
    assert view.ends == ("step 2", "step 1 of version_1")
    w = 1.1 - 2.1 * np.linspace(0, 1, 201)
    loss, chord = (w**2 - 1) ** 2, np.linspace(0.0441, 0, 201)
    assert view.barrier == pytest.approx((loss - chord).max())
    assert f"meets a barrier of {view.barrier:.4g}. That is the most by which" in view.words
    assert "it rises 0.9559 above the higher end." in view.words
    assert line_view(runs[0]).ends == ("step 0", "step 2")


def test_words_tell_a_barrier_from_none() -> None:
    names = ("step 0", "step 9")
    words = line_words(names, 2.0, 1.0, 0.7, 2.0)
    assert "meets a barrier of 0.7. " in words
    assert words.endswith("it nowhere rises above the higher end.")
    assert "it rises 0.5 above the higher end" in line_words(names, 2.0, 1.0, 0.7, 2.5)
    assert "meets no barrier" in line_words(names, 2.0, 1.0, 1.9e-9, 2.0), "rounding"
    assert "not finite" in line_words(names, 2.0, 1.0, float("nan"), float("nan"))


def test_words_say_with_how_many_steps_the_path_is_drawn(tmp_path: Path) -> None:
    run = curved(tmp_path, t=50)
    assert "of 50 steps" not in landscape_view(run, grid=3).words
    view = landscape_view(run, grid=3, most=10)
    assert view.words.endswith(f" The path is drawn with {len(view.steps)} of 50 steps.")


def test_the_path_of_what_diverges_ends_where_its_beginning_can_still_be_seen(
    tmp_path: Path,
) -> None:
    growing = 30.0 ** np.arange(16)[:, None] * np.array([[1.0, -1.0]])
    data = Rows([[1.0], [2.0]], [[0.0], [0.0]])
    run = recorded(tmp_path, growing, data=data, net=Linear(1), loss=nn.MSELoss())
    view = landscape_view(run, grid=9)
    # Each step makes the loss 900 times as large: 810,000 after two, and too much after three.
    assert view.steps.tolist() == [0, 1, 2]
    assert "drawn up to step 2: then the loss is more than a million times" in view.words
    assert drawn(run, 200)[0].tolist() == [0, 1, 2]
    wild = growing * np.where(np.arange(16) == 0, 1.0, 1e20)[:, None]
    run = recorded(tmp_path / "at once", wild, data=data, net=Linear(1), loss=nn.MSELoss())
    assert drawn(run, 200)[0].tolist() == [0, 1]


def test_a_loss_that_begins_at_zero_leaves_nothing_out(tmp_path: Path) -> None:
    theta = np.arange(5.0)[:, None] * np.array([[1.0, -1.0]])
    data = Rows([[1.0], [2.0]], [[0.0], [0.0]])
    run = recorded(tmp_path, theta, data=data, net=Linear(1), loss=nn.MSELoss())
    assert drawn(run, 200) == (pytest.approx(np.arange(5)), "")
