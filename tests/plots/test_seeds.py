import numpy as np
import pytest

from toyml.plots import plot_distribution, plot_outcomes


def test_outcomes_show_every_seed_the_median_and_the_floors(ax):
    drawn = plot_outcomes(
        ax,
        {"1": [0.5, 0.6, 0.7], "3": [0.01, np.nan, 0.03]},
        quantity="loss",
        setting="hidden units",
        floors={"best line": 0.52576},
        log_value=True,
    )
    assert [len(strip.get_offsets()) for strip in drawn.strips] == [3, 2]
    assert [line.get_ydata()[0] for line in drawn.medians] == pytest.approx([0.6, 0.02])
    assert drawn.floors[0].get_ydata()[0] == 0.52576
    assert drawn.notes[0].get_text() == "best line"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "3"]
    assert ax.get_legend_handles_labels()[1] == ["one seed", "middle half", "median"]
    ax.figure.draw_without_rendering()


def test_seeds_stay_within_their_setting(ax):
    drawn = plot_outcomes(ax, {"a": np.ones(500)}, quantity="loss", setting="width")
    assert np.abs(drawn.strips[0].get_offsets()[:, 0]).max() <= 0.25


def test_a_setting_without_outcomes_leaves_its_place_empty(ax):
    drawn = plot_outcomes(
        ax, {"2": [np.nan], "3": [1.0, 2.0]}, quantity="loss", setting="width", log_value=True
    )
    assert [round(x) for x in drawn.strips[0].get_offsets()[:, 0]] == [1, 1]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "3"]
    assert ax.get_legend_handles_labels()[1] == ["one seed", "middle half", "median"]
    with pytest.raises(ValueError, match="none of the width 2 has a finite outcome"):
        plot_outcomes(ax, {"2": [np.nan]}, quantity="loss", setting="width")


def test_histogram_counts_every_finite_seed(ax):
    drawn = plot_distribution(ax, [1, 2, 2, 3, np.inf], quantity="error", reference=0, bins=3)
    assert [bar.get_height() for bar in drawn.bars] == [1, 2, 1]
    assert len(drawn.rug.get_xdata()) == 4
    assert drawn.reference.get_xdata()[0] == 0
    with pytest.raises(ValueError, match="none of 1 values"):
        plot_distribution(ax, [np.nan], quantity="error")
