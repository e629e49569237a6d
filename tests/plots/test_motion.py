"""Every frame is what its own moment looks like, whatever was shown before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from toyml import plots
from toyml.plots import Motion

G = np.linspace(0, 1, 9)
T = np.arange(4)[:, None]
CLASSES = np.array([0.0, 1.0, 0.0, 1.0])
SQUARE = np.array([[0.2, 0.2], [0.8, 0.2], [0.2, 0.8], [0.8, 0.8]])
FIELDS = (G[None, :, None] + G[None, None, :]) * (0.3 + 0.2 * T[..., None])
LINES = np.array([[[[0.1 * t, 0], [0.5, 1]], [[np.nan] * 2] * 2] for t in range(4)])
SPACE = np.random.default_rng(0).random((4, 4, 3))
PLANES = np.array([SPACE[t, :3] if t != 1 else np.full((3, 3), np.nan) for t in range(4)])

STARTS: dict[str, Callable[[Any], Motion]] = {
    "surface": lambda ax: plots.move_surface(
        ax, G, G, FIELDS, SQUARE, CLASSES, level=0.5, quantity="probability", lines=LINES
    ),
    "surface without classes": lambda ax: plots.move_surface(
        ax, G, G, FIELDS, SQUARE, CLASSES, level=None, quantity="height"
    ),
    "classes": lambda ax: plots.move_class_map(
        ax, G, G, (FIELDS > 0.3).astype(int) + 1, FIELDS, SQUARE, 2 * CLASSES
    ),
    "fit": lambda ax: plots.move_fit(ax, G, T * G, SQUARE[:, 0], SQUARE[:, 1]),
    "rows": lambda ax: plots.move_rows(ax, T / 4 + 0 * CLASSES, CLASSES),
    "space": lambda ax: plots.move_space(ax, SPACE, CLASSES, planes=PLANES),
    "responses": lambda ax: plots.move_responses(ax, G, np.stack([T * G, 1 - T * G / 3], axis=-1)),
    "point": lambda ax: plots.move_point(
        ax,
        G,
        G,
        FIELDS[-1],
        [0, 2, 4, 6],
        np.column_stack([G[:4], G[:4]]),
        [0, 1, 4, 6],
        minimum=[0.1, 0.1],
    ),
    "mark": lambda ax: plots.move_mark(
        ax, [0, 1, 5, 10], [4.0, 3.0, np.nan, 1.0], [0, 1, 4, 10], quantity="loss", log_time=True
    ),
}


def scene(name: str) -> tuple[Figure, Motion]:
    figure = plots.new_figure(4, 3)
    ax = figure.add_subplot(projection="3d" if name == "space" else None)
    return figure, STARTS[name](ax)


@pytest.mark.parametrize("name", STARTS)
def test_a_frame_does_not_depend_on_those_before(name: str) -> None:
    figure, motion = scene(name)
    frames = list(plots.play(figure, [motion], 4, dpi=60))
    assert [frame.shape for frame in frames] == [(180, 240, 3)] * 4
    assert len({frame.tobytes() for frame in frames}) == 4, "it moves"
    for i in (1, 2):
        figure, motion = scene(name)
        (alone,) = plots.play(figure, [lambda _, i=i, motion=motion: motion(i)], 1, dpi=60)
        np.testing.assert_array_equal(alone, frames[i])


@pytest.mark.parametrize("name", STARTS)
def test_what_stays_is_drawn_and_what_moves_is_not_left_behind(name: str) -> None:
    """Played there and back, the first frame is the last: nothing of the others remains."""
    figure, motion = scene(name)
    there = [0, 3, 2, 0]
    frames = list(plots.play(figure, [lambda i: motion(there[i])], 4, dpi=60))
    np.testing.assert_array_equal(frames[0], frames[3])
    assert (frames[0] != 255).any()


def test_each_of_several_classes_has_its_cloud() -> None:
    ax = plots.new_figure(4, 3).add_subplot(projection="3d")
    plots.move_space(ax, SPACE, [0, 1, 2, 1])
    clouds = [line for line in ax.lines if str(line.get_label()).startswith("class")]
    assert [line.get_label() for line in clouds] == ["class 0", "class 1", "class 2"]
    assert [len(np.asarray(line.get_data_3d()[0])) for line in clouds] == [1, 2, 1]  # type: ignore[attr-defined]


def test_a_point_lies_on_its_path_also_between_two_snapshots() -> None:
    ax = plots.new_figure(4, 3).subplots()
    path = [[0.0, 0.0], [0.4, 0.2], [1.0, 1.0]]
    motion = plots.move_point(ax, G, G, FIELDS[-1], [0, 10, 100], path, [0, 5, 10, 100])
    shown = [[np.asarray(line.get_xydata()) for line in motion(i)[1:]] for i in range(4)]
    assert [head[0].tolist() for _, head in shown] == [[0, 0], [0.2, 0.1], [0.4, 0.2], [1, 1]]
    assert [trail.tolist() for trail, _ in shown] == [
        path[:1],
        [path[0], [0.2, 0.1]],
        path[:2],
        path,
    ]


def test_words_change_and_have_room_for_the_longest() -> None:
    figure = plots.new_figure(4, 3)
    figure.subplots()
    words = ["step 0", "step 1,000,000 of 1,000,000"]
    first, last = plots.play(figure, [plots.move_text(figure, words)], 2, dpi=60)
    dark = [(frame[:20] < 128).any(axis=2).sum() for frame in (first, last)]
    assert 0 < dark[0] < dark[1]
