from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from tests.callbacks.test_figures import heights, texts
from tests.views.test_landscape import curved, line
from toyml.callbacks import Figure, Landscape, LossLine
from toyml.callbacks.landscape_figures import first_sentence
from toyml.views import PlaneThrough, RandomPlane, landscape_view, line_view


def test_beside_the_path_stand_true_heights_and_distance(tmp_path: Path) -> None:
    run = curved(tmp_path)
    drawing = Landscape(RandomPlane(), grid=7).draw(run)
    view = landscape_view(run, RandomPlane(), 7)
    _surface, _bar, losses, away = drawing.canvas.axes
    assert heights(losses.lines[0]).tolist() == view.true.tolist()
    assert heights(losses.lines[1]).tolist() == view.on_plane.tolist()
    assert heights(away.lines[0]) == pytest.approx(100 * view.distance / view.extent)
    first, rest = view.words.split(". ", 1)
    said = texts(drawing.canvas).replace("\n", " ")
    assert first in said
    assert rest.rstrip(".") in said
    assert view.words in drawing.caption
    assert view.words in drawing.alt
    assert "the path's projection" in said


@pytest.mark.parametrize("plane", [None, RandomPlane()])
def test_what_is_not_to_be_believed_is_dotted(tmp_path: Path, plane: RandomPlane | None) -> None:
    run = curved(tmp_path)
    view = landscape_view(run, plane, 7)
    error = np.abs(view.on_plane - view.true) / np.maximum(view.true, 0.01 * np.ptp(view.true))
    assert view.wrong.tolist() == (error > 0.1).tolist()
    said = texts(Landscape(plane, grid=7).draw(run).canvas)
    assert ("here the heights are not the path's" in said) == view.wrong.any()
    assert ("read no heights" in view.words) == view.wrong.any()


def test_a_path_in_the_plane_needs_no_proof(tmp_path: Path) -> None:
    drawing = Landscape(grid=7).draw(line(tmp_path))
    assert len(drawing.canvas.axes) == 2, "the picture and its color bar"
    assert "minimum\npath of the training" in texts(drawing.canvas)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_losses_share_axes_and_levels(tmp_path: Path, count: int) -> None:
    losses = [nn.L1Loss(), nn.HuberLoss(), nn.SmoothL1Loss()][:count]
    run = curved(tmp_path)
    drawing = Landscape(losses=losses, grid=7).draw(run)
    panels = drawing.canvas.axes[: count + 1]
    levels = {tuple(ax.collections[0].levels) for ax in panels}  # type: ignore[attr-defined]
    assert len(levels) == 1
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    titles = [ax.get_title(loc="left").replace("\n", " ") for ax in panels]
    assert titles[0] == f"MSE. {first_sentence(landscape_view(run, None, 7).words)}"
    assert titles[1:] == ["L1", "Huber", "SmoothL1"][:count]
    assert len(drawing.canvas.axes) == count + 4, "two panels beside, one color bar"


def test_the_window_of_the_settings_is_drawn(tmp_path: Path) -> None:
    ax = Landscape(window=[-5, 8, -4, 3], grid=5).draw(line(tmp_path)).canvas.axes[0]
    assert ax.get_xlim() == (-5, 8)
    assert ax.get_ylim() == (-4, 3)


def test_the_line_marks_its_ends(tmp_path: Path) -> None:
    run, other = curved(tmp_path / "version_0"), curved(tmp_path / "version_1", t=20)
    drawing = LossLine(first=2, other=str(other.folder), losses=[nn.L1Loss()]).draw(run)
    view = line_view(run, 2, other=other)
    (ax,) = drawing.canvas.axes
    assert heights(ax.lines[0]).tolist() == view.losses["MSE"].tolist()
    names = ["MSE", "L1", "step 2", "step 19 of version_1"]
    assert ax.get_legend_handles_labels()[1] == names
    marks = {line.get_label(): np.asarray(line.get_xydata())[0] for line in ax.lines[2:]}
    start = np.interp(0, view.at, view.losses["MSE"])
    assert marks["step 2"].tolist() == pytest.approx([0, start])
    assert view.words in drawing.caption


@pytest.mark.parametrize(
    ("make", "settings", "why"),
    [
        (Landscape, {"window": [1, 0, 0, 1]}, "window is"),
        (Landscape, {"window": [0, 1]}, "window is"),
        (Landscape, {"grid": 2}, "grid is 2"),
        (Landscape, {"most": 1}, "most is 1"),
        (LossLine, {"grid": 2}, "grid is 2"),
        (LossLine, {"reach": -0.5}, r"reach is -0\.5"),
    ],
)
def test_constructors_refuse_what_cannot_be_drawn(
    make: type[Figure], settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        make(**settings)


def test_planes_come_from_configs_by_class_path() -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--figure", type=Figure)
    given = {
        "class_path": "toyml.callbacks.Landscape",
        "init_args": {
            "plane": {"class_path": "toyml.views.PlaneThrough", "init_args": {"steps": [0, 5, 9]}}
        },
    }
    built = parser.instantiate_classes(parser.parse_object({"figure": given})).figure
    assert built.plane == PlaneThrough([0, 5, 9])
