"""Every panel is a figure that Plotly takes, at the first, a middle and the last step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from torch import nn

from tests.claims.recorded import recorded
from tests.conftest import Rows
from toyml.callbacks.stage import early, scene
from toyml.models import Linear
from toyml.report import Page, render
from toyml.report.packing import Levels
from toyml.report.panels.layout import log_axis
from toyml.report.scene import Panel, Plot, Scene, moved
from toyml.report.theme import DARK, LIGHT, painted
from toyml.run import Run

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
        assert colors == ["@line0", "@line1"], name
        figure(plot, 3, DARK)
    weights = panels(made)["weights"].plots[0]
    # After its last step a run holds there.
    at = figure(weights, 20, LIGHT)
    assert at.data[3].x == pytest.approx([6])
    assert at.data[2].x == pytest.approx([20])


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
