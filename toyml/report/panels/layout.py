"""What the plots of all panels share: axes, legends, marks of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toyml.report.scene import Spec
from toyml.report.theme import line_token

SYMBOLS = ("circle", "triangle-up", "square", "diamond", "cross", "x", "star")
CLEAR = "rgba(0,0,0,0)"


def plain(text: str) -> str:
    """Text for Plotly, which would read ``<b>`` and ``<a href>`` in a name as markup.

    Example:
        >>> plain("<a href='x'>w</a>")
        '&lt;a href=&#x27;x&#x27;&gt;w&lt;/a&gt;'
    """
    return escape(text)


def axis(title: str = "", **settings: Any) -> Spec:
    """An axis in the style of the house."""
    return {
        "title": {"text": title, "standoff": 6, "font": {"size": 12}},
        "gridcolor": "@grid",
        "zeroline": False,
        "linecolor": "@muted",
        "tickcolor": "@muted",
        "ticks": "outside",
        "ticklen": 4,
        "tickfont": {"size": 11},
        "automargin": True,
        **settings,
    }


def layout(**settings: Any) -> Spec:
    """A layout in the style of the house."""
    return {
        "autosize": True,
        "margin": {"l": 48, "r": 14, "t": 10, "b": 40},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": "@ink", "size": 12},
        "hoverlabel": {
            "bgcolor": "@ground",
            "bordercolor": "@muted",
            "font": {"color": "@ink", "size": 12},
            "align": "left",
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 11},
            "bgcolor": CLEAR,
            "itemsizing": "constant",
        },
        "showlegend": True,
        "uirevision": "stay",
        **settings,
    }


def plane(
    xtitle: str, ytitle: str, xs: NDArray[np.float64], ys: NDArray[np.float64], **settings: Any
) -> Spec:
    """The layout of a plane whose two axes have the same unit."""
    return layout(
        xaxis=axis(xtitle, range=[float(xs[0]), float(xs[-1])], showgrid=False, constrain="domain"),
        yaxis=axis(
            ytitle,
            range=[float(ys[0]), float(ys[-1])],
            showgrid=False,
            constrain="domain",
            scaleanchor="x",
        ),
        **settings,
    )


def over_steps(title: str, values: NDArray[np.float64], **settings: Any) -> Spec:
    """The layout of a plot over the steps; the page makes the horizontal axis.

    Args:
        title: Of the vertical axis.
        values: What is drawn; the axis is logarithmic where they are positive and spread far.
        settings: Further keys of the layout.
    """
    scale = log_axis(values) if decades(values) else {"exponentformat": "power"}
    return layout(
        xaxis=axis("step", showgrid=False),
        yaxis=axis(title, **scale),
        **{"hovermode": "x unified", **settings},
    )


def log_axis(values: NDArray[np.float64]) -> Spec:
    """A logarithmic axis with about six ticks at powers of ten, or at 1, 2 and 5 of each.

    Args:
        values: What is to be seen; some finite and positive.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    low, high = np.log10(positive.min()), np.log10(positive.max())
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    if high - low > 2.5:
        ticks = [10.0**p for p in powers][:: max(1, round((high - low) / 6))]
    else:
        ticks = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    room = 0.04 * (high - low)
    return {
        "type": "log",
        "range": [low - room, high + room],
        "tickvals": ticks,
        "ticktext": [_tick(tick) for tick in ticks],
    }


def _tick(value: float) -> str:
    power = int(np.floor(np.log10(value) + 1e-9))
    if -4 < power < 5:
        return f"{value:,.{max(-power, 0)}f}"
    mantissa = round(value / 10.0**power)
    return f"{'' if mantissa == 1 else f'{mantissa} × '}10<sup>{power}</sup>".replace("-", "−")


def decades(values: NDArray[np.float64]) -> bool:
    """Whether values are positive and spread so far that a logarithmic axis serves them."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > 30 * finite.min())


def bar(title: str, **settings: Any) -> Spec:
    """A slim color bar."""
    return {
        "title": {"text": title, "side": "right", "font": {"size": 11}},
        "thickness": 9,
        "outlinewidth": 0,
        "tickfont": {"size": 10},
        "ticklen": 3,
        "tickcolor": "@muted",
        "xpad": 6,
        **settings,
    }


def shapes(names: Sequence[str]) -> str:
    """Which symbol is which of two classes, in a sentence after a space."""
    return f" Circles are {names[0]}, triangles {names[1]}."


"""For the caption of a plot with two classes; in its legend they would take the room of the plot.
More have a legend."""


def points(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    target: NDArray[np.float64],
    names: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> list[Spec]:
    """The data in the plane: of classes each with its color and shape, else by target.

    Args:
        x: Horizontal coordinates [n].
        y: Vertical coordinates [n].
        target: Targets or numbers of classes [n].
        names: Of the classes; empty where the targets are none.
        limits: Targets at the ends of the scale of colors, to match a field below the points.
    """
    size = 11 if len(x) <= 20 else 5 if len(x) > 150 else 7
    if not names:
        low, high = limits or (None, None)
        return [
            {
                "type": "scatter",
                "mode": "markers",
                "name": "data",
                "x": x,
                "y": y,
                "marker": {
                    "size": size,
                    "color": target,
                    "colorscale": "@loss",
                    "cmin": low,
                    "cmax": high,
                    "line": {"color": "@ink", "width": 1},
                },
                "customdata": target,
                "hovertemplate": "(%{x:.4g}, %{y:.4g})<br>target %{customdata:.4g}"
                "<extra>data</extra>",
            }
        ]
    count = len(names)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": names[label],
            "showlegend": count > 2,
            "x": x[target == label],
            "y": y[target == label],
            "marker": {
                "symbol": SYMBOLS[label],
                "size": size + (label == 1),
                "color": line_token(label),
                "line": {"color": "@ground", "width": 1.5 if size > 7 else 0.5},
            },
            "hovertemplate": f"(%{{x:.4g}}, %{{y:.4g}})<extra>{names[label]}</extra>",
        }
        for label in range(count)
        if (target == label).any()
    ]


def curve(name: str, index: int, **settings: Any) -> Spec:
    """A line with the color of its place in the palette."""
    dashes = ("solid", "dash", "dashdot", "dot")
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(name),
        "line": {"color": line_token(index), "width": 2, "dash": dashes[index // 7 % 4]},
        **settings,
    }


def span(*arrays: NDArray[np.float64], room: float = 0.05) -> list[float]:
    """The least and the greatest finite value, with some room."""
    values = np.concatenate([np.ravel(a) for a in arrays])
    values = values[np.isfinite(values)]
    if not values.size:
        return [-1.0, 1.0]
    low, high = float(values.min()), float(values.max())
    more = room * (high - low) or max(abs(high), 1.0) * room
    return [low - more, high + more]


def short(names: Sequence[str]) -> list[str]:
    """Names of parameters without the module that all of them belong to.

    Example:
        >>> short(["linear.weight[0,0]", "linear.bias[0]"])
        ['weight[0,0]', 'bias[0]']
        >>> short(["0.weight[0,0]", "2.bias[0]"])
        ['0.weight[0,0]', '2.bias[0]']
    """
    first = {name.split(".", 1)[0] for name in names}
    if len(first) == 1 and all("." in name.split("[")[0] for name in names):
        return short([name.split(".", 1)[1] for name in names])
    return list(names)


def of_rows(shown: int, total: int) -> str:
    """How many rows are drawn, where it is not all of them."""
    return f" {shown:,} of {total:,} rows are drawn." if shown < total else ""


def each_says(words: Mapping[str, str]) -> str:
    """What is said of several runs, each sentence once.

    Example:
        >>> each_says({"a": "It falls.", "b": "It falls.", "c": "It rises."})
        'a, b: It falls. c: It rises.'
        >>> each_says({"a": "It falls.", "b": "It falls."})
        'It falls.'
    """
    groups: dict[str, list[str]] = {}
    for name, said in words.items():
        groups.setdefault(said, []).append(name)
    if len(groups) == 1:
        return next(iter(groups))
    return " ".join(f"{', '.join(names)}: {said}" for said, names in groups.items())
