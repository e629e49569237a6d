from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.quiver import Quiver
from torch import nn

from tests.callbacks.test_figures import texts
from tests.claims.recorded import recorded
from tests.conftest import Rows
from tests.views.test_forces import sgd, trained
from toyml.callbacks import Forces, stage
from toyml.claims.replay import replayed
from toyml.models import Linear
from toyml.views import forces_view, landscape_view


def arrows(drawing: Any) -> dict[str, Quiver]:
    return {
        str(a.get_label()): a for a in drawing.canvas.axes[0].collections if isinstance(a, Quiver)
    }


def test_arrows_are_the_parts_and_their_sum(tmp_path: Path) -> None:
    run = trained(tmp_path, sgd(momentum=0.9, nesterov=True, weight_decay=0.3))
    drawing = Forces(arrows=4, grid=5).draw(run)
    found = arrows(drawing)
    names = ["gradient", "weight decay", "momentum", "look-ahead", "the step"]
    assert list(found) == names
    parts = [np.c_[np.asarray(found[n].U), np.asarray(found[n].V)] for n in names]
    assert len(parts[0]) <= 4
    np.testing.assert_allclose(np.sum(parts[:-1], axis=0), parts[-1], atol=1e-9)
    view = forces_view(run)
    assert view.words in drawing.caption
    sizes = drawing.canvas.axes[1]
    assert [line.get_label() for line in sizes.lines] == names
    gradient = np.asarray(sizes.lines[0].get_ydata(), dtype=float)
    assert gradient == pytest.approx(np.linalg.norm(view.components["gradient"], axis=1))
    assert "momentum 0.9, Nesterov, weight decay 0.3" in drawing.title


def test_another_optimizer_is_trained_for_the_picture(tmp_path: Path) -> None:
    run = trained(tmp_path, sgd(), steps=12)
    before = np.array(run.trajectory.parameters.flat)
    other = partial(torch.optim.SGD, lr=0.05, momentum=0.9, dampening=0.5)
    drawing = Forces(optimizer=other, steps=7, grid=5).draw(run)
    assert set(arrows(drawing)) == {"gradient", "momentum", "dampening", "the step"}
    assert "over 6 steps" in drawing.alt
    np.testing.assert_array_equal(before, run.trajectory.parameters.flat)
    assert "What adds up to the step, at steps 0" in texts(drawing.canvas).replace("\n", " ")


def test_the_arrows_of_what_diverges_lie_on_the_plane_of_their_background(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "data": Rows([[1.0, 2], [0, 1], [3, -1], [-2, 0.5]], [[1.0], [0], [2], [-1]]),
        "net": Linear(2),
        "loss": nn.MSELoss(),
        "optimizer": sgd(lr=1.0, momentum=0.1),
    }
    start = recorded(tmp_path / "start", [[3.0, -2.0, 1.0]], **settings)
    with replayed(start, 40) as other:
        theta = np.array(other.trajectory.parameters.flat)
    run = recorded(tmp_path / "made", theta, **settings)
    view = landscape_view(run)
    assert 2 < len(view.steps) < len(theta), "the path ends long before the training"
    found = arrows(Forces(grid=5).draw(run))["the step"]
    feet, tips = np.asarray(found.get_offsets()), np.c_[found.U, found.V]
    assert len(feet) > 2
    for foot, tip in zip(feet, tips, strict=True):
        place = int(np.flatnonzero((view.path == foot).all(axis=1))[0])
        if place + 1 < len(view.path):
            way = view.path[place + 1] - foot
            assert tip / np.linalg.norm(tip) == pytest.approx(way / np.linalg.norm(way))
    shown = stage.arrows(run, view)
    assert shown is not None
    steps = np.diff(view.path, axis=0)
    assert shown.vectors["the step"][: len(steps)] == pytest.approx(steps)


@pytest.mark.parametrize("settings", [{"steps": 0}, {"arrows": 0}, {"grid": 2}])
def test_constructors_refuse_what_cannot_be_drawn(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is"):
        Forces(**settings)
