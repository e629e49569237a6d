"""Figures of XOR by a hand-written script and by PyTorch."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import nn

from toyml import measures, plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.claims import NotApplicable
from toyml.claims.xor import Common, Curve, Switched, common, first_below, rung, script
from toyml.plots.style import STYLE, dress, set_step_axis
from toyml.run import Run
from toyml.views import frames


def drawn_steps(steps: int) -> NDArray[np.int64]:
    """Dense where the first steps fall, thin where a picture cannot show more."""
    return np.union1d(np.arange(min(100, steps + 1)), np.arange(0, steps + 1, 10))


class ScriptLoss(Figure):
    """What the script prints as its loss, and its error, beside the error of the run.

    Args:
        hidden: The script's number of hidden units.
        seed: Its seed.
        lr: Its learning rate.
        steps: Its number of updates, at least 1,000.
        name: Stem of the files.

    Raises:
        ValueError: A setting out of range.
    """

    def __init__(
        self,
        hidden: int = 5,
        seed: int = 0,
        lr: float = 0.3,
        steps: int = 5000,
        name: str = "script_loss",
    ) -> None:
        super().__init__(name)
        if steps < 1000:
            raise ValueError(f"steps is {steps}; the dive and the plateau take 1,000 at least")
        self.script = Common(hidden, seed, lr, steps)

    def draw(self, run: Run) -> Drawing:
        """Run the script; evaluate the run's error."""
        hand, drawn = script(self.script), drawn_steps(self.script.steps)
        negative, lowest = first_below(hand.signal, 0.0), int(hand.signal.argmin())
        canvas = plots.new_figure(8.2, 8.4)
        above, below = canvas.subplots(2, 1)
        draw_printed(above, drawn, hand.signal * 1e3, negative, lowest)
        chosen = frames(run, 1500)
        errors = run_errors(run, chosen)
        plots.plot_overlay(
            below,
            {
                "script, mean squared error": (drawn, hand.mse[drawn]),
                "this run (PyTorch), mean squared error": (run.trajectory.steps[chosen], errors),
            },
            quantity="mean squared error",
            log_time=True,
        )
        below.axhline(
            0.25, color=STYLE.muted, linestyle=":", label="always answering one half: 0.25"
        )
        below.set_ylim(0, None)
        plots.add_legend(below, below=True, columns=2)
        plots.set_title(below, "Its error is still on the plateau when the printed value has dived")
        return Drawing(
            canvas,
            "A loss that is none",
            "Above: the script prints mean(p - y) times half the mean squared error. It dives "
            f"because the mean error dies out, to {hand.signal[100]:.2g} after 100 steps, and is "
            f"below zero from step {negative:,} on (least {hand.signal[lowest]:.3e} at "
            f"{lowest:,}). Below: its mean squared error is {hand.mse[100]:.4f} at step 100 and "
            f"still {hand.mse[500]:.4f} at step 500.",
            "Two panels in log time. Above, the printed value falls steeply within 30 steps and "
            f"turns negative at step {negative:,}. Below, the mean squared error of the script and "
            "of the run stay near 0.25 for hundreds of steps before they fall.",
        )


def draw_printed(
    ax: Axes, drawn: NDArray[np.int64], values: Curve, negative: int, lowest: int
) -> None:
    """The printed value with its sign in view."""
    floor = 0.1  # thousandths; the axis is linear up to here, so that zero is on it
    shown = values[drawn]
    ax.plot(drawn, shown, color=STYLE.color(0), linewidth=STYLE.line_width, label="printed value")
    ax.fill_between(
        drawn,
        shown,
        0,
        where=shown < 0,
        color=STYLE.highlight,
        alpha=0.35,
        linewidth=0,
        label="below zero",
    )
    ax.axhline(0, color=STYLE.ink, linewidth=STYLE.thin_width)
    ax.plot([lowest], [values[lowest]], "o", color=STYLE.highlight, markersize=5)
    set_step_axis(ax, True)
    ax.set_yscale("symlog", linthresh=floor)
    ax.set_yticks(
        [-0.05, 0, 0.05, 0.1, 1, 10, 100], ["−0.05", "0", "0.05", "0.1", "1", "10", "100"]
    )
    ax.minorticks_off()
    dress(ax, ylabel="printed “loss”, thousandths (symmetric log)")
    ax.annotate(
        f"zero at step {negative:,},\nleast −{-values[lowest]:.4f} at {lowest:,}",
        (negative, 0),
        xytext=(-120, 55),
        textcoords="offset points",
        fontsize=STYLE.small_size,
        color=STYLE.ink,
        arrowprops={"arrowstyle": "-", "color": STYLE.muted},
    )
    ax.margins(x=0.02)
    plots.add_legend(ax)
    plots.set_title(ax, "What the script prints dives at once, and then below zero")


class Ladder(Figure):
    """The differences between script and PyTorch, switched alone and one after another.

    Width, seed, learning rate and number of steps are the run's.

    Args:
        error: The level at which the net counts as having learned.
        name: Stem of the files.

    Raises:
        ValueError: A level that is not between 0 and the 0.25 of the plateau.
    """

    def __init__(self, error: float = 0.1, name: str = "ladder") -> None:
        super().__init__(name)
        if not 0 < error < 0.25:
            raise ValueError(f"error is {error}; give a level between 0 and 0.25")
        self.error = error

    def draw(self, run: Run) -> Drawing:
        """Train every rung."""
        settings = common(run)
        drawn = drawn_steps(settings.steps)
        pytorch = rung(settings)
        no_biases = rung(settings, Switched(biases=False))
        alone = {
            "PyTorch": pytorch,
            "no biases": no_biases,
            "the script's start": rung(settings, Switched(uniform=True)),
            "learning rate × N/2 = 2": rung(settings, Switched(factor=2.0)),
        }
        together = {
            "PyTorch": pytorch,
            "no biases": no_biases,
            "+ the script's start": rung(settings, Switched(biases=False, uniform=True)),
            "+ learning rate × 2": rung(settings, Switched(False, True, 2.0)),
        }
        canvas = plots.new_figure(12.0, 5.6)
        axes = canvas.subplots(1, 2, sharey=True)
        for ax, curves in zip(axes, (alone, together), strict=True):
            named = {f"{name}: {self.learned(c)}": c[drawn] for name, c in curves.items()}
            plots.plot_curves(ax, drawn, named, quantity="mean squared error")
            ax.axhline(self.error, color=STYLE.muted, linestyle=":", linewidth=STYLE.thin_width)
        hand = script(settings).mse
        axes[1].plot(
            drawn,
            hand[drawn],
            color=STYLE.ink,
            linewidth=1.3,
            dashes=(4, 2.5),
            label=f"the script itself: {self.learned(hand)}",
        )
        axes[1].set_ylabel("")
        axes[0].set_ylim(0, None)
        for ax, words in zip(axes, ("Each difference alone", "One after another"), strict=True):
            plots.add_legend(ax, below=True, columns=2)
            plots.set_title(ax, f"{words}: steps to below {self.error:g}")
        gap = float(np.abs(list(together.values())[-1] - hand).max())
        return Drawing(
            canvas,
            "The ladder from PyTorch to the script",
            "Mean squared error over the steps; the legend says when it is first below "
            f"{self.error:g}. With all differences undone PyTorch and the script are one curve: "
            f"over {settings.steps:,} steps they differ by {gap:.1e} at most.",
            "Two panels. Left: PyTorch and each difference alone: "
            + ", ".join(f"{name} {self.learned(curve)}" for name, curve in alone.items())
            + ". Right: one after another, ending on the script's own curve.",
        )

    def learned(self, errors: Curve) -> str:
        """The first step below the level."""
        try:
            return f"{first_below(errors, self.error):,}"
        except NotApplicable:
            return "never"


def run_errors(run: Run, chosen: NDArray[np.int64]) -> Curve:
    """The run's mean squared errors at snapshots."""
    x, y = run.data
    return (
        measures.losses(run.net, nn.MSELoss(), run.trajectory.select(chosen), x, y).double().numpy()
    )
