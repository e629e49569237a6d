"""Colors of the interactive panels on a light and on a dark ground.

A panel names its colors by tokens, strings that begin with ``@``; the page puts the colors of the
reader's ground in their place, and changes them when the reader changes the ground.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toyml.palette import (
    DARK_LINES,
    DARK_LOSS,
    DARK_PROBABILITY,
    INK,
    LINES,
    LOSS,
    PROBABILITY,
    RUNS,
)

Theme = Mapping[str, Any]


def colorscale(colors: Sequence[str]) -> list[list[float | str]]:
    """Evenly spaced colors as Plotly takes them.

    Example:
        >>> colorscale(["#000000", "#ffffff"])
        [[0.0, '#000000'], [1.0, '#ffffff']]
    """
    return [[i / (len(colors) - 1), color] for i, color in enumerate(colors)]


def class_colors(lines: Sequence[str], ground: str, k: int) -> list[list[float | str]]:
    """Colors over [0, k]: class c from its own color, half faded, at c to the ground before c + 1.

    Example:
        >>> class_colors(["#ff0000", "#0000ff"], "#ffffff", 2)[:2]
        [[0.0, '#ff8080'], [0.4999, '#ffffff']]
    """
    found: list[list[float | str]] = []
    for c in range(k):
        end = 1.0 if c == k - 1 else (c + 0.9998) / k
        found += [[c / k, blended(lines[c], ground)], [end, ground]]
    return found


def blended(first: str, second: str) -> str:
    """The color halfway between two.

    Example:
        >>> blended("#000000", "#ffffff")
        '#808080'
    """
    pairs = zip(bytes.fromhex(first[1:]), bytes.fromhex(second[1:]), strict=True)
    return "#" + bytes((a + b + 1) // 2 for a, b in pairs).hex()


def _theme(lines: Sequence[str], probability: Sequence[str], loss: Sequence[str]) -> dict[str, Any]:
    undecided = probability[len(probability) // 2]
    return {
        **{f"@classes{k}": class_colors(lines, undecided, k) for k in range(2, len(lines) + 1)},
        **{f"@line{i}": color for i, color in enumerate(lines)},
        **{f"@run{i}": lines[place] for i, place in enumerate(RUNS)},
        "@class0": lines[0],
        "@class1": lines[1],
        "@probability": colorscale(probability),
        "@loss": colorscale(loss),
    }


LIGHT: Theme = {
    **_theme(LINES, PROBABILITY, LOSS),
    "@ink": INK,
    "@muted": "#6B7280",
    "@faint": "#C3C8CE",
    "@grid": "#E7E9EC",
    "@ground": "#FFFFFF",
    "@glass": "rgba(255,255,255,0.82)",
}
DARK: Theme = {
    **_theme(DARK_LINES, DARK_PROBABILITY, DARK_LOSS),
    "@ink": "#E4E6E9",
    "@muted": "#A3ABB4",
    "@faint": "#59616A",
    "@grid": "#30363C",
    "@ground": "#1D2024",
    "@glass": "rgba(29,32,36,0.82)",
}


def line_token(index: int) -> str:
    """The color of the curve with this index; the palette starts again after its end."""
    return f"@line{index % len(LINES)}"


def run_token(place: int) -> str:
    """The color of a run by its place in the comparison, the same in every panel and figure."""
    return f"@run{place % len(RUNS)}"


def painted(value: Any, theme: Theme) -> Any:
    """A specification with colors in the place of tokens; ``page.js`` does the same.

    Example:
        >>> painted({"color": "@ground", "name": "a"}, LIGHT)
        {'color': '#FFFFFF', 'name': 'a'}
    """
    if isinstance(value, str):
        return theme.get(value, value) if value.startswith("@") else value
    if isinstance(value, Mapping):
        return {key: painted(item, theme) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [painted(item, theme) for item in value]
    return value
