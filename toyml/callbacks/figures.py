"""The figures that every experiment can ask for."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Canvas

from toyml import plots, theory
from toyml.callbacks.class_map import draw_classes
from toyml.callbacks.figure import Drawing, Figure
from toyml.callbacks.references import Reference, all_lines, plane_data
from toyml.claims import NotApplicable
from toyml.claims.boundary import line, signed_angle
from toyml.claims.logistic import descent_law
from toyml.palette import REFERENCES
from toyml.plots.style import dress, set_step_axis, set_value_axis, step_ticks
from toyml.run import Run
from toyml.views import BoundaryView, WeightsView, boundary_view, loss_view, weights_view

GRID = 161  # points per side of a drawn plane


class Boundary(Figure):
    """The decision boundary over the steps, above the final decision surface.

    Of a net with an output for each of several classes, the borders between them above the final
    map of classes.

    Args:
        references: Exact lines to draw with it.
        count: Number of boundaries drawn, evenly spread in log(step).
        margin: Empty space around the data, as a share of its extent.
        name: Stem of the files.

    Raises:
        ValueError: Fewer than two boundaries.
    """

    def __init__(
        self,
        references: list[Reference] | None = None,
        count: int = 24,
        margin: float = 0.6,
        name: str = "boundary",
    ) -> None:
        super().__init__(name)
        if count < 2:
            raise ValueError(f"count is {count}; draw at least 2 boundaries")
        self.references, self.count, self.margin = references or [], count, margin

    def draw(self, run: Run) -> Drawing:
        """Evaluate the chosen snapshots on a grid and draw their contours."""
        if run.meaning.kind == "classes":
            return draw_classes(run, self.count)
        view = boundary_view(
            run, most=self.count, grid=GRID, rows=1000, margin=self.margin, logarithmic=True
        )
        canvas = plots.new_figure(6.2, 10.4)
        above, below = canvas.subplots(2, 1)
        for ax in (above, below):
            ax.set_xlim(view.xs[0], view.xs[-1])
            ax.set_ylim(view.ys[0], view.ys[-1])
            ax.set_aspect("equal")
        if view.level is None:
            return self.surfaces(view, canvas)
        steps, last = view.steps, int(view.steps[-1])
        lines = all_lines(run, self.references)
        drawn = plots.plot_boundaries(above, view.xs, view.ys, view.field, steps, level=view.level)
        plots.add_colorbar(above, drawn.mappable, "step", ticks=step_ticks(steps[0], steps[-1]))
        surface = plots.plot_decision_surface(
            below, view.xs, view.ys, view.field[-1], level=view.level, limits=view.limits
        )
        plots.add_colorbar(below, surface.mesh, view.quantity)
        for ax in (above, below):
            for i, (label, (w, b)) in enumerate(lines.items()):
                color = plots.STYLE.palette[REFERENCES[i % len(REFERENCES)]]
                # Lines that coincide share a long label, which must not squeeze the plane.
                label = label.replace(" = ", " =\n")
                plots.plot_line(ax, w.numpy(), float(b), label, color=color)
            plots.plot_points(ax, view.x, view.y, labels=view.names)
            dress(ax, "x₁", "x₂", grid=False)
            plots.add_legend(ax, below=True, columns=2)
        plots.set_title(above, f"The boundary, step {steps[0]:,} (faint) to {last:,}")
        plots.set_title(below, f"What the model says after {last:,} steps")
        names = " and ".join(lines) or "no reference line"
        border = f"where the {view.quantity} is {view.level:g}"
        seen = len(drawn.contours)
        above_words = (
            f"Above: {seen} boundaries, {border}, faint to strong, from step {steps[0]:,} to "
            f"{last:,}"
        )
        if not seen:
            above_words = (
                f"Above: at none of the {len(steps)} steps looked at is there a place in this "
                f"window {border}, so there is no boundary"
            )
        elif seen < len(steps):
            above_words = (
                f"Above: the boundary, {border}, faint to strong, at {seen} of {len(steps)} steps "
                f"from {steps[0]:,} to {last:,}; at the others there is none in this window"
            )
        return Drawing(
            canvas,
            "Decision boundary over the steps",
            f"{above_words}; with {names}. Below: the {view.quantity} at the end.",
            f"Plane with the data, the boundary at {seen} steps up to {last:,}, and {names}; "
            f"below it the final {view.quantity} as a colored surface.",
        )

    def surfaces(self, view: BoundaryView, canvas: Canvas) -> Drawing:
        """What the model says at the start and at the end, where the targets are values."""
        for ax, place in zip(canvas.axes, (0, -1), strict=True):
            surface = plots.plot_decision_surface(
                ax, view.xs, view.ys, view.field[place], level=None, limits=view.limits
            )
            plots.plot_values(ax, view.x, view.y, view.limits)
            plots.add_colorbar(ax, surface.mesh, view.quantity)
            dress(ax, "x₁", "x₂", grid=False)
            plots.set_title(ax, f"What the model says at step {view.steps[place]:,}")
        return Drawing(
            canvas,
            "What the model says over the plane",
            f"Colors are the {view.quantity} at step {view.steps[0]:,} (above) and "
            f"{view.steps[-1]:,} (below); each point has the color of its target.",
            f"Two colored surfaces over the plane of the inputs with {len(view.x):,} of "
            f"{view.total:,} rows, at step {view.steps[0]:,} and {view.steps[-1]:,}.",
        )


class Parameters(Figure):
    """Every weight and the norms over the steps, in linear and in logarithmic time.

    Args:
        most: Largest number of parameters drawn; of a larger net those that travel farthest.
        name: Stem of the files.

    Raises:
        ValueError: No curve asked for.
    """

    def __init__(self, most: int = 40, name: str = "parameters") -> None:
        super().__init__(name)
        if most < 1:
            raise ValueError(f"most is {most}; draw at least 1 parameter")
        self.most = most

    def draw(self, run: Run) -> Drawing:
        """Draw what the page's panel draws, in both times."""
        view = weights_view(run, 2000, self.most)
        # In the order of the tensors above, which then have the same colors.
        names = dict.fromkeys([*(n.split("[")[0] for n in view.names), *view.norms])
        norms = {name: view.norms[name] for name in names if name != "all parameters"}
        norms["all parameters"] = view.norms["all parameters"]
        canvas = plots.new_figure(11.5, 8.0)
        axes = canvas.subplots(2, 2)
        for column, log_time in enumerate((False, True)):
            top, bottom = axes[:, column]
            plots.plot_parameters(top, view.steps, view.values, view.names, log_time=log_time)
            lines = plots.plot_curves(
                bottom, view.steps, norms, quantity="Euclidean norm", log_time=log_time
            )
            lines[-1].set(color=plots.STYLE.ink, linestyle="-")
            kind = "logarithmic" if log_time else "linear"
            plots.set_title(top, f"Parameters, {kind} time")
            plots.set_title(bottom, f"Norms, {kind} time")
            for ax in (top, bottom):
                if column == 1:
                    plots.add_legend(ax)
        return Drawing(
            canvas,
            "Parameters and their norms",
            f"{norm_words(view)} Drawn are {view.of}.",
            f"Four panels: {view.of} parameters and the norms over the steps, linear and log time.",
        )


def norm_words(view: WeightsView) -> str:
    """From where to where the length of all parameters goes, in a sentence."""
    norm = view.norms["all parameters"]
    start, end = norm[0], norm[-1]
    whole = "The norm of all parameters together"
    if not np.isfinite(norm).all():
        lost = int(np.flatnonzero(~np.isfinite(norm))[0])
        return f"{whole} is {start:.4g} at first and no finite number at step {view.steps[lost]:,}."
    factor = (
        f", {end / start:.3g} times as large" if start > 0 and abs(end / start - 1) > 5e-3 else ""
    )
    return f"{whole} goes from {start:.4g} to {end:.4g}{factor}."


class Curves(Figure):
    """Loss and metrics over the steps.

    Args:
        log_time: Logarithmic steps.
        log_value: Logarithmic loss.
        name: Stem of the files.
    """

    def __init__(self, log_time: bool = True, log_value: bool = True, name: str = "curves") -> None:
        super().__init__(name)
        self.log_time, self.log_value = log_time, log_value

    def draw(self, run: Run) -> Drawing:
        """The loss of all rows over the steps; the metrics from the log."""
        view = loss_view(run)
        steps, loss = view.steps, view.loss
        others = {
            k: v for k, v in run.metrics.items() if not k.endswith("loss") and "loss_" not in k
        }
        canvas = plots.new_figure(7.6, 7.2 if others else 4.2)
        axes = np.atleast_1d(np.asarray(canvas.subplots(2 if others else 1, 1)))
        plots.plot_curves(
            axes[0],
            steps,
            {"training data": loss},
            quantity=view.quantity,
            log_time=self.log_time,
            log_value=self.log_value,
        )
        if view.held_out is not None:
            axes[0].plot(
                *view.held_out,
                color=plots.STYLE.palette[1],
                label="held-out data",
            )
            plots.add_legend(axes[0])
        known = loss[np.isfinite(loss)]
        if not len(known):
            raise NotApplicable("the loss is nowhere a finite number")
        plots.set_title(axes[0], f"The loss goes from {known[0]:.4g} to {known[-1]:.4g}")
        for i, (name, column) in enumerate(others.items()):
            axes[1].plot(
                column["step"],
                column["value"],
                marker="o",
                markersize=3,
                color=plots.STYLE.palette[i % len(plots.STYLE.palette)],
                label=name,
            )
        if others:
            set_step_axis(axes[1], self.log_time)
            set_value_axis(
                axes[1],
                "metric",
                False,
                np.concatenate([np.asarray(c["value"], float) for c in others.values()]),
            )
            if all(0 <= v <= 1 for c in others.values() for v in c["value"]):
                axes[1].set_ylim(-0.04, 1.04)
            plots.add_legend(axes[1])
            plots.set_title(axes[1], "Metrics at the logged steps")
        return Drawing(
            canvas,
            "Loss and metrics",
            f"The loss goes {view.words}; its least value in the picture is {known.min():.6g}.",
            f"Curves over {steps[-1]:,} steps: the loss and {', '.join(others) or 'no metric'}.",
        )


class AngleLaw(Figure):
    r"""The angle of a linear model's normal over the steps, against the law of its convergence.

    Gradient descent on separable points tends to a direction like 1 / ln t (Soudry et al. 2018):

    .. math:: \text{angle}(t) = \text{limit} + \arctan\frac{C}{\ln t + a}

    Limit, C and a come from theory, for the run's own points, start and learning rate; nothing
    is fitted.

    Args:
        reference: Direction [2] the angle is measured from; ``null`` is the normal of the
            maximum-margin line, which for two points is the perpendicular bisector.
        name: Stem of the files.

    Raises:
        ValueError: A reference without a direction.
    """

    def __init__(self, reference: list[float] | None = None, name: str = "angle") -> None:
        super().__init__(name)
        if reference is not None and (len(reference) != 2 or not any(reference)):
            raise ValueError(f"reference is {reference}; give two numbers, not both 0")
        self.reference = reference

    def draw(self, run: Run) -> Drawing:
        """Read the normal off the trajectory."""
        x, y = plane_data(run)
        direction, constant, offset = descent_law(run)
        reference = self.reference or theory.max_margin(x, y)[0].tolist()
        turn = np.degrees(np.arctan2(reference[1], reference[0]))
        limit = float((direction - turn + 180) % 360 - 180)
        chosen = run.trajectory.thinned_log(1500)
        steps = run.trajectory.steps[chosen]
        if steps[-1] < 4:
            raise NotApplicable(f"the law needs more than {steps[-1]} steps to be seen")
        angle = signed_angle(line(run)[0][chosen], reference)
        with np.errstate(divide="ignore"):
            logs = np.log(steps) + offset
        law = np.full(len(steps), np.nan)
        grown = logs > 0.5  # before that the logarithm has not outgrown the start
        law[grown] = limit + np.degrees(np.arctan(np.radians(constant) / logs[grown]))
        canvas = plots.new_figure(7.6, 4.6)
        ax = canvas.subplots()
        zero = "the bisector" if len(x) == 2 else "the maximum-margin line"
        plots.plot_law(
            ax,
            steps,
            angle,
            law,
            quantity=f"angle to the normal of {zero if self.reference is None else 'reference'}, °",
            predicted_label=f"limit + arctan(C/(ln t + a)), C = {constant:.4f}°, a = {offset:.3f}",
            limit=limit,
            limit_label=f"limit {limit:.4f}°",
        )
        if self.reference is None:
            ax.axhline(
                0, color=plots.STYLE.palette[REFERENCES[0]], linewidth=1.2, label=f"{zero}, 0°"
            )
        plots.add_legend(ax, below=True, columns=2)
        error = angle[-1] - limit
        plots.set_title(ax, f"After {steps[-1]:,} steps {abs(error):.2f}° remain to the limit")
        return Drawing(
            canvas,
            "The direction converges like 1 / ln t",
            f"At step {steps[-1]:,} the angle is {angle[-1]:.6f}°, {abs(error):.4f}° from its "
            f"limit {limit:.6f}°; the law, with nothing fitted, says {abs(law[-1] - limit):.4f}°. "
            f"It puts the last 0.1° at about 10^{tenth(constant, offset):.0f} steps: "
            "no training gets there.",
            f"Angle of the normal over {steps[-1]:,} steps in log time: it passes 0 degrees, "
            f"{zero}, and creeps towards {limit:.2f} degrees, as the law predicts.",
        )


def tenth(constant: float, offset: float) -> float:
    """log10 of the step at which a tenth of a degree remains."""
    return float((abs(np.radians(constant) / np.tan(np.radians(0.1))) - offset) / np.log(10))
