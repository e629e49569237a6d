from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.quiver import Quiver

from tests.callbacks.test_figures import texts
from tests.views.test_forces import sgd, trained
from toyml.callbacks import Forces
from toyml.views import forces_view


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


@pytest.mark.parametrize("settings", [{"steps": 0}, {"arrows": 0}, {"grid": 2}])
def test_constructors_refuse_what_cannot_be_drawn(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is"):
        Forces(**settings)
