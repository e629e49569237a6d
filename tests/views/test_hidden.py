from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.claims.recorded import recorded
from tests.conftest import Rows
from toyml.run import Run
from toyml.views import hidden_view
from toyml.views.hidden import polygon
from toyml.views.rows import some_of_each, spread

NUMBER = st.floats(-3, 3).filter(lambda v: abs(v) > 1e-3)


def net(h: int, d: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(d, h), nn.Sigmoid(), nn.Linear(h, 1))


def run(folder: Path, h: int, d: int = 2, t: int = 3) -> Run:
    p = d * h + h + h + 1
    theta = np.random.default_rng(0).normal(size=(t, p))
    x = np.random.default_rng(1).normal(size=(8, d))
    return recorded(
        folder,
        theta,
        data=Rows(x.tolist(), [[float(i % 2)] for i in range(8)]),
        net=net(h, d),
        loss=nn.BCEWithLogitsLoss(),
    )


def test_activations_lines_and_normals_are_those_of_the_first_layer(tmp_path: Path) -> None:
    made = run(tmp_path, 3)
    view = hidden_view(made)
    w = made.trajectory.parameters["0.weight"]
    b = made.trajectory.parameters["0.bias"]
    z = np.einsum("thd,nd->tnh", w, view.x) + b[:, None]
    assert np.abs(view.activations - 1 / (1 + np.exp(-z))).max() < 1e-14
    assert view.lines is not None
    on_line = np.einsum("thed,thd->the", view.lines, w) + b[:, :, None]
    assert np.nanmax(np.abs(on_line)) < 1e-12
    assert view.normals is not None
    assert np.linalg.norm(view.normals, axis=-1) == pytest.approx(np.ones((3, 3)))
    assert (np.einsum("thd,thd->th", view.normals, w) > 0).all()
    assert view.responses is None


def test_of_one_input_there_are_responses_instead_of_lines(tmp_path: Path) -> None:
    view = hidden_view(run(tmp_path, 2, d=1), points=11)
    assert view.lines is None
    assert view.grid is not None
    assert view.responses is not None
    assert view.responses.shape == (3, 11, 2)
    assert view.plane is None


def test_the_plane_of_three_units_is_where_the_output_is_zero(tmp_path: Path) -> None:
    made = run(tmp_path, 3, t=20)
    view = hidden_view(made)
    assert view.plane is not None
    v = made.trajectory.parameters["2.weight"][:, 0]
    c = made.trajectory.parameters["2.bias"][:, 0]
    raw = np.einsum("tcd,td->tc", view.plane, v) + c[:, None]
    assert np.isfinite(view.plane).any()
    assert np.nanmax(np.abs(raw)) < 1e-9


@given(st.tuples(NUMBER, NUMBER, NUMBER), st.floats(-4, 4))
def test_a_polygon_is_convex_in_the_plane_and_in_the_cube(
    v: tuple[float, float, float], c: float
) -> None:
    normal = np.array(v)
    corners = polygon(normal, c, np.zeros(3), np.ones(3))
    values = [normal @ np.array([a, b, d]) + c for a in (0, 1) for b in (0, 1) for d in (0, 1)]
    if np.isnan(corners).any():
        assert min(values) > -1e-6 or max(values) < 1e-6  # the plane misses the cube, or touches it
        return
    assert np.abs(corners @ normal + c).max() < 1e-9
    assert corners.min() >= -1e-9
    assert corners.max() <= 1 + 1e-9
    edges = np.roll(corners, -1, axis=0) - corners
    turns = np.cross(edges, np.roll(edges, -1, axis=0)) @ normal
    assert (turns >= -1e-9).all() or (turns <= 1e-9).all()


@given(st.integers(1, 500), st.integers(2, 50))
def test_spread_positions_are_few_increasing_and_reach_both_ends(n: int, most: int) -> None:
    found = spread(n, most)
    assert len(found) == min(n, most)
    assert (np.diff(found) > 0).all()
    assert found[0] == 0
    assert found[-1] == n - 1


def test_some_of_each_class_are_kept() -> None:
    import torch

    y = torch.cat([torch.zeros(900), torch.ones(100)])
    found = some_of_each(y, 100)
    assert (y[found] == 1).sum() == 10
    assert len(found) == 100
    assert some_of_each(torch.linspace(0, 1, 30), 10).tolist() == spread(30, 10).tolist()
