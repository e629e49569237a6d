"""The training as a picture that moves, for slides."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from toyml import plots, views
from toyml.callbacks.after import AfterFit
from toyml.callbacks.movie import Frame, write_gif, write_mp4
from toyml.callbacks.moving import (
    Moments,
    Moving,
    MovingHidden,
    MovingInputs,
    MovingLandscape,
    MovingLoss,
    Prepared,
)
from toyml.claims import NotApplicable
from toyml.errors import UserError
from toyml.run import Run

SIZE = (12.8, 7.2)  # inches; 1280 x 720 pixels, the shape of a slide
DPI = 100
HOLD = 1.5  # seconds for which the last frame stays


class Animation(AfterFit):
    """Write ``figures/<name>.gif``, and ``.mp4`` where ffmpeg is on the PATH.

    Panels that have nothing to show for a run are left out. From a notebook:
    ``Animation(frames=30).finish(run)``, or ``Animation().frames_of(run)`` for the pictures
    themselves.

    Args:
        panels: What moves, four panels at most; by default the inputs with the model's answer, the
            hidden units, the landscape and the loss.
        frames: Number of frames; fewer where fewer steps were recorded.
        seconds: How long it takes, before the last frame is held for a moment.
        logarithmic: Spread the frames evenly in the logarithm of the step instead of evenly.
        name: Stem of the files.

    Raises:
        ValueError: No panel or too many, fewer than two frames, or more than 50 or fewer than a
            fifth of one a second.
    """

    patient = False

    def __init__(
        self,
        panels: list[Moving] | None = None,
        frames: int = 60,
        seconds: float = 6.0,
        logarithmic: bool = True,
        name: str = "animation",
    ) -> None:
        self.panels = (
            [MovingInputs(), MovingHidden(), MovingLandscape(), MovingLoss()]
            if panels is None
            else panels
        )
        if not 1 <= len(self.panels) <= 4:
            raise ValueError(f"there are {len(self.panels)} panels; give 1 to 4")
        if frames < 2:
            raise ValueError(f"frames is {frames}; what moves has at least 2")
        if not (seconds > 0 and 0.2 <= frames / seconds <= 50):
            raise ValueError(
                f"{frames} frames in {seconds} seconds; show at least 0.2 and at most 50 a second"
            )
        self.frames, self.seconds, self.logarithmic = frames, seconds, logarithmic
        self.name = name

    def finish(self, run: Run) -> None:
        """Draw all frames, and write them.

        Raises:
            UserError: None of the panels has anything to show.
        """
        moments = self.moments(run)
        drawn = self.frames_of(run)
        shown = track(
            drawn,
            description=self.name,
            total=len(moments.steps),
            console=Console(stderr=True),
            transient=True,
        )
        frames = list(shown)
        folder = run.folder / "figures"
        folder.mkdir(exist_ok=True)
        each = round(100 * self.seconds / self.frames) * 10
        times = [each] * (len(frames) - 1) + [each + round(HOLD * 1000)]
        write_gif(folder / f"{self.name}.gif", frames, times)
        fps = self.frames / self.seconds
        repeats = [1] * (len(frames) - 1) + [1 + round(HOLD * fps)]
        try:
            write_mp4(folder / f"{self.name}.mp4", frames, fps, repeats)
        except UserError as why:
            (folder / f"{self.name}.mp4").unlink(missing_ok=True)  # it would show another run
            print(f"toyml: {self.name}.gif is written, {self.name}.mp4 not: {why}", file=sys.stderr)

    def frames_of(self, run: Run) -> Iterator[Frame]:
        """The frames as pictures: red, green and blue [720, 1280, 3], 0 to 255.

        Args:
            run: The run.

        Raises:
            UserError: None of the panels has anything to show.
        """
        moments = self.moments(run)
        panels = self.prepared(run, moments)
        figure = plots.new_figure(*SIZE)
        grid, motions = figure.add_gridspec(2, 2), []
        for panel, place in zip(panels, places(len(panels)), strict=True):
            ax = figure.add_subplot(grid[place], projection=panel.projection)
            motions.append(panel.start(ax))
            plots.set_title(ax, panel.title)
        last = int(moments.steps[-1])
        words = [f"{run.name}: step {step:,} of {last:,}" for step in moments.steps.tolist()]
        motions.append(plots.move_text(figure, words))
        return plots.play(figure, motions, len(words), DPI)

    def moments(self, run: Run) -> Moments:
        """Which steps are shown.

        Raises:
            UserError: Fewer than two were recorded.
        """
        most = 2 * self.frames  # half of a view's snapshots are spread either way
        steps = run.trajectory.steps[views.frames(run, most)]
        if len(steps) < 2:
            raise UserError(f"{len(steps)} step was recorded; what moves needs at least 2")
        return Moments(thin(steps, self.frames, self.logarithmic), most, self.logarithmic)

    def prepared(self, run: Run, moments: Moments) -> list[Prepared]:
        """The panels that have something to show.

        Raises:
            UserError: None has.
        """
        found, reasons = [], []
        for panel in self.panels:
            try:
                found.append(panel.prepare(run, moments))
            except (NotApplicable, UserError, NotImplementedError) as why:
                reasons.append(str(why) or type(why).__name__)
        if not found:
            raise UserError("no panel has anything to show: " + "; ".join(reasons))
        return found


def thin(steps: NDArray[np.int64], count: int, logarithmic: bool) -> NDArray[np.int64]:
    """At most ``count`` of the steps, first and last among them, evenly spread.

    Where two places fall on one step, the places are moved closer until there are as many steps as
    asked for.

    Args:
        steps: Increasing steps, 2 or more.
        count: How many, 2 or more.
        logarithmic: Evenly in log(1 + step - first).

    Example:
        >>> thin(np.arange(1001), 4, True).tolist(), thin(np.arange(1001), 3, False).tolist()
        ([0, 9, 99, 1000], [0, 500, 1000])
    """
    if len(steps) <= count:
        return steps
    since = (steps - steps[0]).astype(np.float64)
    scale = np.log1p(since) if logarithmic else since

    def nearest(places: int) -> NDArray[np.intp]:
        targets = np.linspace(0, scale[-1], places)
        after = np.searchsorted(scale, targets).clip(1, len(scale) - 1)
        closer = targets - scale[after - 1] <= scale[after] - targets
        return np.unique(np.where(closer, after - 1, after))

    low, high = count, count
    while len(nearest(high)) < count:
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if len(nearest(middle)) < count else (low, middle)
    found = nearest(high)
    # One place more can bring two steps more: the surplus goes from the crowded end.
    surplus = len(found) - count
    return steps[np.delete(found, np.arange(1, 1 + surplus))]


def places(count: int) -> Sequence[tuple[int | slice, int | slice]]:
    """Where panels go in a grid of two rows and two columns.

    Args:
        count: Number of panels, 1 to 4.
    """
    whole, top, bottom = slice(0, 2), 0, 1
    if count == 1:
        return [(whole, whole)]
    if count == 2:
        return [(whole, 0), (whole, 1)]
    if count == 3:
        return [(whole, 0), (top, 1), (bottom, 1)]
    return [(top, 0), (top, 1), (bottom, 0), (bottom, 1)]
