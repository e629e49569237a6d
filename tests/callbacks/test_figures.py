from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import nn

from tests.claims.recorded import descent, recorded
from tests.conftest import Rows, cloud, equal, small_task, trainer
from toyml.callbacks import (
    AfterFit,
    AngleLaw,
    Bisector,
    Boundary,
    Curves,
    DescentLimit,
    Drawing,
    Figure,
    Oscillation,
    Parameters,
    RegularizedMinimum,
    SweepOfDecay,
    Verdicts,
)
from toyml.callbacks.references import all_lines
from toyml.claims import NotApplicable
from toyml.data import TwoPoints
from toyml.models import MLP, Linear
from toyml.run import Run
from toyml.tasks import Supervised
from toyml.views import boundary_view, weights_view

START = [-0.00529, 0.37932, -0.58198]


def sgd(**settings: Any) -> Any:
    return lambda parameters: torch.optim.SGD(parameters, **{"lr": 1.0, **settings})


def plain(folder: Path, steps: int = 200) -> Run:
    return recorded(folder, descent(START, steps, 1.0), optimizer=sgd())


def decayed(folder: Path, steps: int = 300, lr: float = 1.0, decay: float = 0.2) -> Run:
    path = descent(START, steps, lr, decay)
    return recorded(folder, path, optimizer=sgd(lr=lr, weight_decay=decay))


def texts(canvas: Canvas) -> str:
    canvas.draw_without_rendering()
    found = [ax.get_title(loc="left") for ax in canvas.axes]
    for ax in canvas.axes:
        found += ax.get_legend_handles_labels()[1]
    return "\n".join(found)


def heights(line: Line2D) -> NDArray[np.float64]:
    return np.asarray(line.get_ydata(), dtype=float)


class One(Figure):
    """A figure that does as it is told."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__("one")
        self.refuses = refuses

    def draw(self, run: Run) -> Drawing:
        if self.refuses:
            raise NotApplicable("nothing to see")
        canvas = Canvas()
        canvas.subplots().plot([0, 1])
        return Drawing(canvas, "One", "a caption", "an alt")


def test_a_figure_leaves_picture_vector_and_words(tmp_path: Path) -> None:
    run = plain(tmp_path, 3)
    One().finish(run)
    folder = tmp_path / "figures"
    assert sorted(p.name for p in folder.iterdir()) == ["one.json", "one.png", "one.svg"]
    assert (folder / "one.png").read_bytes()[1:4] == b"PNG"
    assert json.loads((folder / "one.json").read_text()) == {
        "title": "One",
        "caption": "a caption",
        "alt": "an alt",
    }
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    One().finish(run)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before, "not the same bytes"


def test_a_figure_that_no_longer_applies_takes_its_files_away(tmp_path: Path) -> None:
    run = plain(tmp_path, 3)
    One().finish(run)
    One(refuses=True).finish(run)
    folder = tmp_path / "figures"
    assert [p.name for p in folder.iterdir()] == ["one.json"]
    assert json.loads((folder / "one.json").read_text())["left_out"] == "nothing to see"


def test_figures_and_verdicts_do_not_change_the_training(tmp_path: Path) -> None:
    nets, states = [], []
    watchers = [Boundary(), Parameters(), Curves(), AngleLaw(), SweepOfDecay(), Oscillation()]
    for folder, callbacks in (("bare", []), ("watched", [*watchers, Verdicts([])])):
        task = small_task()
        maker = trainer(tmp_path / folder, 60, *callbacks)
        torch.manual_seed(7)
        maker.fit(task, datamodule=cloud(batch_size=5))
        nets.append(task.net)
        states.append(torch.get_rng_state())
    assert equal(*nets)
    assert torch.equal(*states)
    drawn = {p.stem for p in (tmp_path / "watched").rglob("figures/*.png")}
    assert drawn == {"boundary", "parameters", "curves"}


def test_drawing_leaves_the_net_as_it_is(tmp_path: Path) -> None:
    run = decayed(tmp_path)
    run.net.train()
    before = {k: v.clone() for k, v in run.net.state_dict().items()}
    for figure in (Boundary([RegularizedMinimum()]), Curves(), Oscillation(), SweepOfDecay()):
        figure.draw(run)
    assert run.net.training
    assert all(torch.equal(v, before[k]) for k, v in run.net.state_dict().items())
    assert all(p.grad is None for p in run.net.parameters())


def test_the_law_needs_no_number_from_the_config(tmp_path: Path) -> None:
    drawing = AngleLaw().draw(plain(tmp_path, 3000))
    assert "limit -42.5104°" in texts(drawing.canvas)
    assert "the bisector, 0°" in texts(drawing.canvas)
    measured, law = (heights(line)[-1] for line in drawing.canvas.axes[0].lines[:2])
    assert measured == pytest.approx(law, abs=0.01)
    assert "nothing fitted" in drawing.caption


def test_the_law_follows_other_points_and_directions(tmp_path: Path) -> None:
    x = [[0.5, 2.0], [1.0, -1.0]]
    run = recorded(
        tmp_path, descent(START, 5000, 0.5, x=x), data=TwoPoints(x), optimizer=sgd(lr=0.5)
    )
    for reference in (None, [0.0, 1.0]):
        lines = AngleLaw(reference).draw(run).canvas.axes[0].lines
        assert heights(lines[0])[-1] == pytest.approx(heights(lines[1])[-1], abs=0.05)


@pytest.mark.parametrize(
    ("figure", "settings", "why"),
    [
        (AngleLaw(), {"optimizer": sgd(weight_decay=0.1)}, "weight decay 0.1"),
        (AngleLaw(), {"optimizer": torch.optim.Adam}, "Adam is not gradient descent"),
        (AngleLaw(), {"optimizer": sgd(momentum=0.9)}, "momentum 0.9"),
        (AngleLaw(), {"data": Rows([[0.0], [1]], [[0.0], [1]])}, "points of the plane"),
        (AngleLaw(), {}, "more than 2 steps"),
        (SweepOfDecay(), {}, "no minimum"),
        (Oscillation(), {}, "no minimum"),
        (Oscillation(steps=2), {"optimizer": sgd(weight_decay=0.1), "steps": [0, 2, 4]}, "3 of"),
        (SweepOfDecay(), {"net": MLP([2, 1, 1]), "theta": np.ones((3, 5))}, "one affine map"),
    ],
)
def test_a_figure_says_why_it_is_left_out(
    tmp_path: Path, figure: Figure, settings: dict[str, Any], why: str
) -> None:
    theta = settings.pop("theta", np.ones((3, 3)))
    with pytest.raises(NotApplicable, match=why):
        figure.draw(recorded(tmp_path, theta, **settings))


def test_the_sweep_shows_threshold_limits_and_the_end(tmp_path: Path) -> None:
    drawing = SweepOfDecay(count=9).draw(decayed(tmp_path))
    assert "λ* = 0.227560" in texts(drawing.canvas)
    assert "plain descent, -42.51°" in texts(drawing.canvas)
    angles, distances = drawing.canvas.axes
    both, alone = (heights(line) for line in angles.lines[:2])
    assert (np.diff(both) > 0).all()
    assert both[0] > -42.5104
    assert np.abs(alone).max() < 1e-8
    worse, constant = (heights(line) for line in distances.lines[:2])
    assert worse[0] > 0 > worse[-1]
    assert constant.tolist() == pytest.approx([np.sqrt(5) / 2] * 9)
    star = next(line for line in angles.lines if line.get_label() == "this training, λ = 0.2")
    assert np.asarray(star.get_xydata())[0].tolist() == pytest.approx([0.2, -27.784261])


def test_a_sweep_of_equal_lines_does_not_magnify_rounding(tmp_path: Path) -> None:
    run = recorded(tmp_path, np.ones((3, 3)), data=TwoPoints(centered=True))
    run.task.optimizer = sgd(weight_decay=0.2)
    angles = SweepOfDecay(count=5).draw(run).canvas.axes[0]
    assert np.ptp(angles.get_ylim()) >= 2


def test_the_oscillation_names_wrong_steps_and_the_factor(tmp_path: Path) -> None:
    drawing = Oscillation().draw(decayed(tmp_path))
    assert "steps 1, 3, 5, 7, 9, 11 of the first 40" in drawing.caption
    assert "by -0.818988" in drawing.caption
    assert "swings around" in texts(drawing.canvas)
    measured, law = (heights(line) for line in drawing.canvas.axes[1].lines[:2])
    assert measured[60] == pytest.approx(law[60], rel=0.01)


def test_the_envelope_takes_the_slowest_direction(tmp_path: Path) -> None:
    path = descent(START, 1500, 1.0, 0.2, spare=True)
    run = recorded(tmp_path, path, optimizer=sgd(weight_decay=0.2), decay_bias=False)
    measured, law = (heights(line) for line in Oscillation().draw(run).canvas.axes[1].lines[:2])
    assert measured[150] == pytest.approx(law[150], rel=0.01)


@pytest.mark.parametrize(("lr", "kind"), [(0.3, "approaches"), (1.2, "never settles at")])
def test_other_rates_are_described_as_they_are(tmp_path: Path, lr: float, kind: str) -> None:
    assert kind in texts(Oscillation().draw(decayed(tmp_path, lr=lr)).canvas)


def test_references_are_those_of_the_run(tmp_path: Path) -> None:
    everything = [Bisector(), DescentLimit(), RegularizedMinimum()]
    names = ["perpendicular bisector", "limit of gradient descent"]
    assert list(all_lines(plain(tmp_path / "a"), everything)) == names
    names = ["perpendicular bisector", "exact minimum with weight decay"]
    assert list(all_lines(decayed(tmp_path / "b"), everything)) == names
    path = descent(START, 1500, 1.0, 0.2, spare=True)
    run = recorded(tmp_path / "c", path, optimizer=sgd(weight_decay=0.2), decay_bias=False)
    assert list(all_lines(run, everything)) == [" = ".join(names)]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_no_limit_or_minimum_is_drawn_that_theory_does_not_know(
    tmp_path: Path, optimizer: Any
) -> None:
    run = recorded(tmp_path, [START], optimizer=optimizer)
    assert all_lines(run, [DescentLimit(), RegularizedMinimum()]) == {}


def test_probability_and_logits_draw_the_same_boundary(tmp_path: Path) -> None:
    fields = []
    for loss, activation in ((nn.BCELoss(), nn.Sigmoid()), (nn.BCEWithLogitsLoss(), None)):
        torch.manual_seed(0)
        task = Supervised(Linear(2, 1, activation), loss, sgd())
        folder = tmp_path / type(loss).__name__
        trainer(folder, 101, precision="64-true").fit(task, datamodule=TwoPoints())
        (made,) = folder.glob("run/version_*")
        run = Run(made, task, TwoPoints())
        fields.append(boundary_view(run, most=12, logarithmic=True).field)
    assert np.abs(fields[0] - fields[1]).max() < 1e-12
    assert ((fields[0] > 0.5) == (fields[1] > 0.5)).all()


def test_constructors_refuse_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="at least 2 boundaries"):
        Boundary(count=1)
    with pytest.raises(ValueError, match="at least 1 parameter"):
        Parameters(most=0)
    with pytest.raises(ValueError, match="not both 0"):
        AngleLaw([0.0, 0.0])
    with pytest.raises(ValueError, match="positive and increasing"):
        SweepOfDecay(low=0.0)
    with pytest.raises(ValueError, match="at least 2 minima"):
        SweepOfDecay(count=1)
    with pytest.raises(ValueError, match="draw at least 2"):
        Oscillation(steps=1)


class Noting(AfterFit):
    """Keeps the Run it was given."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def finish(self, run: Run) -> None:
        self.runs.append(run)


def test_all_callbacks_of_a_fit_work_on_one_run(tmp_path: Path) -> None:
    callbacks = [Noting(), Noting()]
    trainer(tmp_path, 3, *callbacks).fit(small_task(), cloud())
    (first,), (second,) = (callback.runs for callback in callbacks)
    assert first is second
    assert first.trajectory.steps.tolist() == [0, 1, 2, 3]


def test_the_curve_of_every_parameter_has_its_own_name(tmp_path: Path) -> None:
    net = MLP([2, 3, 1])
    names = [f"hidden1.weight[{i},{j}]" for i in range(3) for j in range(2)]
    names += [*(f"hidden1.bias[{i}]" for i in range(3))]
    names += [*(f"output.weight[0,{j}]" for j in range(3)), "output.bias[0]"]
    theta = np.arange(1.0, 14) * np.array([[1.0], [2.0], [4.0]])
    run = recorded(tmp_path, theta, net=net)
    assert weights_view(run).names == tuple(names)
    drawing = Parameters(most=5).draw(run)
    top, bottom = drawing.canvas.axes[0], drawing.canvas.axes[2]
    drawn = {str(line.get_label()): heights(line).tolist() for line in top.lines}
    assert drawn == {names[i]: theta[:, i].tolist() for i in range(8, 13)}, "the farthest five"
    whole = {str(line.get_label()): heights(line) for line in bottom.lines}
    assert whole["all parameters"] == pytest.approx(np.linalg.norm(theta, axis=1))
    assert whole["hidden1.bias"] == pytest.approx(np.linalg.norm(theta[:, 6:9], axis=1))
    assert "the 5 that travel farthest of 13" in drawing.caption
    above, _, below, _ = Parameters().draw(run).canvas.axes
    assert [heights(line).tolist() for line in above.lines] == theta.T.tolist()
    colors = {str(line.get_label()): line.get_color() for line in above.lines}
    for line in below.lines[:-1]:
        assert line.get_color() == colors[str(line.get_label())], "one tensor has one color"
    assert below.lines[-1].get_label() == "all parameters"


@pytest.mark.parametrize(
    ("theta", "said"),
    [
        ([[0.0, 0, 0], [3, 4, 0]], "goes from 0 to 5. "),
        ([[3.0, 4, 0], [6, 8, 0]], "goes from 5 to 10, 2 times as large. "),
        ([[3.0, 4, 0], [6, 8, np.inf]], "is 5 at first and no finite number at step 1. "),
    ],
)
def test_the_growth_of_the_norm_is_a_number_where_there_is_one(
    tmp_path: Path, theta: Any, said: str
) -> None:
    caption = Parameters().draw(recorded(tmp_path, theta)).caption
    assert caption == f"The norm of all parameters together {said}Drawn are all 3."


def test_borders_of_several_classes_are_drawn_above_their_map(tmp_path: Path) -> None:
    theta = np.arange(1, 5.0)[:, None] * np.array([[1.0, 0, 0, 1, -1, -1]])
    data = Rows([[3.0, 2.0], [1.0, 2.0], [-1.0, -1.0]], np.eye(3))
    net = nn.Linear(2, 3, bias=False)
    run = recorded(tmp_path, theta, data=data, net=net, loss=nn.CrossEntropyLoss())
    drawing = Boundary(count=3).draw(run)
    above, below = drawing.canvas.axes[:2]
    # The border between the first two classes is where x1 = x2 and neither is behind the third.
    border = np.concatenate([p.vertices for c in above.collections[:1] for p in c.get_paths()])
    scores = np.sort(np.c_[border, -border.sum(1)], axis=1)
    assert np.abs(scores[:, 2] - scores[:, 1]).max() < 0.05
    assert below.get_images()
    said = texts(drawing.canvas).replace("\n", " ")
    assert "100 % of the rows are right" in said
    assert "class 2" in said
