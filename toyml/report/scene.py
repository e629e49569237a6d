"""What the page shows in motion: panels that all follow one slider over the steps.

A panel is a Plotly figure of plain dictionaries and a list of moves; a move says which attribute
of which trace takes its values from which array at every step. ``page.js`` knows no kind of panel,
only moves, so a new kind needs a function that builds one and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toyml.report.packing import Levels

Spec = dict[str, Any]


@dataclass(frozen=True)
class Move:
    """An attribute of a trace that follows the steps.

    Attributes:
        trace: Position of the trace in its plot.
        attribute: Such as ``"y"`` or ``"z"``.
        values: Its values, the first axis for the steps.
        steps: Numbers of updates done [t]; between two of them, and after the last, the earlier
            one holds.
        trail: Show all values up to the step instead of the one at the step.
        choice: Position of the panel's choice whose option picks the column of the last axis.

    Raises:
        ValueError: As many values as steps are needed.
    """

    trace: int
    attribute: str
    values: NDArray[Any] | Levels
    steps: NDArray[np.int64]
    trail: bool = False
    choice: int | None = None

    def __post_init__(self) -> None:
        if self.values.shape[0] != len(self.steps):
            raise ValueError(
                f"{self.attribute} of trace {self.trace} has {self.values.shape[0]} values for "
                f"{len(self.steps)} steps; give one for each"
            )


@dataclass(frozen=True)
class Column:
    """An attribute of a trace that follows a choice alone, such as the curve of one parameter.

    Attributes:
        trace: Position of the trace in its plot.
        attribute: Such as ``"y"``.
        values: [n, options].
        choice: Position of the panel's choice.
    """

    trace: int
    attribute: str
    values: NDArray[Any]
    choice: int


@dataclass(frozen=True)
class Choice:
    """Something the reader chooses within a panel.

    Attributes:
        label: What is chosen.
        options: The names to choose from.
        chosen: Position of the one at the start.
        titles: Keys of the layout that take the option's name, such as ``"xaxis.title.text"``.
    """

    label: str
    options: Sequence[str]
    chosen: int = 0
    titles: Sequence[str] = ()


@dataclass(frozen=True)
class Plot:
    """A Plotly figure of a panel.

    Attributes:
        label: Its name, where a panel has several to switch between.
        data: The traces; colors may be tokens of ``theme``.
        layout: The layout, likewise.
        moves: What follows the slider.
        columns: What follows a choice alone.
        choices: What the reader can choose.
        time: Whether the horizontal axis is the steps: then the page draws the present step on it,
            switches it between linear and logarithmic, and a click on it jumps to a step.
    """

    label: str
    data: Sequence[Spec]
    layout: Spec
    moves: Sequence[Move] = ()
    columns: Sequence[Column] = ()
    choices: Sequence[Choice] = ()
    time: bool = False


@dataclass(frozen=True)
class Reading:
    """A number or a word below a panel's title that follows the steps.

    Attributes:
        label: What it is; may be empty for words.
        values: Numbers [t] or words [t].
        steps: Numbers of updates done [t].
    """

    label: str
    values: NDArray[np.float64] | Sequence[str]
    steps: NDArray[np.int64]


@dataclass(frozen=True)
class Verdict:
    """What a reader has to know before anything is read from a picture.

    Attributes:
        words: Whole sentences.
        doubt: Whether they warn.
    """

    words: str
    doubt: bool = False


@dataclass(frozen=True)
class Panel:
    """One picture of the page.

    Attributes:
        name: Short and unique.
        title: What it shows.
        caption: How to read it, with numbers.
        alt: What it shows, for those who cannot see it.
        plots: One figure, or several to switch between.
        readings: What is written out at every step.
        verdicts: How far the picture can be trusted; they stand above it.

    Raises:
        ValueError: No plot, or no alternative text.
    """

    name: str
    title: str
    caption: str
    alt: str
    plots: Sequence[Plot]
    readings: Sequence[Reading] = ()
    verdicts: Sequence[Verdict] = ()

    def __post_init__(self) -> None:
        if not self.plots:
            raise ValueError(f"panel {self.name!r} has no plot; give at least one")
        if not self.alt.strip():
            raise ValueError(f"panel {self.name!r} has no alternative text; give alt")


@dataclass(frozen=True)
class Scene:
    """Everything that moves.

    Attributes:
        steps: The steps at which the slider can stop [t], increasing.
        panels: The panels in reading order.
        runs: For several runs their names and last steps; a run that ended earlier holds there.
        losses: By run (one nameless run, ``""``), steps [t] and losses [t] written beside the
            slider.
        left_out: For a panel that cannot be made, its name and why.
        log: Whether time is logarithmic at first.
        about: For several runs what sets each apart, by name; may be empty.

    Raises:
        ValueError: No steps, or two panels of one name.
    """

    steps: NDArray[np.int64]
    panels: Sequence[Panel]
    runs: Mapping[str, int] = field(default_factory=dict)
    losses: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = field(
        default_factory=dict
    )
    left_out: Mapping[str, str] = field(default_factory=dict)
    log: bool = False
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [panel.name for panel in self.panels]
        if len(set(names)) != len(names):
            raise ValueError(f"panels are named {names}; give each a name of its own")
        if not len(self.steps) or (np.diff(self.steps) <= 0).any():
            raise ValueError("a scene needs steps that increase, at least one")


def held(steps: ArrayLike, at: ArrayLike) -> NDArray[np.int64]:
    """Positions of the last of ``steps`` that is not after each of ``at``; 0 before the first.

    Example:
        >>> held([0, 10, 20], [0, 5, 10, 99]).tolist()
        [0, 0, 1, 2]
    """
    found = np.searchsorted(np.asarray(steps), np.asarray(at), side="right") - 1
    return np.maximum(found, 0)


def wire(scene: Scene) -> dict[str, Any]:
    """The scene as ``page.js`` takes it: dictionaries and lists with arrays as leaves."""
    maps = _Maps(scene.steps)
    return {
        "steps": scene.steps,
        "log": scene.log,
        "runs": [{"name": name, "last": last} for name, last in scene.runs.items()],
        "losses": [
            {"name": name, "values": values, "rows": maps.of(steps)}
            for name, (steps, values) in scene.losses.items()
        ],
        "panels": [_panel(panel, maps) for panel in scene.panels],
        "maps": maps.tables,
    }


class _Maps:
    """From the slider's stops to positions in views; equal tables are kept once."""

    def __init__(self, stops: NDArray[np.int64]) -> None:
        self.stops = stops
        self.tables: list[NDArray[np.int64]] = []
        self._known: dict[bytes, int] = {}

    def of(self, steps: ArrayLike) -> int:
        table = held(steps, self.stops)
        key = table.tobytes()
        if key not in self._known:
            self._known[key] = len(self.tables)
            self.tables.append(table)
        return self._known[key]


def _panel(panel: Panel, maps: _Maps) -> Spec:
    return {
        "name": panel.name,
        "alt": panel.alt,
        "plots": [_plot(plot, maps) for plot in panel.plots],
        "readings": [
            {"label": r.label, "values": r.values, "rows": maps.of(r.steps)} for r in panel.readings
        ],
    }


def _plot(plot: Plot, maps: _Maps) -> Spec:
    return {
        "label": plot.label,
        "time": plot.time,
        "data": list(plot.data),
        "layout": plot.layout,
        "choices": [
            {
                "label": c.label,
                "options": list(c.options),
                "chosen": c.chosen,
                "titles": [*c.titles],
            }
            for c in plot.choices
        ],
        "columns": [
            {"trace": c.trace, "key": c.attribute, "values": c.values, "choice": c.choice}
            for c in plot.columns
        ],
        "moves": [
            {
                "trace": move.trace,
                "key": move.attribute,
                "values": move.values,
                "rows": maps.of(move.steps),
                "trail": move.trail,
                "choice": move.choice,
            }
            for move in plot.moves
        ],
    }


def moved(plot: Plot, step: int) -> Iterator[tuple[int, str, NDArray[Any]]]:
    """What the moves of a plot put where at a step: trace, attribute, values; as ``page.js`` does.

    Args:
        plot: The plot.
        step: Number of updates done.
    """
    for move in plot.moves:
        row = int(held(move.steps, [step])[0])
        values = move.values.values() if isinstance(move.values, Levels) else move.values
        if move.choice is not None:
            values = values[..., plot.choices[move.choice].chosen]
        yield move.trace, move.attribute, values[: row + 1] if move.trail else values[row]
