from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.sweep.configs import written
from toyml.callbacks import (
    SweepBasins,
    SweepFan,
    SweepMap,
    SweepOutcomes,
    SweepRates,
    SweepReport,
    SweepSides,
)
from toyml.callbacks.sweep_report import default_figures
from toyml.claims import NotApplicable
from toyml.errors import UserError
from toyml.run import Run
from toyml.sweep.basin import components, places, speeds
from toyml.sweep.folder import Sweep
from toyml.sweep.keys import end_column
from toyml.sweep.table import rate, rates
from toyml.theory import wilson_interval

LR, MOMENTUM, WIDTHS = "model.optimizer.lr", "model.optimizer.momentum", "model.net.widths"
X, Y = "initial.hidden1.weight[0,0]", "initial.output.bias[0]"


@pytest.fixture
def grid(tmp_path: Path) -> Sweep:
    """Four rates by three momenta: the larger of both diverge."""
    rates, momenta = [0.1, 0.2, 0.4, 0.8], [0.0, 0.5, 0.9]
    pairs = [(lr, m) for lr in rates for m in momenta]
    losses = [np.nan if lr * (1 + m) > 1 else 0.01 if lr > 0.1 else 0.5 for lr, m in pairs]
    columns = {"loss": losses, LR: [p[0] for p in pairs], MOMENTUM: [p[1] for p in pairs]}
    return written(tmp_path, columns, {LR: rates, MOMENTUM: momenta}, outcomes={"converged": 0.1})


def test_rates_count_and_show_the_failures(grid: Sweep) -> None:
    drawing = SweepRates().draw(grid)
    upper, lower = drawing.canvas.axes
    curve = next(line for line in upper.lines if line.get_label() == "momentum 0")
    assert curve.get_ydata().tolist() == [0, 1, 1, 1]
    assert lower.get_legend_handles_labels()[1] == ["converged", "plateau", "moving", "diverged"]
    assert "7 converged, 3 plateau, 2 diverged" in drawing.caption
    assert upper.get_title(loc="left") == "Most converge at lr 0.2 and 1 other value: 3 of 3"


@pytest.mark.parametrize(
    ("losses", "title"),
    [
        ([0.5, 0.5, 0.5], "None of 3 trainings converges"),
        ([0.0, 0.0, 0.0], "As many converge at each lr: 1 of 1"),
        ([0.5, 0.0, 0.5], "Most converge at lr 0.2: 1 of 1"),
    ],
)
def test_the_title_of_rates_says_what_they_show(
    tmp_path: Path, losses: list[float], title: str
) -> None:
    columns = {"loss": losses, LR: [0.1, 0.2, 0.4]}
    sweep = written(tmp_path, columns, {LR: [0.1, 0.2, 0.4]}, outcomes={"converged": 0.1})
    assert SweepRates().draw(sweep).canvas.axes[0].get_title(loc="left") == title


def test_every_plateau_is_counted_and_nothing_is_rounded_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One at level 2, two at level 4, ... and one of 3,000 that converged.
    losses = [0.0, *(2.0**i for i in range(1, 35) for _ in range(i)), *([0.5] * 2404)]
    sweep = written(tmp_path, {"loss": losses}, outcomes={"converged": 0.1})
    SweepReport().finish(sweep)
    printed = capsys.readouterr().out
    assert f"Of {len(losses):,} trainings: 1 converged, 2,999 plateau" in " ".join(printed.split())
    assert "<0.1%" in printed
    assert "The one that converged got there at step 50." in printed
    # The six largest levels, lowest first, and all others together.
    lines = [line.split() for line in printed.splitlines() if "plateau" in line][1:8]
    assert [line[2] for line in lines[:1]] == ["0.5"]
    assert [line[-1] for line in lines] == ["2,404", "30", "31", "32", "33", "34", "435"]
    assert lines[-1][:3] == ["29", "other", "plateaus"]
    assert ">5 others<" in (sweep.folder / "report.html").read_text()


def said(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> str:
    SweepReport().finish(sweep)
    return " ".join(capsys.readouterr().out.split())


def test_what_converged_means_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"constant_loss": [0.25, 0.5], "least_loss": [0.0, 0.1]}
    learns = {"loss": [0.0, 0.3], "threshold": [0.0025, 0.104], "threshold_at": [9, -1]}
    words = said(written(tmp_path / "a", {**columns, **learns}), capsys)
    assert "Of 2 trainings: 1 converged, 1 plateau. Converged means a loss below 0.0025 or" in words
    assert (
        "below 0.0025 or 0.104 (by setting): at most 1.0% is left of the way down from the loss of "
        "the best constant prediction (0.25 or 0.5) to that of least squares (0 or 0.1)." in words
    )
    assert "The lowest loss found is 0." in words
    unknown = said(written(tmp_path / "b", {"loss": [0.25]}), capsys)
    assert "Of 1 training: 1 plateau. None counts as converged: it is not known" in unknown
    assert "nan" not in unknown
    given = said(written(tmp_path / "c", {"loss": [0.2]}, outcomes={"converged": 0.25}), capsys)
    assert "Converged means a loss below 0.25." in given


def test_intervals_are_those_of_seeds_of_one_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds, low = {"loss": [0.0, 0.5, 0.4]}, {"converged": 0.1}
    alone = written(tmp_path / "seeds", seeds, outcomes=low)
    assert (rate("all", alone.table).low, rate("all", alone.table).high) == wilson_interval(1, 3)
    assert "(95 % Wilson interval)" in said(alone, capsys)
    # A grid of starts has nothing random in it.
    grid = basin(tmp_path / "grid")
    one = grid.table.with_columns(seed=pl.lit(0))
    assert rate("all", one) == (("all"), 4, 6, None, None)
    # Seeds that start and end alike have drawn nothing.
    still = written(tmp_path / "still", {"loss": [0.5] * 3}, outcomes=low)
    assert rate("all", still.table).low is None
    # Two rates from two seeds: an interval for each of them, none for all.
    columns = {"loss": [0.0, 0.5, 0.0, 0.3], LR: [0.1, 0.1, 0.2, 0.2], "seed": [0, 1, 0, 1]}
    pooled = written(tmp_path / "pooled", columns, {LR: [0.1, 0.2]}, outcomes=low)
    assert "Wilson" not in said(pooled, capsys)
    assert [r.low is not None for r in rates(pooled.table, LR)] == [True, True]
    assert "Wilson" in SweepRates().draw(pooled).caption
    assert "Wilson" in (pooled.folder / "report.html").read_text()
    both = pl.concat([pooled.table, pooled.table])
    assert [r.low for r in rates(both, LR)] == [None, None]


def test_a_map_shows_every_pair(grid: Sweep) -> None:
    drawing = SweepMap(quantity="diverged").draw(grid)
    (mesh,) = drawing.canvas.axes[0].collections
    assert mesh.get_array().tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert "17% of 12 trainings diverged" in drawing.title
    turned = SweepMap(x="momentum", y="lr").draw(grid)
    assert turned.canvas.axes[0].get_xlabel() == "momentum"
    with pytest.raises(ValueError, match="'lost'"):
        SweepMap(quantity="lost")
    with pytest.raises(UserError, match="'rate' is not one varied key"):
        SweepMap(x="rate").draw(grid)


def test_a_fan_has_a_panel_for_each_of_few_values(grid: Sweep) -> None:
    drawing = SweepFan().draw(grid)
    titles = [ax.get_title(loc="left") for ax in drawing.canvas.axes]
    assert titles == ["lr 0.1", "lr 0.2", "lr 0.4", "lr 0.8"]
    assert "lr 0.2: 0.01" in drawing.caption


def test_outcomes_have_the_known_levels(tmp_path: Path) -> None:
    widths = [[2, 1, 1], [2, 3, 1]]
    columns = {"loss": [0.5, 0.5, 0.01, 0.3], WIDTHS: ["[2, 1, 1]"] * 2 + ["[2, 3, 1]"] * 2}
    sweep = written(
        tmp_path, columns, {WIDTHS: widths}, outcomes={"converged": 0.1, "levels": {"line": 0.51}}
    )
    drawing = SweepOutcomes().draw(sweep)
    (ax,) = drawing.canvas.axes
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "3"]
    assert ax.get_xlabel() == "hidden units"
    assert "line" in [text.get_text() for text in ax.texts]
    assert "hidden units 1: 0.5, hidden units 3: 0.155" in drawing.caption
    bars = SweepRates().draw(sweep)
    assert "hidden units 3: 1 of 2" in bars.canvas.axes[0].get_title(loc="left")
    with pytest.raises(NotApplicable, match="accuracy"):
        SweepOutcomes(column="accuracy").draw(sweep)


def test_what_diverged_keeps_its_place_among_the_outcomes(tmp_path: Path) -> None:
    columns = {"loss": [0.5, 0.4, 0.3, np.nan, np.nan, np.nan], LR: np.repeat([0.1, 1.0, 9.0], 2)}
    sweep = written(tmp_path, columns, {LR: [0.1, 1.0, 9.0]}, outcomes={"converged": 0.1})
    drawing = SweepOutcomes().draw(sweep)
    ticks = [t.get_text() for t in drawing.canvas.axes[0].get_xticklabels()]
    assert ticks == ["0.1", "1\n1 of 2 not finite", "9\n2 of 2 not finite"]
    assert "Medians: lr 0.1: 0.45, lr 1, 1 of 2 not finite: 0.3." in drawing.caption


def test_a_sweep_that_diverged_names_no_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SweepReport().finish(written(tmp_path, {"loss": [np.nan, np.nan]}))
    printed = " ".join(capsys.readouterr().out.split())
    assert "Of 2 trainings: 2 diverged." in printed
    assert "nan" not in printed


def test_sides(tmp_path: Path) -> None:
    flipped = "data.flipped"
    columns = {
        "loss": [0.1] * 4,
        "left": [0.1, 0.2, 0.5, 0.6],
        "right": [0.5, 0.5, 0.1, np.nan],
        flipped: ["false"] * 2 + ["true"] * 2,
    }
    sweep = written(tmp_path, columns, {flipped: [False, True]})
    panels: dict[str, dict[str, Any]] = {"as it is": {flipped: False}, "flipped": {flipped: True}}
    drawing = SweepSides(panels).draw(sweep)
    assert drawing.caption.endswith("as it is: 2 of 2; flipped: 0 of 1.")
    with pytest.raises(NotApplicable, match="no training with"):
        SweepSides({"third": {flipped: "half"}}).draw(sweep)


def basin(folder: Path) -> Sweep:
    xs, ys = [-1.0, 0.0, 1.0], [0.0, 1.0]
    pairs = [(x, y) for x in xs for y in ys]
    columns: dict[str, Any] = {
        "loss": [0.01, 0.01, 0.5, np.nan, 0.01, 0.01],
        X: [p[0] for p in pairs],
        Y: [p[1] for p in pairs],
        "end.hidden1.weight[0,0]": [-3.0, -3.01, 0.0, np.nan, 3.0, 3.01],
        "end.output.bias[0]": [1.0, 1.0, 0.0, np.nan, 1.0, 1.0],
    }
    return written(folder, columns, {X: xs, Y: ys}, outcomes={"converged": 0.1})


def test_basins_are_told_apart_by_where_they_end(tmp_path: Path) -> None:
    sweep = basin(tmp_path)
    found = places(sweep.table, ["end.hidden1.weight[0,0]", "end.output.bias[0]"])
    assert found.names == ["minimum A", "minimum B", "plateau at 0.5", "still moving", "diverges"]
    assert found.number.tolist() == [0, 0, 2, 4, 1, 1]
    # Step 7 (diverged) is the fastest, 50 the slowest.
    assert speeds(sweep.table).tolist() == [0, 0, 0, 1, 0, 0]
    drawing = SweepBasins().draw(sweep)
    image = drawing.canvas.axes[0].images[0].get_array()
    assert image.shape == (2, 3, 3)
    assert (
        "minimum A 33.3%; minimum B 33.3%; plateau at 0.5 16.7%; diverges 16.7%" in drawing.caption
    )


def test_end_points_that_hang_together_are_one_place() -> None:
    angle = np.linspace(0, np.pi, 200)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([arc, arc[:50] * 0.1 - 1])
    group = components(points)
    assert set(group[:200]) == {0}
    assert set(group[200:]) == {1}
    same = np.full((5, 2), 2.0) + 1e-12 * np.arange(5)[:, None]
    assert components(same).tolist() == [0] * 5
    assert components(np.zeros((0, 2))).tolist() == []
    # In a plane of extent 1, two clouds 1e-4 wide are one place; two a tenth apart are two.
    pair = np.array([[0.0, 0], [1e-4, 0], [1e-4, 1e-4], [5e-5, 0]])
    assert set(components(pair).tolist()) != {0}
    assert components(pair, least=[0.02, 0.02]).tolist() == [0] * 4
    apart = components(np.concatenate([pair, pair + 0.1]), least=0.02)
    assert apart.tolist() == [0] * 4 + [1] * 4


def test_ends_at_one_minimum_are_one_place_whatever_their_rounding(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1e-4, 1e-4, (9, 2))
    starts = np.array([(x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)])
    columns = {"loss": [0.01] * 9, X: starts[:, 0], Y: starts[:, 1]}
    columns |= {end_column(k): 0.5 + noise[:, i] for i, k in enumerate((X, Y))}
    vary = {X: [-1.0, 0.0, 1.0], Y: [-1.0, 0.0, 1.0]}
    sweep = written(tmp_path, columns, vary, outcomes={"converged": 0.1})
    assert places(sweep.table, [end_column(X), end_column(Y)]).names[0] == "converged"


def test_what_has_nothing_to_show_says_so(tmp_path: Path, grid: Sweep) -> None:
    (tmp_path / "trajectory").mkdir()
    for figure in (
        SweepRates(),
        SweepMap(),
        SweepFan(),
        SweepBasins(),
        SweepOutcomes(),
        SweepSides(),
    ):
        with pytest.raises(NotApplicable, match="one run"):
            figure.draw(Run(tmp_path))
    with pytest.raises(UserError, match="use Report"):
        SweepReport().finish(Run(tmp_path))
    with pytest.raises(NotApplicable, match="two varied initial parameters"):
        SweepBasins().draw(grid)
    alone = written(tmp_path / "alone", {"loss": [0.1, 0.2]})
    for other in (SweepRates(), SweepMap(), SweepOutcomes()):
        with pytest.raises(NotApplicable, match="only the seed"):
            other.draw(alone)


def test_the_figures_that_are_drawn_without_being_named() -> None:
    def names(varied: dict[str, list[Any]]) -> list[str]:
        return [type(figure).__name__ for figure in default_figures(varied)]

    rates = [0.1, 0.2, 0.3]
    assert names({}) == ["SweepFan"]
    assert names({X: rates, Y: rates}) == ["SweepBasins", "SweepFan"]
    assert names({LR: rates, MOMENTUM: rates}) == [
        "SweepMap",
        "SweepRates",
        "SweepOutcomes",
        "SweepFan",
    ]
    assert names({LR: list(range(25))}) == ["SweepRates", "SweepFan"]
    assert names({WIDTHS: [[1], [2]]}) == ["SweepRates", "SweepOutcomes", "SweepFan"]


def test_the_report_counts_failures_as_it_counts_successes(
    grid: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    SweepReport(question="Which rate?", answer=["A small one."]).finish(grid)
    page = (grid.folder / "report.html").read_text()
    for words in ("Which rate?", "A small one.", "What became of the trainings", "Plateaus"):
        assert words in page
    printed = capsys.readouterr().out
    assert "diverged" in printed
    assert "16.7%" in printed
