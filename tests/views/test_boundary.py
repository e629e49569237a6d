from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.claims.recorded import recorded
from tests.conftest import Rows
from toyml.claims import NotApplicable
from toyml.models import Linear
from toyml.run import Run
from toyml.views import (
    LossView,
    boundary_view,
    classes_view,
    fit_view,
    hidden_view,
    loss_view,
    rows_view,
    weights_view,
)

THETA = np.array([[0.0, 0.0, 0.0], [2.0, -1.0, 0.5]])
X, Y = [[3.0, 2.0], [1.0, 1.0]], [[1.0], [0.0]]


def plane(folder: Path, net: nn.Module | None = None, theta: np.ndarray = THETA) -> Run:
    """Two labelled points and a linear classifier at two steps."""
    net = net or Linear(2)
    return recorded(folder, theta, data=Rows(X, Y), net=net, loss=nn.BCEWithLogitsLoss())


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def test_the_field_is_the_probability_at_every_point(tmp_path: Path) -> None:
    view = boundary_view(plane(tmp_path), grid=5)
    across, up = np.meshgrid(view.xs, view.ys)
    assert view.steps.tolist() == [0, 1]
    assert np.abs(view.field[0] - 0.5).max() == 0
    assert np.abs(view.field[1] - sigmoid(2 * across - up + 0.5)).max() < 1e-14
    assert view.level == 0.5
    assert np.ptp(view.xs) == pytest.approx(np.ptp(view.ys))
    assert view.xs[0] < 1 < 3 < view.xs[-1]


def test_targets_that_are_no_classes_have_no_boundary(tmp_path: Path) -> None:
    run = recorded(tmp_path, THETA, data=Rows(X, [[0.3], [7.0]]), net=Linear(2), loss=nn.MSELoss())
    view = boundary_view(run)
    assert view.level is None
    assert view.quantity == "prediction"
    assert not rows_view(run).classes
    assert rows_view(run).accuracy is None


def test_another_number_of_inputs_is_another_picture(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="2 dimensions; a curve has 1"):
        fit_view(plane(tmp_path / "a"))
    line = recorded(tmp_path / "b", THETA[:, :2], data=Rows([[1.0], [2.0]], Y), net=Linear(1))
    with pytest.raises(NotApplicable, match="1 dimensions; a plane has 2"):
        boundary_view(line)


def test_several_outputs_are_refused(tmp_path: Path) -> None:
    net = nn.Linear(2, 2, bias=False)
    run = recorded(tmp_path, np.zeros((2, 4)), data=Rows(X, Y), net=net, loss=nn.MSELoss())
    with pytest.raises(NotApplicable, match="the net has 2 outputs"):
        boundary_view(run)


def test_the_curve_is_the_prediction_on_a_grid(tmp_path: Path) -> None:
    run = recorded(
        tmp_path, np.array([[1.0, 0.0], [2.0, -3.0]]), data=Rows([[5.0], [1.0]], Y), net=Linear(1)
    )
    view = fit_view(run, points=9)
    assert view.curves[1] == pytest.approx(2 * view.grid - 3)
    assert view.x.tolist() == [1.0, 5.0]
    assert view.y.tolist() == [0.0, 1.0]
    assert view.grid[0] < 1
    assert view.grid[-1] > 5


def test_rows_come_by_target_and_last_prediction(tmp_path: Path) -> None:
    x = [[0.0, 3.0], [5.0, 0.0], [1.0, 0.0], [4.0, 0.0]]
    y = [[1.0], [0.0], [0.0], [1.0]]
    theta = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]])
    run = recorded(tmp_path, theta, data=Rows(x, y), net=Linear(2), loss=nn.BCEWithLogitsLoss())
    view = rows_view(run)
    assert view.rows.tolist() == [2, 1, 0, 3]
    assert view.target.tolist() == [0, 0, 1, 1]
    assert view.prediction[1] == pytest.approx(sigmoid(np.array([1.0, 5.0, -3.0, 4.0])))
    assert view.accuracy is not None
    assert view.accuracy.tolist() == [0.5, 0.25]


def test_weights_are_the_record_and_the_farthest_of_many(tmp_path: Path) -> None:
    theta = np.array([[0.0, 5.0, 1.0], [3.0, 5.0, 0.5], [1.0, 5.0, np.nan]])
    view = weights_view(plane(tmp_path, theta=theta), parameters=2)
    assert view.total == 3
    assert view.names == ("linear.weight[0,0]", "linear.bias[0]")
    np.testing.assert_array_equal(view.values, theta[:, [0, 2]])


def test_the_loss_is_that_of_the_recorded_parameters(tmp_path: Path) -> None:
    view = loss_view(plane(tmp_path))
    exact = np.log1p(np.exp(-4.5)) / 2 + np.log1p(np.exp(1.5)) / 2
    assert view.loss == pytest.approx([np.log(2), exact], rel=1e-14)
    assert view.quantity == "BCEWithLogitsLoss"
    assert view.held_out is None


def test_a_net_without_hidden_layer_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="the net has no hidden layer"):
        hidden_view(plane(tmp_path))


def test_nothing_is_perturbed(tmp_path: Path) -> None:
    run = plane(tmp_path)
    before = {k: v.clone() for k, v in run.net.state_dict().items()}
    run.net.train()
    state = torch.get_rng_state()
    for view in (boundary_view, loss_view, rows_view, weights_view):
        view(run)
    assert torch.equal(torch.get_rng_state(), state)
    assert run.net.training
    assert all(torch.equal(before[k], v) for k, v in run.net.state_dict().items())


def several(folder: Path, y: list[list[float]], net: nn.Module | None = None) -> Run:
    net = net or nn.Linear(2, 3, bias=False)
    theta = np.array([[1.0, 0.0, 0.0, 1.0, -1.0, -1.0], [2.0, 0.0, 0.0, 2.0, np.nan, -2.0]])
    return recorded(folder, theta, data=Rows(X, y), net=net, loss=nn.MSELoss())


def test_the_winner_is_the_largest_output_and_leads_by_their_difference(tmp_path: Path) -> None:
    view = classes_view(several(tmp_path, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), grid=7)
    across, up = np.meshgrid(view.xs, view.ys)
    scores = np.sort(np.stack([across, up, -across - up], axis=-1), axis=-1)
    assert np.abs(view.lead[0] - (scores[..., 2] - scores[..., 1])).max() < 1e-12
    assert view.number == 3
    assert view.y.tolist() == [1, 0]
    assert view.accuracy[0] == 0.5  # (3, 2) is said to be class 0, (1, 1) too, which it is
    assert np.isnan(view.lead[1]).all()


@pytest.mark.parametrize(
    ("y", "why"),
    [
        ([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]], "not one class"),
        ([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]], "not one class"),
        ([[0.0], [1.0]], r"shapes \[2, 2\] and \[2, 1\]"),
        ([[0.0] * 7 + [1.0], [1.0] + [0.0] * 7], "8 classes, and colors for 7"),
    ],
)
def test_what_is_not_a_few_classes_has_no_map(
    y: list[list[float]], why: str, tmp_path: Path
) -> None:
    with pytest.raises(NotApplicable, match=why):
        classes_view(several(tmp_path, y))


def test_units_of_a_net_of_several_classes_are_seen(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3))
    theta = np.random.default_rng(0).normal(size=(4, 21))
    y = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    view = hidden_view(recorded(tmp_path, theta, data=Rows(X, y), net=net, loss=nn.MSELoss()))
    assert view.classes
    assert view.y.tolist() == [1, 2]
    assert view.plane is None
    assert view.lines is not None


SIGNED = [[1.0], [-1.0]]


@pytest.mark.parametrize("loss", [nn.SoftMarginLoss(), nn.MSELoss()])
def test_labels_of_both_signs_have_their_border_at_score_zero(
    loss: nn.Module, tmp_path: Path
) -> None:
    run = recorded(tmp_path, THETA, data=Rows(X, SIGNED), net=Linear(2), loss=loss)
    view = boundary_view(run, grid=5)
    assert view.level == 0
    assert view.names == ("class −1", "class 1")
    assert view.y.tolist() == [1, 0]
    low, high = view.limits
    assert low == -high
    rows = rows_view(run)
    assert rows.undecided == 0
    assert rows.target.tolist() == [-1, 1]
    assert rows.accuracy is not None
    assert rows.accuracy.tolist() == [0.5, 0.5]  # scores 0, 0, then 4.5 and 1.5


def test_a_loss_of_ones_own_says_where_it_is_undecided(tmp_path: Path) -> None:
    class Own(nn.MSELoss):
        undecided = 0.25

    run = recorded(tmp_path, THETA, data=Rows(X, Y), net=Linear(2), loss=Own())
    assert boundary_view(run, grid=5).level == 0.25
    assert boundary_view(run, grid=5).quantity == "score"


def test_a_loss_on_logits_of_several_labels_is_that_of_one(tmp_path: Path) -> None:
    views = []
    for i, loss in enumerate((nn.BCEWithLogitsLoss(), nn.MultiLabelSoftMarginLoss())):
        run = recorded(tmp_path / str(i), THETA, data=Rows(X, Y), net=Linear(2), loss=loss)
        views.append((boundary_view(run, grid=5), rows_view(run), run.losses([0, 1])))
    (a, rows, losses), (b, same, others) = views
    assert np.array_equal(a.field, b.field)
    assert (a.level, a.quantity, a.names) == (b.level, b.quantity, b.names)
    assert np.array_equal(rows.accuracy, same.accuracy)  # type: ignore[arg-type]
    assert losses == pytest.approx(others, rel=1e-12)


def test_the_plane_in_the_cube_lies_where_the_output_is_undecided(tmp_path: Path) -> None:
    """Of MSE on 0 and 1 the output is undecided at 1/2, of logits at 0."""
    theta = np.zeros((1, 13))
    theta[0, :9] = [1, 0, 0, 1, 1, 1, 0, 0, 0]
    theta[0, 9:12] = [0.0, 0.0, 1.0]  # the output is the third unit
    heights = []
    for i, loss in enumerate((nn.MSELoss(), nn.BCEWithLogitsLoss())):
        net = nn.Sequential(nn.Linear(2, 3), nn.Identity(), nn.Linear(3, 1))
        rows = Rows([[-3.0, 2.0], [1.0, 1.0]], [[0.0], [1.0]])
        view = hidden_view(recorded(tmp_path / str(i), theta, data=rows, net=net, loss=loss))
        assert view.plane is not None
        heights.append(np.unique(view.plane[0, :, 2]).tolist())
    assert heights == [[0.5], [0.0]]


@pytest.mark.parametrize("column", [False, True])
def test_numbers_of_classes_have_the_map_of_one_hot_rows(column: bool, tmp_path: Path) -> None:
    numbers = np.array([1, 0])
    found = []
    for i, y in enumerate((np.eye(3)[numbers], numbers[:, None] if column else numbers)):
        theta = np.array([[1.0, 0.0, 0.0, 1.0, -1.0, -1.0]])
        net = nn.Linear(2, 3, bias=False)
        data, loss = Rows(X, y), nn.CrossEntropyLoss()
        run = recorded(tmp_path / str(i), theta, data=data, net=net, loss=loss)
        found.append((classes_view(run, grid=7), run.losses([0])[0]))
    (a, first), (b, second) = found
    assert first == second
    assert all(np.array_equal(left, right) for left, right in zip(a, b, strict=True))
    with pytest.raises(NotApplicable, match="shapes"):
        boundary_view(run)


def test_words_of_a_loss_that_is_lost_name_its_last_number() -> None:
    steps, loss = np.arange(3), np.array([2.0, 8.0, np.nan])
    assert LossView(steps, loss, None, "MSELoss").words == (
        "from 2 at step 0 to 8 at step 1, the last one with a loss that can be drawn"
    )
    assert LossView(steps[:2], loss[:2], None, "").words == "from 2 at step 0 to 8 at step 1"
    assert "no finite loss" in LossView(steps, loss * np.nan, None, "").words
