"""What an animation can show, panel by panel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml import plots, views
from toyml.callbacks.landscape_figures import first_sentence
from toyml.claims import NotApplicable
from toyml.plots.motion import Motion
from toyml.run import Run


class Moments(NamedTuple):
    """The moments that an animation shows.

    Attributes:
        steps: Number of updates done, for each frame [t].
        most: Snapshots that the views look at; these steps are among theirs.
        logarithmic: Whether the steps are spread evenly in their logarithm.
    """

    steps: NDArray[np.int64]
    most: int
    logarithmic: bool

    def of(self, steps: NDArray[np.int64]) -> NDArray[np.intp]:
        """Where the moments are among the steps of a view."""
        return np.searchsorted(steps, self.steps)


class Prepared(NamedTuple):
    """A panel whose numbers are there, ready to be drawn.

    Attributes:
        title: What it shows.
        start: Draws it into Axes and returns how it moves.
        projection: Of the Axes; "3d" for space.
    """

    title: str
    start: Callable[[Any], Motion]
    projection: str | None = None


class Moving(ABC):
    """One panel of an animation."""

    @abstractmethod
    def prepare(self, run: Run, moments: Moments) -> Prepared:
        """Compute what is drawn.

        Raises:
            NotApplicable: There is nothing to show for this run.
        """


class MovingInputs(Moving):
    """What the net makes of its inputs: over their plane, along their axis, or row by row."""

    def prepare(self, run: Run, moments: Moments) -> Prepared:
        """The first that the data allow."""
        for kind in (self.plane, self.curve, self.classes):
            try:
                return kind(run, moments)
            except NotApplicable:
                continue
        view = views.rows_view(run, most=moments.most)
        said = view.prediction[moments.of(view.steps)]
        return Prepared(
            "Targets and predictions", lambda ax: plots.move_rows(ax, said, view.target)
        )

    def plane(self, run: Run, moments: Moments) -> Prepared:
        """The prediction over the plane, with the lines of the first hidden layer."""
        view = views.boundary_view(run, most=moments.most)
        chosen = moments.of(view.steps)
        try:
            lines = views.hidden_view(run, most=moments.most).lines
        except NotApplicable:
            lines = None
        return Prepared(
            "The boundary" if lines is None else "The boundary and the hidden units' lines",
            lambda ax: plots.move_surface(
                ax,
                view.xs,
                view.ys,
                view.field[chosen],
                view.x,
                view.y,
                level=view.level,
                quantity=view.quantity,
                limits=view.limits,
                names=view.names,
                lines=None if lines is None else lines[chosen],
            ),
        )

    def curve(self, run: Run, moments: Moments) -> Prepared:
        """The model's curve."""
        view = views.fit_view(run, most=moments.most)
        curves = view.curves[moments.of(view.steps)]
        return Prepared(
            "The model", lambda ax: plots.move_fit(ax, view.grid, curves, view.x, view.y)
        )

    def classes(self, run: Run, moments: Moments) -> Prepared:
        """Which of several classes over the plane."""
        view = views.classes_view(run, most=moments.most)
        chosen = moments.of(view.steps)
        return Prepared(
            "Which class the model says",
            lambda ax: plots.move_class_map(
                ax, view.xs, view.ys, view.winner[chosen], view.lead[chosen], view.x, view.y
            ),
        )


class MovingHidden(Moving):
    """What the hidden units do: three of them in space, or each along the one input."""

    def prepare(self, run: Run, moments: Moments) -> Prepared:
        """Responses where there is one input, else the first three units."""
        view = views.hidden_view(run, most=moments.most)
        chosen = moments.of(view.steps)
        if view.grid is not None and view.responses is not None:
            grid, responses = view.grid, view.responses[chosen]
            return Prepared(
                f"The {responses.shape[2]} hidden units",
                lambda ax: plots.move_responses(ax, grid, responses),
            )
        units = view.activations.shape[2]
        if units < 3 or not view.classes:
            raise NotApplicable(f"space takes three hidden units and classes; units: {units}")
        seen = view.activations[chosen][..., :3]
        planes = None if view.plane is None else view.plane[chosen]
        return Prepared(
            "What the output sees" if units == 3 else f"Three of {units} hidden units",
            lambda ax: plots.move_space(ax, seen, view.y, names=view.names, planes=planes),
            "3d",
        )


class MovingLandscape(Moving):
    """The parameters on the loss over the plane that holds most of their path."""

    def prepare(self, run: Run, moments: Moments) -> Prepared:
        """The landscape and the path's shadow on it, as the report shows them."""
        view = views.landscape_view(run)  # more snapshots than frames: a path has no corners
        return Prepared(
            "The loss over the parameters" if view.whole else first_sentence(view.words),
            lambda ax: plots.move_point(
                ax,
                view.a,
                view.b,
                view.surface,
                view.steps,
                view.path,
                moments.steps,
                minimum=view.minimum,
                names=view.names,
            ),
        )


class MovingLoss(Moving):
    """Where on the loss curve the training is."""

    def prepare(self, run: Run, moments: Moments) -> Prepared:
        """The curve and a mark."""
        view = views.loss_view(run)
        return Prepared(
            "The loss over the steps",
            lambda ax: plots.move_mark(
                ax,
                view.steps,
                view.loss,
                moments.steps,
                quantity=view.quantity,
                log_time=moments.logarithmic,
            ),
        )
