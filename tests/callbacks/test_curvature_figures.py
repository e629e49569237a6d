from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.callbacks.test_figures import heights, texts
from tests.claims.recorded import descent, recorded
from toyml.callbacks import Curvature
from toyml.views import curvature_view

START = [-0.00529, 0.37932, -0.58198]
SGD = partial(torch.optim.SGD, lr=1.0, weight_decay=0.2)


def test_it_draws_the_view_and_says_where_the_limit_is_crossed(tmp_path: Path) -> None:
    run = recorded(tmp_path, descent(START, 300, 1.0, 0.2), optimizer=SGD)
    drawing = Curvature(most=50).draw(run)
    view = curvature_view(run, 50)
    ax = drawing.canvas.axes[0]
    assert heights(ax.lines[0]).tolist() == view.sharpness.tolist()
    assert view.limit is not None
    above = view.steps[view.sharpness >= view.limit]
    assert above.tolist() == [0, 2, 4]
    assert "in 3 stretches, first at step 0, last at step 4, and ends below it" in drawing.caption
    assert "ends at 1.819" in drawing.caption
    assert "limit 2 / lr" in texts(drawing.canvas)
    assert "above the limit" in drawing.alt
    assert ax.get_xscale() == "linear"


@pytest.mark.parametrize(("steps", "asked", "scale"), [(5000, None, "symlog"), (9, True, "symlog")])
def test_long_trainings_are_shown_in_logarithmic_time(
    tmp_path: Path, steps: int, asked: bool | None, scale: str
) -> None:
    run = recorded(tmp_path, np.ones((3, 3)), steps=[0, 5, steps], optimizer=SGD)
    assert Curvature(log_time=asked).draw(run).canvas.axes[0].get_xscale() == scale


def test_one_snapshot_is_no_curve() -> None:
    with pytest.raises(ValueError, match="most is 1; look at 2 snapshots or more"):
        Curvature(most=1)
