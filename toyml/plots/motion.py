"""Pictures that move: what stays is drawn once, and every frame only what has changed.

A motion is a function of the number of a frame. It moves its artists there and returns them in the
order in which they are drawn, above everything that stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import contourpy
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from numpy.typing import ArrayLike, NDArray

from toyml.plots.classes import MARKERS, class_colors, plot_class_map, plot_class_points
from toyml.plots.curves import plot_curves
from toyml.plots.hidden import frame_space
from toyml.plots.landscape import plot_landscape
from toyml.plots.points import plot_points, plot_values
from toyml.plots.style import STYLE, Style, add_colorbar, add_legend, dress

Motion = Callable[[int], Sequence[Artist]]
Frame = NDArray[np.uint8]


def play(
    figure: Figure, motions: Sequence[Motion], count: int, dpi: float = 100
) -> Iterator[Frame]:
    """The frames of a figure, one after another.

    Args:
        figure: The figure; it is laid out once, before the first frame.
        motions: What moves in it.
        count: Number of frames.
        dpi: Dots per inch.

    Yields:
        Red, green and blue [height, width, 3], 0 to 255; an array of its own each time.
    """
    figure.dpi = dpi
    canvas: Any = FigureCanvasAgg(figure)
    engine = ConstrainedLayoutEngine()  # panels differ in shape, and use the whole frame
    figure.set_layout_engine(engine)
    for motion in motions:
        for artist in motion(count - 1):
            artist.set_animated(True)
    engine.execute(figure)
    figure.set_layout_engine("none")
    canvas.draw()  # without what is animated
    still = canvas.copy_from_bbox(figure.bbox)
    renderer = canvas.get_renderer()
    for i in range(count):
        canvas.restore_region(still)
        for motion in motions:
            for artist in motion(i):
                if isinstance(artist, Poly3DCollection):
                    artist.do_3d_projection()  # what drawing the whole Axes would have done
                artist.draw(renderer)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def move_text(figure: Figure, words: Sequence[str], *, style: Style = STYLE) -> Motion:
    """A line of words above the figure that changes.

    Args:
        figure: Where.
        words: For each frame.
        style: Colors and sizes.
    """
    longest = max(words, key=len)
    title = figure.suptitle(longest, fontsize=style.title_size + 2, color=style.ink)

    def motion(i: int) -> list[Artist]:
        title.set_text(words[i])
        return [title]

    return motion


def move_surface(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    fields: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    level: float | None,
    quantity: str,
    limits: tuple[float, float] = (0.0, 1.0),
    names: Sequence[str] = ("class 0", "class 1"),
    lines: ArrayLike | None = None,
    style: Style = STYLE,
) -> Motion:
    """A prediction over the plane, its boundary, and the lines of hidden units, under the data.

    Args:
        ax: Where.
        xs: Horizontal coordinates [g].
        ys: Vertical coordinates [g].
        fields: Predictions [t, g, g], rows going up.
        x: Data [n, 2].
        y: Their labels [n].
        level: Where the predicted class changes; ``None`` for no boundary.
        quantity: What is predicted.
        limits: Predictions at the ends of the scale of colors.
        names: Of the two classes; empty where the targets are values.
        lines: The two ends of each hidden unit's line [t, h, 2, 2]; NaN for none.
        style: Colors and sizes.
    """
    fields = np.asarray(fields, dtype=float)
    across, up = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
    half = (across[1] - across[0]) / 2, (up[1] - up[0]) / 2
    image = ax.imshow(
        fields[-1],
        extent=(across[0] - half[0], across[-1] + half[0], up[0] - half[1], up[-1] + half[1]),
        origin="lower",
        cmap=style.probability_map if names else style.loss_map,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="bilinear",
        zorder=0,
    )
    points = (
        plot_points(ax, x, y, labels=names, style=style)
        if names
        else [plot_values(ax, x, y, limits, style=style)]
    )
    ax.set_xlim(across[0], across[-1])
    ax.set_ylim(up[0], up[-1])
    ax.set_aspect("equal")
    # Beside the square, which is smaller than the room that the layout has for it.
    beside = ax.inset_axes((1.025, 0.0, 0.045, 1.0))
    add_colorbar(ax, image, quantity, cax=beside, style=style)
    boundary = LineCollection([], colors=style.ink, linewidths=style.line_width + 0.4)
    units = LineCollection([], linewidths=style.line_width, linestyles="--")
    for collection in (boundary, units):
        ax.add_collection(collection, autolim=False)
    ends = None if lines is None else np.asarray(lines, dtype=float)
    if ends is not None:
        units.set_color([style.color(2 + unit) for unit in range(ends.shape[1])])

    def motion(i: int) -> list[Artist]:
        image.set_data(fields[i])
        if level is not None:
            found: Any = contourpy.contour_generator(across, up, fields[i]).lines(level)
            boundary.set_segments(found)
        if ends is not None:
            units.set_segments(list(ends[i]))
        return [image, units, boundary, *points, *ax.spines.values()]

    return motion


def move_class_map(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    winner: ArrayLike,
    lead: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    style: Style = STYLE,
) -> Motion:
    """The class that a model says over the plane, under the data.

    Args:
        ax: Where.
        xs: Horizontal coordinates [g].
        ys: Vertical coordinates [g].
        winner: Numbers of the classes [t, g, g], rows going up.
        lead: By how much each is ahead of the second [t, g, g].
        x: Data [n, 2].
        y: Numbers of their classes [n].
        style: Colors and sizes.
    """
    classes, ahead = np.asarray(winner, dtype=int), np.asarray(lead, dtype=float)
    image = plot_class_map(ax, xs, ys, classes[-1], ahead[-1], style=style)
    points = plot_class_points(ax, x, y, style=style)
    ax.set_aspect("equal")
    add_legend(ax, below=True, columns=len(points), style=style)

    def motion(i: int) -> list[Artist]:
        image.set_data(class_colors(classes[i], ahead[i], style=style))
        return [image, *points, *ax.spines.values()]

    return motion


def move_fit(
    ax: Axes,
    grid: ArrayLike,
    curves: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    style: Style = STYLE,
) -> Motion:
    """A model's curve through the data.

    Args:
        ax: Where.
        grid: Values of the input [g].
        curves: Predictions [t, g].
        x: Inputs of the data [n].
        y: Targets [n].
        style: Colors and sizes.
    """
    targets, drawn = np.asarray(y, dtype=float), np.asarray(curves, dtype=float)
    room = 0.25 * float(np.ptp(targets))
    ax.scatter(x, targets, s=14, color=style.muted, alpha=0.6, linewidths=0, label="data")
    (line,) = ax.plot(
        grid, drawn[-1], color=style.highlight, linewidth=style.line_width + 0.6, label="model"
    )
    # A diverging or overshooting early curve must not hide the data.
    ax.set_ylim(targets.min() - room, targets.max() + room)
    ax.margins(x=0)
    dress(ax, "x", "y", style=style)
    add_legend(ax, below=True, columns=2, style=style)

    def motion(i: int) -> list[Artist]:
        line.set_ydata(drawn[i])
        return [line]

    return motion


def move_rows(
    ax: Axes, predictions: ArrayLike, targets: ArrayLike, *, style: Style = STYLE
) -> Motion:
    """What a model says about each row of its data, beside what it should say.

    Args:
        ax: Where.
        predictions: [t, n].
        targets: [n].
        style: Colors and sizes.
    """
    said, wanted = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    places = np.arange(len(wanted))
    ax.plot(places, wanted, "_", color=style.ink, markersize=8, label="target")
    (dots,) = ax.plot(
        places, said[-1], "o", color=style.highlight, markersize=4.5, alpha=0.8, label="prediction"
    )
    shown = np.concatenate([said[np.isfinite(said)], wanted])
    room = 0.06 * float(np.ptp(shown)) or 1.0
    ax.set_ylim(shown.min() - room, shown.max() + room)
    dress(ax, "row, by target and prediction", "prediction", style=style)
    add_legend(ax, below=True, columns=2, style=style)

    def motion(i: int) -> list[Artist]:
        dots.set_ydata(said[i])
        return [dots]

    return motion


def move_space(
    ax: Any,
    activations: ArrayLike,
    y: ArrayLike,
    *,
    names: Sequence[str],
    planes: ArrayLike | None = None,
    style: Style = STYLE,
) -> Motion:
    """The data as three hidden units see them, and the plane where the output changes its mind.

    Args:
        ax: An ``Axes3D``.
        activations: [t, n, 3].
        y: Numbers of their classes [n], from 0 to 6.
        names: Of the classes.
        planes: Corners of the plane cut off at the box [t, c, 3]; NaN for none.
        style: Colors and sizes.
    """
    seen, classes = np.asarray(activations, dtype=float), np.asarray(y, dtype=int)
    low, high = np.nanmin(seen, axis=(0, 1)), np.nanmax(seen, axis=(0, 1))
    frame_space(ax, low, high, [f"unit {unit}" for unit in (1, 2, 3)], style)
    present = np.unique(classes).tolist()
    clouds = [
        ax.plot(
            *seen[-1][classes == which].T,
            MARKERS[which],
            color=style.color(which),
            markersize=float(np.clip(60 / np.sqrt(len(classes)), 3, 8)),
            markeredgewidth=0,
            alpha=0.75,
            label=names[which],
        )[0]
        for which in present
    ]
    plane = Poly3DCollection([np.zeros((3, 3))], facecolor=style.muted, alpha=0.25)
    ax.add_collection3d(plane)
    add_legend(ax, style=style)
    corners = None if planes is None else np.asarray(planes, dtype=float)

    def motion(i: int) -> list[Artist]:
        for which, cloud in zip(present, clouds, strict=True):
            cloud.set_data_3d(*seen[i][classes == which].T)
        there = corners is not None and bool(np.isfinite(corners[i]).all())
        plane.set_visible(there)
        if corners is not None and there:
            plane.set_verts([corners[i]])
        return [plane, *clouds]

    return motion


def move_responses(
    ax: Axes, grid: ArrayLike, responses: ArrayLike, *, style: Style = STYLE
) -> Motion:
    """What each hidden unit answers along the one input.

    Args:
        ax: Where.
        grid: Values of the input [g].
        responses: [t, g, h].
        style: Colors and sizes.
    """
    answers = np.asarray(responses, dtype=float)
    lines = [
        ax.plot(grid, answers[-1, :, unit], color=style.color(unit), linestyle=style.dash(unit))[0]
        for unit in range(answers.shape[2])
    ]
    low, high = np.nanmin(answers), np.nanmax(answers)
    room = 0.05 * float(high - low) or 1.0
    ax.set_ylim(low - room, high + room)
    ax.margins(x=0)
    dress(ax, "x", "activation", style=style)

    def motion(i: int) -> list[Artist]:
        for unit, line in enumerate(lines):
            line.set_ydata(answers[i, :, unit])
        return list(lines)

    return motion


def move_point(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    loss: ArrayLike,
    steps: ArrayLike,
    path: ArrayLike,
    at: ArrayLike,
    *,
    minimum: ArrayLike | None = None,
    names: tuple[str, str] = ("first parameter", "second parameter"),
    style: Style = STYLE,
) -> Motion:
    """The parameters on the landscape, with the way they came.

    Args:
        ax: Where.
        xs: Horizontal coordinates [g].
        ys: Vertical coordinates [g'].
        loss: Losses [g', g].
        steps: Steps of the path [s], increasing.
        path: Coordinates of the parameters [s, 2].
        at: The step of each frame [t]; between two steps of the path on the line between them.
        minimum: Where the loss is least [2].
        names: Labels of the axes.
        style: Colors and sizes.
    """
    drawn = plot_landscape(
        ax, xs, ys, loss, minimum=minimum, xlabel=names[0], ylabel=names[1], style=style
    )
    add_colorbar(ax, drawn.filled, "loss", style=style)
    way, places = np.asarray(path, dtype=float), np.asarray(at, dtype=float)
    order = np.asarray(steps, dtype=float)
    heads = np.column_stack([np.interp(places, order, column) for column in way.T])
    reached = np.searchsorted(order, places)
    (halo,) = ax.plot([], [], color="white", linewidth=style.line_width + 1.8)
    (trail,) = ax.plot([], [], color=style.highlight, linewidth=style.line_width)
    (head,) = ax.plot(
        [], [], "o", color=style.highlight, markersize=10, markeredgecolor="white", zorder=8
    )

    def motion(i: int) -> list[Artist]:
        so_far = np.vstack([way[: reached[i]], heads[i]])
        for line in (halo, trail):
            line.set_data(*so_far.T)
        head.set_data(*heads[i : i + 1].T)
        return [halo, trail, head]

    return motion


def move_mark(
    ax: Axes,
    steps: ArrayLike,
    values: ArrayLike,
    at: ArrayLike,
    *,
    quantity: str,
    log_time: bool,
    style: Style = STYLE,
) -> Motion:
    """A mark on a curve over the steps.

    Args:
        ax: Where.
        steps: Steps of the curve [s].
        values: The curve [s]; values that are not finite leave a gap.
        at: The step of each frame [t].
        quantity: Label of the vertical axis.
        log_time: Logarithmic steps.
        style: Colors and sizes.
    """
    curve = {quantity: values}
    plot_curves(ax, steps, curve, log_time=log_time, log_value=True, style=style)
    places = np.asarray(at, dtype=float)
    heights = np.interp(places, np.asarray(steps, float), np.asarray(values, float))
    (rule,) = ax.plot([0, 0], [0, 1], color=style.muted, transform=ax.get_xaxis_transform())
    (mark,) = ax.plot(
        [], [], "o", color=style.highlight, markersize=9, markeredgecolor="white", zorder=8
    )

    def motion(i: int) -> list[Artist]:
        rule.set_xdata([places[i]] * 2)
        mark.set_data([places[i]], [heights[i]])
        return [rule, mark]

    return motion
