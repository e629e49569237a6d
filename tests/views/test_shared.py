from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.claims.recorded import recorded
from tests.conftest import Rows
from toyml import measures
from toyml.claims import NotApplicable
from toyml.models import Linear
from toyml.run import Run
from toyml.views.shared import shared_landscape_views


def walk(folder: Path, d: int, seed: int, t: int = 12) -> Run:
    """A random walk of a linear model on rows of its own."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(5, d))
    return recorded(
        folder,
        random.normal(size=(t, d + 1)).cumsum(axis=0),
        data=Rows(rows.tolist(), rows.sum(axis=1, keepdims=True).tolist()),
        net=Linear(d),
        loss=nn.MSELoss(),
    )


def test_two_parameters_are_their_own_axes(tmp_path: Path) -> None:
    runs = {name: walk(tmp_path / name, 1, i) for i, name in enumerate("ab")}
    found = shared_landscape_views(runs, grid=7)
    assert list(found) == ["a", "b"]
    first, second = found.values()
    assert first.names == ("linear.weight[0,0]", "linear.bias[0]")
    for name, view in found.items():
        assert view.path == pytest.approx(runs[name].trajectory.parameters.flat)
        assert view.a.tolist() == first.a.tolist()
        assert view.surface is first.surface or (view.surface == first.surface).all()
        assert view.a[0] < view.path[:, 0].min()
        assert view.a[-1] > view.path[:, 0].max()
    x, y = (rows.double().numpy() for rows in runs["a"].data)
    direct = np.mean((first.a[3] * x + first.b[5] - y) ** 2)
    assert second.surface[5, 3] == pytest.approx(direct, rel=1e-12)


def test_more_parameters_share_the_principal_plane_of_all_paths(tmp_path: Path) -> None:
    runs = {name: walk(tmp_path / name, 3, i) for i, name in enumerate("ab")}
    found = shared_landscape_views(runs, grid=5)
    every = np.concatenate([run.trajectory.parameters.flat for run in runs.values()])
    values = np.linalg.svd(every - every.mean(axis=0), compute_uv=False)
    coordinates = np.concatenate([view.path for view in found.values()])
    spread = np.linalg.norm(coordinates - coordinates.mean(axis=0), axis=0)
    assert spread == pytest.approx(values[:2], rel=1e-9)
    for name, view in found.items():
        run = runs[name]
        x, y = run.data
        own = measures.losses(run.net, run.loss, run.trajectory.select(), x, y)
        assert view.true == pytest.approx(own.numpy(), rel=1e-12)
        assert torch.tensor(view.distance).max() > 0


def test_runs_of_other_nets_are_left_out(tmp_path: Path) -> None:
    runs = {
        "a": walk(tmp_path / "a", 1, 0),
        "b": walk(tmp_path / "b", 3, 1),
        "c": walk(tmp_path / "c", 1, 2),
    }
    assert list(shared_landscape_views(runs, grid=3)) == ["a", "c"]
    with pytest.raises(NotApplicable, match="no other run has the parameters of the first"):
        shared_landscape_views({"a": runs["a"], "b": runs["b"]})
