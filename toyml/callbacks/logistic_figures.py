"""Figures of logistic regression with weight decay: the exact minima, and the way to one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from toyml import plots, theory
from toyml.callbacks.figure import Drawing, Figure
from toyml.callbacks.references import plane_model
from toyml.claims import NotApplicable
from toyml.claims.boundary import line, margins, signed_angle, smaller_distance
from toyml.claims.logistic import Logistic, Swing, decay_threshold, full_batch, swing
from toyml.plots.style import set_step_axis
from toyml.run import Run

BOTH, ALONE = "decay on w and b", "decay on w alone"


class SweepOfDecay(Figure):
    """Angle and distance of the exact minimum over the strength of weight decay λ.

    One curve for each convention, the bias decayed or not. The star is where the training ended.

    Args:
        low: Weakest λ drawn.
        high: Strongest λ drawn.
        count: Minima computed per curve, evenly spread in ln λ.
        name: Stem of the files.

    Raises:
        ValueError: Not 0 < low < high, or fewer than two minima.
    """

    def __init__(
        self,
        low: float = 1e-5,
        high: float = 10.0,
        count: int = 91,
        name: str = "sweep_of_decay",
    ) -> None:
        super().__init__(name)
        if not 0 < low < high:
            raise ValueError(f"λ runs from {low} to {high}; it has to be positive and increasing")
        if count < 2:
            raise ValueError(f"count is {count}; draw at least 2 minima")
        self.low, self.high, self.count = low, high, count

    def draw(self, run: Run) -> Drawing:
        """Solve for every minimum, measure the run's end."""
        model = plane_model(run)
        model.minimum()
        full_batch(run)
        reference, limit = exact_lines(model)
        decays = np.geomspace(self.low, self.high, self.count)
        angles, distances = {}, {}
        for name, decay_bias in ((BOTH, True), (ALONE, False)):
            w, b = minima(model, decays, decay_bias)
            angles[name] = signed_angle(w, reference)
            distances[name] = nearest(model, w, b)
        threshold = decay_threshold(model._replace(decay_bias=True))
        angle = float(signed_angle(line(run)[0][-1:], reference)[0])
        distance = float(smaller_distance(run)[-1])
        canvas = plots.new_figure(7.6, 8.0)
        above, below = canvas.subplots(2, 1, sharex=True)
        here = f"this training, λ = {model.weight_decay:g}"
        zero = "bisector" if len(model.x) == 2 else "maximum-margin line"
        for ax, curves, value, quantity in (
            (above, angles, angle, f"angle to the normal of the {zero}, °"),
            (below, distances, distance, "distance of the worse point"),
        ):
            plots.plot_sweep(
                ax,
                decays,
                curves,
                setting="weight decay λ",
                quantity=quantity,
                threshold=threshold,
                threshold_label=f"λ* = {threshold:.6f}",
            )
            plots.plot_mark(ax, model.weight_decay, value, here)
        above.axhline(
            limit, color=plots.STYLE.muted, linewidth=1.0, label=f"plain descent, {limit:.2f}°"
        )
        below.axhspan(-1e3, 0, color=plots.STYLE.highlight, alpha=0.07, linewidth=0, zorder=0)
        shown = np.concatenate([*distances.values(), [distance, 0.0]])
        space = 0.08 * float(np.ptp(shown))
        below.set_ylim(float(shown.min()) - space, float(shown.max()) + space)
        above.set_xlabel("")
        if np.ptp(above.get_ylim()) < 1e-6:  # nothing but rounding
            above.set_ylim(-1, 1)
        plots.add_legend(above)
        plots.set_title(above, "Where the minimum's line points")
        plots.set_title(below, "Whether it separates: below 0 a point is on the wrong side")
        return Drawing(
            canvas,
            "The exact minimum over the weight decay",
            sweep_words(model, threshold, limit, angle, distance, zero),
            f"Two panels over λ from {self.low:g} to {self.high:g}, angle above and distance of "
            f"the worse point below, for {BOTH} and for {ALONE}; a star marks the training.",
        )


class Oscillation(Figure):
    """The worse point's margin from step to step, on its way to the exact minimum.

    Above 1 / lr the curvature makes gradient descent overshoot: it swings from side to side, each
    step shrinking the deviation by |1 - lr · sharpness|.

    Args:
        steps: Steps drawn from the start.
        name: Stem of the files.

    Raises:
        ValueError: Fewer than two steps.
    """

    def __init__(self, steps: int = 40, name: str = "oscillation") -> None:
        super().__init__(name)
        if steps < 2:
            raise ValueError(f"steps is {steps}; draw at least 2")
        self.steps = steps

    def draw(self, run: Run) -> Drawing:
        """Project the path on the sharpest direction; compare with the powers of its factor."""
        model, found = plane_model(run), swing(run)
        rows = model.signed_rows.numpy()
        row = int((rows @ found.minimum.numpy()).argmin())
        level = float(rows[row] @ found.minimum.numpy())
        margin, steps = margins(run)[:, row], run.trajectory.steps
        share = abs(float(rows[row] @ found.direction.numpy()))
        law = envelope(found, steps, share)
        first = steps <= self.steps
        if first.sum() < 3:
            raise NotApplicable(f"needs 3 of the first {self.steps} steps recorded")
        point = "(" + ", ".join(f"{v:g}" for v in model.x[row].tolist()) + ")"
        canvas = plots.new_figure(7.6, 8.2)
        above, below = canvas.subplots(2, 1)
        plots.plot_swing(
            above,
            steps[first],
            margin[first],
            level,
            law[first],
            quantity=f"margin of {point}",
            level_label=f"at the minimum, {level:.6f}",
            law_label=f"± A |1 − lr·h|ᵗ, 1 − lr·h = {found.factor:.6f}",
        )
        set_step_axis(above, False)
        plots.add_legend(above, below=True, columns=3)
        settles = abs(found.factor) < 1
        seen = steps <= (max(self.steps, 1.15 * steps[found.matched]) if settles else self.steps)
        plots.plot_law(
            below,
            steps[seen],
            positive(np.abs(margin - level)[seen]),
            positive(law[seen]),
            quantity="distance from that margin",
            predicted_label=f"A |1 − lr·h|ᵗ with curvature h = {found.curvature:.6f}",
            log_time=False,
            log_value=True,
        )
        plots.add_legend(below, below=True, columns=2)
        kind = swing_words(found.factor)
        plots.set_title(above, f"The margin of {point} {kind} its value at the minimum")
        plots.set_title(
            below,
            f"In the end each step leaves {abs(found.factor):.4f} of the rest"
            if settles
            else f"A small deviation grows by {abs(found.factor):.4f} a step",
        )
        last = int(steps[first][-1])
        return Drawing(
            canvas,
            "The way to the minimum, step by step",
            f"Point {point} is on the wrong side after {count_words(steps[first & (margin <= 0)])} "
            f"of the first {last}. Along the slowest direction (curvature {found.curvature:.6f}) "
            f"a step multiplies the deviation by {found.factor:.6f}. The sharpness is "
            f"{found.sharpness:.6f}: descent settles for learning rates below "
            f"2 / {found.sharpness:.4f} = {2 / found.sharpness:.4f}.",
            f"Margin of {point} over {last} steps with its sign; it {kind} its final value, inside "
            "the envelope that theory gives. Below, the distance on a logarithmic scale.",
        )


def exact_lines(model: Logistic) -> tuple[list[float], float]:
    """Normal of the maximum-margin line, and the angle of plain descent's limit to it.

    Raises:
        NotApplicable: Points that no line separates.
    """
    try:
        widest, _ = theory.max_margin(model.x, model.y)
        limit, _ = theory.max_margin_augmented(model.x, model.y)
    except ValueError as error:
        raise NotApplicable(str(error)) from error
    return widest.tolist(), float(theory.angle(limit, widest))


def minima(
    model: Logistic, decays: NDArray[np.float64], decay_bias: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exact minimisers w [g, 2], b [g] for every weight decay."""
    found = [
        theory.regularized_logistic(model.x, model.y, float(decay), decay_bias) for decay in decays
    ]
    return (
        torch.stack([w for w, _ in found]).numpy(),
        torch.stack([b for _, b in found]).numpy(),
    )


def nearest(model: Logistic, w: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest signed distance of the points to each line [g]."""
    signs = 2 * model.y.numpy() - 1
    found = signs * (w @ model.x.numpy().T + b[:, None])
    return np.asarray(found.min(axis=1) / np.linalg.norm(w, axis=1))


def envelope(found: Swing, steps: NDArray[np.int64], share: float) -> NDArray[np.float64]:
    """Magnitude of a margin's deviation by the powers of the factor, matched at one late step.

    NaN where the factor is 1 or more: such a deviation is not small for long.
    """
    if abs(found.factor) >= 1:
        return np.full(len(steps), np.nan)
    ages = (steps - steps[found.matched]).astype(float)
    size = abs(float(found.deviation[found.matched])) * share
    with np.errstate(over="ignore"):
        return np.asarray(size * np.abs(found.factor) ** ages)


def positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values that a logarithmic axis of float64 can show; NaN for the others."""
    return np.where(values > 1e-17, values, np.nan)


def swing_words(factor: float) -> str:
    """What a factor per step means."""
    if abs(factor) >= 1:
        return "never settles at"
    return "swings around" if factor < 0 else "approaches"


def count_words(steps: NDArray[np.int64]) -> str:
    """Steps by number, or how many where they are many."""
    if not len(steps):
        return "none"
    if len(steps) > 12:
        return f"{len(steps)} steps"
    return "steps " + ", ".join(map(str, steps.tolist()))


def sweep_words(
    model: Logistic, threshold: float, limit: float, angle: float, distance: float, zero: str
) -> str:
    """The caption of the sweep."""
    convention = BOTH if model.decay_bias else ALONE
    beyond = (
        f"from λ* = {threshold:.6f} on it leaves a point on the wrong side"
        if np.isfinite(threshold)
        else "it separates the points for every λ"
    )
    return (
        f"With {BOTH} the minimum tends, as λ falls, to the limit of plain descent "
        f"({limit:.4f}°); {beyond}. With {ALONE} it tends to the {zero}. This training "
        f"({convention}, λ = {model.weight_decay:g}) ended at {angle:.6f}° and distance "
        f"{distance:.6f}."
    )
