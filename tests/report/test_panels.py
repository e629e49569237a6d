"""Every panel is a figure that Plotly takes, at the first, a middle and the last step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from matplotlib.figure import Figure as Canvas
from torch import nn

from tests.claims.recorded import recorded
from tests.conftest import Rows
from toyml.callbacks.stage import arrows, early, scene, see_to_patience
from toyml.claims import NotApplicable
from toyml.cli.compare import OF_RUNS
from toyml.models import Linear
from toyml.palette import FORCES, INK, LINES, REFERENCES, UNITS
from toyml.plots import STYLE, plot_overlay
from toyml.plots.forces import FORCE_COLORS
from toyml.report import Page, render
from toyml.report.packing import Levels
from toyml.report.panels.landscape import (
    DECADES,
    LONGEST,
    Arrows,
    Ground,
    force_color,
    landscape_panel,
    noise,
)
from toyml.report.panels.layout import log_axis
from toyml.report.panels.trust import by_height, trust_plot, verdicts
from toyml.report.scene import Panel, Plot, Scene, Verdict, moved
from toyml.report.theme import DARK, LIGHT, painted, run_token
from toyml.run import Run
from toyml.views import forces_view, hidden_view, landscape_view
from toyml.views.landscape import MARGIN

UNSAFE = {"scattergl", "splom", "parcoords", "scatterpolargl"}
"""Traces whose shaders are made by evaluating text, which the page's policy forbids."""


def mlp(d: int, h: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d, h), nn.Sigmoid(), nn.Linear(h, 1))


def run(
    folder: Path, net: nn.Module, d: int, t: int = 30, classes: bool = True, n: int = 12
) -> Run:
    """A random walk of a net's parameters over random rows."""
    random = np.random.default_rng(0)
    p = sum(parameter.numel() for parameter in net.parameters())
    x = random.normal(size=(n, d))
    y = np.arange(n)[:, None] % 2 if classes else random.normal(size=(n, 1))
    return recorded(
        folder / "run" / "version_0",
        random.normal(size=(t, p)).cumsum(axis=0),
        data=Rows(x.tolist(), y.astype(float).tolist()),
        net=net,
        loss=nn.BCEWithLogitsLoss() if classes else nn.MSELoss(),
    )


CASES: Mapping[str, Any] = {
    "a line in the plane": lambda f: run(f, Linear(2), 2),
    "a surface over the plane": lambda f: run(f, Linear(2), 2, classes=False),
    "three units in the plane": lambda f: run(f, mlp(2, 3), 2),
    "two units in the plane": lambda f: run(f, mlp(2, 2), 2),
    "one unit in the plane": lambda f: run(f, mlp(2, 1), 2),
    "seven units in the plane": lambda f: run(f, mlp(2, 7), 2),
    "a curve": lambda f: run(f, Linear(1), 1, classes=False),
    "a curve of four units": lambda f: run(f, mlp(1, 4), 1, classes=False),
    "rows of four inputs": lambda f: run(f, Linear(4), 4),
    "many rows of four inputs": lambda f: run(f, mlp(4, 3), 4, classes=False, n=900),
    "a single step": lambda f: run(f, Linear(2), 2, t=2),
    "only the start": lambda f: run(f, Linear(2), 2, t=1),
}


def plain(value: Any) -> Any:
    """Numbers where the page has packed levels."""
    if isinstance(value, Levels):
        return value.values()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def figure(plot: Plot, step: int, theme: Mapping[str, Any]) -> go.Figure:
    """The plot at a step as Plotly's own class, which refuses what Plotly does not know."""
    data = painted(plain(list(plot.data)), theme)
    for column in plot.columns:
        chosen = plot.choices[column.choice].chosen
        data[column.trace][column.attribute] = column.values[:, chosen]
    for trace, attribute, values in moved(plot, step):
        data[trace][attribute] = values
    return go.Figure({"data": data, "layout": painted(plot.layout, theme)})


def tokens(value: Any) -> list[str]:
    """Names of colors that no theme knows."""
    return re.findall(r'"(@[^"]*)"', value.to_json())


def panels(made: Scene | None) -> Mapping[str, Panel]:
    assert made is not None
    return {panel.name: panel for panel in made.panels}


@pytest.mark.parametrize("case", CASES)
def test_plotly_takes_every_panel(case: str, tmp_path: Path) -> None:
    made = scene({"run": CASES[case](tmp_path)})
    assert made is not None
    assert {"loss", "weights"} <= set(panels(made))
    for panel in made.panels:
        assert panel.alt
        assert panel.caption
        for plot in panel.plots:
            assert {trace["type"] for trace in plot.data}.isdisjoint(UNSAFE)
            for step in made.steps[[0, len(made.steps) // 2, -1]]:
                for theme in (LIGHT, DARK):
                    found = figure(plot, int(step), theme)
                    assert len(found.data) == len(plot.data)
                    assert tokens(found) == []


@pytest.mark.parametrize(
    ("case", "wanted"),
    {
        "a line in the plane": {"boundary", "loss", "weights", "curvature"},
        "three units in the plane": {"boundary", "hidden", "loss", "weights", "curvature"},
        "a curve of four units": {"fit", "hidden", "loss", "weights", "curvature"},
        "rows of four inputs": {"rows", "loss", "weights", "curvature"},
    }.items(),
)
def test_each_kind_of_net_has_its_panels(case: str, wanted: set[str], tmp_path: Path) -> None:
    assert set(panels(scene({"run": CASES[case](tmp_path)}))) >= wanted


def test_units_are_drawn_by_how_many_there_are(tmp_path: Path) -> None:
    for h, kind, labels in (
        (1, "scatter", ["Lines", "Space"]),
        (2, "scatter", ["Lines", "Space"]),
        (3, "scatter3d", ["Lines", "Space"]),
        (7, "scatter3d", ["Lines", "Space"]),
    ):
        made = scene({"run": run(tmp_path / str(h), mlp(2, h), 2)})
        plots = panels(made)["hidden"].plots
        assert [plot.label for plot in plots] == labels
        space = plots[-1]
        assert {trace["type"] for trace in space.data} - {"mesh3d"} == {kind}
        assert any(t["type"] == "mesh3d" for t in space.data) == (h == 3)
        assert [len(choice.options) for choice in space.choices] == (
            [h] * min(h, 3) if h > 1 else []
        )


def test_the_units_of_several_runs_are_shown_one_run_at_a_time(tmp_path: Path) -> None:
    runs = {"a": run(tmp_path / "a", mlp(2, 3), 2), "b": run(tmp_path / "b", mlp(2, 2), 2, t=7)}
    panel = panels(scene(runs))["hidden"]
    assert [p.label for p in panel.plots] == ["a: lines", "a: space", "b: lines", "b: space"]
    assert "3 hidden units of a, 2 hidden units of b" in panel.alt
    (alone,) = (panels(scene({"b": runs["b"]}))["hidden"],)
    for mine, theirs in zip(panel.plots[2:], alone.plots, strict=True):
        assert figure(mine, 4, LIGHT) == figure(theirs, 4, LIGHT)


def three_classes(folder: Path) -> Run:
    """A linear net whose output c is x1, x2 or -x1 - x2, times the step."""
    turns = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    theta = np.arange(5.0)[:, None] * turns.reshape(1, 6)
    x = np.array([[2.0, 0.1], [0.3, 2.0], [-1.5, -1.0], [1.0, 1.5]])
    data = Rows(x, np.eye(3)[[0, 1, 2, 0]])
    net = nn.Linear(2, 3, bias=False)
    return recorded(folder, theta, data=data, net=net, loss=nn.CrossEntropyLoss())


def test_of_several_classes_the_largest_output_has_its_color(tmp_path: Path) -> None:
    made = scene({"run": three_classes(tmp_path)})
    panel = panels(made)["boundary"]
    (plot,) = panel.plots
    field, *clouds = figure(plot, 4, LIGHT).data
    across, up = np.meshgrid(field.x, field.y)
    scores = np.stack([across, up, -across - up], axis=-1)
    assert (np.asarray(field.customdata).round() == scores.argmax(-1)).mean() > 0.999
    # z is in [c, c + 1) for class c, and nearer to c the surer the net is.
    assert (np.floor(np.asarray(field.z)) == scores.argmax(-1)).mean() > 0.999
    sure, unsure = (np.abs(across - ax) + np.abs(up - ay) for ax, ay in ((2, -1), (1.2, 1.1)))
    assert np.asarray(field.z).ravel()[sure.argmin()] < 0.1
    assert np.asarray(field.z).ravel()[unsure.argmin()] > 0.5
    assert [cloud.name for cloud in clouds] == ["class 0", "class 1", "class 2"]
    assert len({cloud.marker.color for cloud in clouds}) == 3
    assert len({cloud.marker.symbol for cloud in clouds}) == 3
    (accuracy,) = panel.readings
    assert list(accuracy.values)[1:] == [0.75] * 4
    figure(plot, 0, DARK)


def test_maps_of_several_runs_are_shown_one_at_a_time(tmp_path: Path) -> None:
    panel = panels(scene({n: three_classes(tmp_path / n) for n in "ab"}))["boundary"]
    assert [plot.label for plot in panel.plots] == ["a", "b"]
    assert [reading.label for reading in panel.readings] == ["accuracy, a", "accuracy, b"]


def test_colors_of_classes_increase_from_0_to_1() -> None:
    for k in range(2, 8):
        for theme in (LIGHT, DARK):
            places = [stop[0] for stop in theme[f"@classes{k}"]]
            assert places[0] == 0
            assert places[-1] == 1
            assert places == sorted(places)
            assert len(places) == 2 * k


def test_of_many_units_those_that_differ_most_can_be_chosen(tmp_path: Path) -> None:
    net = mlp(2, 30)
    theta = np.random.default_rng(0).normal(size=(5, 121))
    theta[:, :60:2] *= np.arange(30) / 30  # unit 1 sees nothing, and those after it little
    theta[:, 1:60:2] *= np.arange(30) / 30
    x = np.random.default_rng(1).normal(size=(20, 2))
    rows = Rows(x, (x[:, :1] > 0).astype(float))
    made = recorded(tmp_path, theta, data=rows, net=net, loss=nn.BCEWithLogitsLoss())
    panel = panels(scene({"run": made}))["hidden"]
    lines, space = panel.plots
    assert not any(t["showlegend"] for t in lines.data)
    names = space.choices[0].options
    assert len(names) == 24
    assert "unit 1" not in names
    assert "unit 30" in names
    view = hidden_view(made)
    chosen = int(names[2].removeprefix("unit ")) - 1
    shown = np.concatenate([t.z for t in figure(space, 4, LIGHT).data])
    assert sorted(shown) == pytest.approx(sorted(view.activations[4, :, chosen]), abs=1e-4)
    assert "24 units" in panel.caption


def test_what_a_panel_shows_is_what_was_recorded(tmp_path: Path) -> None:
    made = run(tmp_path, Linear(2), 2)
    parameters = made.trajectory.parameters.flat
    over, now = panels(scene({"run": made}))["weights"].plots
    for step in (0, 13, 29):
        assert figure(now, step, LIGHT).data[0].y == pytest.approx(parameters[step].tolist())
        assert figure(over, step, LIGHT).data[-1].x == pytest.approx([step] * 3)
        assert figure(over, step, LIGHT).data[-1].y == pytest.approx(parameters[step].tolist())
    boundary = panels(scene({"run": made}))["boundary"].plots[0]
    shown = figure(boundary, 13, LIGHT).data[0]
    w1, w2, b = parameters[13]
    z = w1 * np.asarray(shown.x)[None] + w2 * np.asarray(shown.y)[:, None] + b
    assert np.abs(np.asarray(shown.z) - 1 / (1 + np.exp(-z))).max() < 1e-5


def test_several_runs_share_axes_and_each_has_its_color(tmp_path: Path) -> None:
    runs = {
        "a/version_0": run(tmp_path / "a", Linear(2), 2),
        "b/version_0": run(tmp_path / "b", Linear(2), 2, t=7),
    }
    made = scene(runs)
    assert made is not None
    assert made.runs == {"a/version_0": 29, "b/version_0": 6}
    assert set(made.losses) == set(runs)
    for name in ("boundary", "loss", "weights"):
        plot = panels(made)[name].plots[0]
        named = [trace for trace in plot.data if trace.get("name") in runs]
        colors = [trace["line"]["color"] for trace in named]
        assert colors == ["@run0", "@run1"], name
        figure(plot, 3, DARK)
    weights = panels(made)["weights"].plots[0]
    # After its last step a run holds there.
    at = figure(weights, 20, LIGHT)
    assert at.data[3].x == pytest.approx([6])
    assert at.data[2].x == pytest.approx([20])


def test_a_run_has_one_color_on_the_whole_page(tmp_path: Path) -> None:
    nets = {"a": mlp(2, 3), "b": Linear(2), "c": Linear(2), "d": mlp(2, 3)}
    runs = {name: run(tmp_path / name, net, 2) for name, net in nets.items()}
    made = scene(runs)
    assert made is not None
    wanted = {name: f"@run{place}" for place, name in enumerate(runs)}
    seen = {}
    for panel in made.panels:
        for plot in panel.plots:
            for trace in plot.data:
                if trace.get("name") in runs:
                    assert trace["line"]["color"] == wanted[trace["name"]], panel.name
                    seen.setdefault(panel.name, set()).add(trace["name"])
    assert seen["loss"] == set(runs)
    assert seen["landscape"] == {"a", "d"}, "only those of the first one's shape"
    points = [t for t in panels(made)["boundary"].plots[0].data if t.get("mode") == "markers"]
    assert {t["marker"]["color"] for t in points} == {"@muted"}, "colors are those of runs"
    # The figures beside the panels take the same.
    assert [OF_RUNS.color(place) for place in range(8)] == [LIGHT[run_token(p)] for p in range(8)]
    curve = {name: ([0, 1], [1, 2]) for name in ("b", "d")}
    lines = plot_overlay(Canvas().subplots(), curve, quantity="", order=list(runs), style=OF_RUNS)
    assert [line.get_color() for line in lines] == [LIGHT[wanted[name]] for name in ("b", "d")]


def test_no_color_of_the_plane_has_two_meanings() -> None:
    classes, ink = {0, 1}, LINES.index(INK)
    assert not {*REFERENCES, *UNITS} & {*classes, ink}
    assert len({STYLE.beside_classes(unit) for unit in range(16)}) == 16
    assert not {STYLE.beside_classes(unit)[0] for unit in range(40)} & {*STYLE.class_colors, INK}
    assert {STYLE.palette[place] for place in range(2)} == set(STYLE.class_colors)
    path = LINES.index(STYLE.highlight)
    assert not {path, ink} & set(FORCES.values())
    assert [force_color(name) for name in FORCES] == [f"@line{p}" for p in FORCES.values()]
    assert {**{n: LIGHT[force_color(n)] for n in FORCES}, "the step": INK} == FORCE_COLORS


def test_runs_of_other_nets_share_what_they_can(tmp_path: Path) -> None:
    made = scene({"a": run(tmp_path / "a", Linear(2), 2), "b": run(tmp_path / "b", mlp(2, 3), 2)})
    assert {"boundary", "loss"} <= set(panels(made))
    assert made is not None
    assert any("parameters" in why for why in made.left_out.values())


def test_a_name_is_never_markup(tmp_path: Path) -> None:
    nasty = "<a href='https://example.org'>run</a></script><script>alert(1)</script>"
    runs = {nasty: run(tmp_path / "a", Linear(2), 2), "b": run(tmp_path / "b", Linear(2), 2)}
    made = scene(runs)
    assert made is not None
    for panel in made.panels:
        for plot in panel.plots:
            assert "<a href" not in figure(plot, 3, LIGHT).to_json().replace("\\u003c", "<")
    page = render(Page("t", "q", scene=made))
    assert "alert(1)</script>" not in page
    assert page.count("<script") == page.count("</script>") == 4


def test_a_run_without_a_step_has_no_scene(tmp_path: Path) -> None:
    empty = recorded(tmp_path, np.zeros((0, 3)))
    assert scene({"run": empty}) is None


def test_time_is_logarithmic_where_the_loss_falls_early(tmp_path: Path) -> None:
    t = np.arange(1000.0)
    fast = np.c_[10 * np.exp(-t / 10), np.zeros(1000)]
    slow = np.c_[10 - t / 100, np.zeros(1000)]
    for theta, wanted in ((fast, True), (slow, False)):
        made = recorded(
            tmp_path / str(wanted),
            theta,
            data=Rows([[1.0], [2.0]], [[0.0], [0.0]]),
            net=Linear(1),
            loss=nn.MSELoss(),
        )
        assert early({"a": made}, made.trajectory.steps) == wanted


def test_ticks_of_a_logarithmic_axis_are_few_and_readable() -> None:
    assert log_axis(np.array([0.02, 0.7]))["ticktext"][:4] == ["0.01", "0.02", "0.05", "0.1"]
    wide = log_axis(np.array([1e-9, 1.0]))
    assert 4 <= len(wide["tickvals"]) <= 12
    assert "10<sup>−9</sup>" in wide["ticktext"]
    assert log_axis(np.array([0.0, np.nan, 1e-6, 1e6]))["range"][0] < -6


def test_a_landscape_shows_the_loss_the_path_and_the_truth_about_both(tmp_path: Path) -> None:
    made = run(tmp_path, mlp(2, 3), 2)
    panel = panels(scene({"run": made}))["landscape"]
    labels = [plot.label for plot in panel.plots]
    assert labels[:3] == ["Plane", "3-D", "Trust"]
    view = landscape_view(made)
    flat = figure(panel.plots[0], 13, LIGHT)
    assert np.abs(np.asarray(flat.data[0].customdata) - view.surface).max() < 1e-3
    for here, there in zip(by_height(view), flat.data[2:4], strict=True):
        assert there.x == pytest.approx(here[:14, 0], nan_ok=True)
    assert flat.data[5].x == pytest.approx(view.path[13:14, 0])
    truth = figure(panel.plots[2], 13, LIGHT)
    away = 100 * view.distance / view.extent
    for place, values in enumerate((view.true, view.on_plane, away)):
        assert truth.data[place].y == pytest.approx(values)
        assert truth.data[place + 3].x == pytest.approx([13])
        assert truth.data[place + 3].y == pytest.approx(values[13:14])
    assert [trace.yaxis for trace in truth.data] == ["y", "y", "y3"] * 2
    assert panel.verdicts == [Verdict(view.words, doubt=bool(view.wrong.any()))]
    assert view.words in panel.alt
    assert [reading.label for reading in panel.readings] == [
        "loss",
        "height in the picture",
        "off the plane",
    ]


def test_the_path_is_dotted_where_its_heights_are_wrong(tmp_path: Path) -> None:
    view = landscape_view(run(tmp_path, mlp(2, 3), 2))
    true = view.on_plane.copy()
    true[[4, 9, 10]] *= 2
    view = view._replace(true=true, words="Far.")
    assert np.flatnonzero(view.wrong).tolist() == [4, 9, 10]
    panel = landscape_panel({"run": view})
    assert panel.verdicts == [Verdict("Far.", doubt=True)]
    assert "dotted" in panel.caption
    right, wrong = figure(panel.plots[0], 9, LIGHT).data[2:4]
    assert np.flatnonzero(np.isnan(right.x)).tolist() == [4, 9]
    assert np.flatnonzero(np.isfinite(wrong.y)).tolist() == [3, 4, 5, 8, 9]
    assert wrong.line.dash == "dot"
    assert wrong.showlegend


def test_verdicts_name_the_runs_that_share_them(tmp_path: Path) -> None:
    view = landscape_view(run(tmp_path, mlp(2, 3), 2))
    far = view._replace(true=2 * view.on_plane, words="Far.")
    near = view._replace(true=view.on_plane, words="Near.")
    assert verdicts({"a": near, "b": far, "c": near}) == [
        Verdict("a, c: Near."),
        Verdict("b: Far.", doubt=True),
    ]
    assert verdicts({"a": near}) == [Verdict("Near.")]
    plot = trust_plot({"a": near, "b": far})
    assert [t["line"]["color"] for t in plot.data[:6]] == ["@run0"] * 3 + ["@run1"] * 3
    assert [t["showlegend"] for t in plot.data[:6]] == [True, False, False] * 2
    assert figure(plot, 5, DARK).data[9].y == pytest.approx(far.true[5:6])


def test_steps_that_are_all_rounding_have_no_arrow(tmp_path: Path) -> None:
    made = descended(tmp_path, lr=0.05)
    forces = forces_view(made)
    sizes = np.linalg.norm(forces.step, axis=1)
    arrows = Arrows(forces._replace(residual=0.05 * sizes[-1] / sizes.max()), {"the step": STEP})
    assert not noise(arrows).any()
    arrows = Arrows(forces._replace(residual=0.11 * sizes[-1] / sizes.max()), {"the step": STEP})
    assert noise(arrows).tolist() == [False, False, True]
    panel = landscape_panel({"run": landscape_view(made)}, arrows)
    assert "rounding" in panel.caption
    drawn = [t.x for step in (1, 2) for t in figure(panel.plots[0], step, LIGHT).data[-1:]]
    assert np.isfinite(drawn[0]).all()
    assert np.isnan(drawn[1]).tolist() == [False, True]  # its foot alone


STEP = np.array([[3.0, 1.0], [2.0, 1.0], [1.0, 1.0]])


def test_the_ground_is_the_loss_on_a_scale_that_shows_the_valley(tmp_path: Path) -> None:
    ground = Ground(2.0, 100.0)
    losses = np.array([2.0, 2.0 + 100 * 10**-1.4, 102.0, np.nan])
    assert ground.scaled(losses)[:3] == pytest.approx([-DECADES, -1.4, 0.0])
    assert np.isnan(ground.scaled(losses)[3])
    ticks = ground.ticks()
    assert ticks["ticktext"][0] == "2"
    assert ticks["ticktext"][-1] == "102"


def descended(folder: Path, steps: int = 3, **settings: float) -> Run:
    """Some exact steps of SGD on the mean squared error of two rows."""
    data = Rows([[1.0], [2.0]], [[0.0], [3.0]])
    net = Linear(1).double()
    optimizer = torch.optim.SGD(net.parameters(), **settings)
    x, y = (torch.tensor(rows, dtype=torch.float64) for rows in ([[1.0], [2.0]], [[0.0], [3.0]]))
    path = []
    for _ in range(steps + 1):
        path.append(torch.cat([p.detach().flatten() for p in net.parameters()]).numpy().copy())
        optimizer.zero_grad()
        nn.MSELoss()(net(x), y).backward()
        optimizer.step()
    made = partial(torch.optim.SGD, **settings)
    loss = nn.MSELoss()
    return recorded(folder, np.array(path), data=data, net=Linear(1), loss=loss, optimizer=made)


def test_arrows_of_a_step_add_up_and_the_longest_has_its_length(tmp_path: Path) -> None:
    made = descended(tmp_path, lr=0.05, momentum=0.9, weight_decay=0.3)
    panel = panels(scene({"run": made}))["landscape"]
    assert [plot.label for plot in panel.plots] == ["Plane", "3-D", "Forces"]
    found = figure(panel.plots[0], 1, LIGHT)
    headed = [t for t in found.data if t.type == "scatter" and t.mode == "lines+markers"]
    arrows = {t.name: np.array([t.x, t.y]) for t in headed}
    assert set(arrows) == {"gradient", "momentum", "weight decay", "the step"}
    vectors = {name: ends[:, 1] - ends[:, 0] for name, ends in arrows.items()}
    step = vectors.pop("the step")
    assert sum(vectors.values()) == pytest.approx(step)
    taken = np.diff(made.trajectory.parameters.flat, axis=0)[1]
    assert step / np.linalg.norm(step) == pytest.approx(taken / np.linalg.norm(taken))
    view = landscape_view(made)
    sizes = [np.hypot(v[0] / np.ptp(view.a), v[1] / np.ptp(view.b)) for v in vectors.values()]
    assert max(*sizes, np.hypot(*(step / [np.ptp(view.a), np.ptp(view.b)]))) == pytest.approx(
        LONGEST
    )
    assert LONGEST < MARGIN, "an arrow from the edge of the path would be cut off"


def test_a_step_of_the_gradient_alone_has_one_arrow(tmp_path: Path) -> None:
    panel = panels(scene({"run": descended(tmp_path, lr=0.05)}))["landscape"]
    assert [plot.label for plot in panel.plots] == ["Plane", "3-D"]
    arrows = [t for t in panel.plots[0].data if t.get("mode") == "lines+markers"]
    assert [arrow["name"] for arrow in arrows] == ["the step"]


def test_arrows_are_there_however_long_the_run_until_they_take_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = descended(tmp_path, steps=700, lr=0.05, momentum=0.5)
    found = arrows(made, landscape_view(made))
    assert found is not None
    assert found.forces.steps[-1] == 699
    monkeypatch.setattr("toyml.callbacks.stage.MOST_GRADIENTS", 1000)
    assert arrows(made, landscape_view(made)) is None
    made.config = {"trainer": {"callbacks": [{"class_path": "toyml.callbacks.Forces"}]}}
    assert arrows(made, landscape_view(made)) is not None


def test_arrows_end_with_the_path_of_what_diverges(tmp_path: Path) -> None:
    made = descended(tmp_path, steps=60, lr=2.0, momentum=0.5)
    view = landscape_view(made)
    assert 1 < view.steps[-1] < 20
    panel = panels(scene({"run": made}))["landscape"]
    found = figure(panel.plots[0], 60, LIGHT)
    headed = [t for t in found.data if t.type == "scatter" and t.mode == "lines+markers"]
    assert headed
    for arrow in headed:
        assert [arrow.x[0], arrow.y[0]] == pytest.approx(view.path[-1])


def test_several_paths_lie_on_one_ground(tmp_path: Path) -> None:
    runs = {
        "plain": descended(tmp_path / "a", lr=0.05),
        "momentum": descended(tmp_path / "b", lr=0.05, momentum=0.9),
    }
    panel = panels(scene(runs))["landscape"]
    found = figure(panel.plots[0], 2, LIGHT)
    named = {t.name: np.array([t.x, t.y]).T for t in found.data if t.name in runs}
    for name, path in named.items():
        assert path == pytest.approx(runs[name].trajectory.parameters.flat[:3])
    assert sum(t.type == "contour" for t in found.data) == 1


class Own(pl.LightningModule):
    """A module of somebody's own, with neither net nor loss in sight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)


class Broken(nn.Module):
    """A net that can no longer be evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("nobody knows why")


def test_of_a_module_of_ones_own_there_are_weights_and_the_logged_loss(tmp_path: Path) -> None:
    theta = np.random.default_rng(0).normal(size=(5, 3))
    made = recorded(tmp_path, theta, net=nn.Linear(2, 1))
    run = Run(tmp_path, Own(), made.datamodule)
    (tmp_path / "metrics.csv").write_text("step,loss\n0,3.0\n4,1.0\n")
    found = scene({"own": run})
    assert set(panels(found)) >= {"weights", "loss"}
    assert panels(found)["loss"].plots[0].data[0]["y"].tolist() == [3.0, 1.0]


def test_what_cannot_be_shown_says_why_and_the_rest_lives(tmp_path: Path) -> None:
    made = recorded(tmp_path, np.zeros((3, 2)), net=Broken())
    found = scene({"broken": made})
    assert set(panels(found)) == {"weights"}
    assert found is not None
    assert set(found.left_out) == {
        "The plane of the inputs",
        "What the hidden units do",
        "The landscape",
        "The loss",
        "The curvature",
    }
    assert "nobody knows why" in found.left_out["The curvature"]


def test_nothing_is_left_out_by_mistake(tmp_path: Path) -> None:
    found = scene({"run": run(tmp_path, mlp(2, 3), 2)})
    assert found is not None
    assert found.left_out == {}


def test_what_takes_long_is_drawn_only_where_it_was_asked_for(tmp_path: Path) -> None:
    made = run(tmp_path, mlp(2, 60), 2, n=3000, t=3)
    assert see_to_patience(made, 1, "Curvature") is None
    with pytest.raises(NotApplicable, match="Curvature to the config"):
        see_to_patience(made, 10**7, "Curvature")
    made.config = {"trainer": {"callbacks": [{"class_path": "toyml.callbacks.Curvature"}]}}
    assert see_to_patience(made, 10**7, "Curvature") is None
