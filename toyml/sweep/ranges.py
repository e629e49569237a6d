"""What stands behind ``--vary KEY=``: lists of values and the ranges that write them short."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

from toyml.errors import UserError

Value = Any
"""A number, a word, a truth value, or a list of these: what a config holds."""

FORMS = "a,b,c  linspace(a,b,n)  logspace(a,b,n)  range(a,b,step)"
MOST_VALUES = 1_000_000
"""A range longer than this is a slip of the keyboard, and would fill the memory."""


def parse_values(text: str) -> list[Value]:
    """The values of a range or list, in order.

    ``linspace(a,b,n)`` gives n values from a to b, ``logspace(a,b,n)`` n from 10^a to 10^b, both
    ends included; ``range(a,b)`` and ``range(a,b,step)`` count as Python does, b excluded.
    Anything else is a list of YAML values, separated by the commas outside brackets. Ranges can
    stand in a list.

    Args:
        text: What was given.

    Raises:
        UserError: Nothing in it, a bad range, or a value twice.

    Example:
        >>> parse_values("0,0.5,0.9")
        [0, 0.5, 0.9]
        >>> parse_values("logspace(-2,0,3)")
        [0.01, 0.1, 1.0]
        >>> parse_values("[2,1,1],[2,3,1]")
        [[2, 1, 1], [2, 3, 1]]
        >>> parse_values("range(0,6,2),torch.nn.ReLU")
        [0, 2, 4, 'torch.nn.ReLU']
    """
    values: list[Value] = []
    for piece in split(text):
        call = re.fullmatch(r"(linspace|logspace|range)\((.*)\)", piece)
        values += RANGES[call[1]](piece, _numbers(piece, call[2])) if call else [_read(piece)]
    if not values:
        raise UserError(f"{text!r} is an empty range; give values such as {FORMS}")
    written = [repr(value) for value in values]
    if len(set(written)) < len(written):
        twice = next(w for w in written if written.count(w) > 1)
        raise UserError(f"{text!r} holds {twice} twice; give each value once")
    return values


def split(text: str) -> list[str]:
    """The pieces between the commas that are outside all brackets.

    Raises:
        UserError: A bracket without its partner, or nothing between two commas.
    """
    pieces, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            pieces.append(text[start:i].strip())
            start = i + 1
    if depth:
        raise UserError(f"{text!r} has a bracket without its partner")
    pieces.append(text[start:].strip())
    if pieces == [""]:
        return []
    if "" in pieces:
        raise UserError(f"{text!r} has nothing between two commas; give values such as {FORMS}")
    return pieces


def _read(piece: str) -> Value:
    # YAML 1.1 takes 1e-3 (without a point) for a word.
    try:
        return int(piece)
    except ValueError:
        pass
    try:
        number = float(piece)
    except ValueError:
        pass
    else:
        if not math.isfinite(number):
            raise UserError(f"{piece} is no value to vary; give finite numbers")
        return number
    try:
        return yaml.safe_load(piece)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{piece!r} is no value: {' '.join(str(error).split())}") from error


def _numbers(piece: str, inside: str) -> list[float]:
    try:
        numbers = [float(n) if re.search(r"[.eEn]", n) else int(n) for n in inside.split(",")]
    except ValueError:
        raise UserError(f"{piece} holds something that is no number; write {FORMS}") from None
    if not all(math.isfinite(n) for n in numbers):
        raise UserError(f"{piece} has no finite ends; write {FORMS}")
    return numbers


def _spaced(piece: str, numbers: list[float]) -> tuple[float, float, int]:
    if len(numbers) != 3 or not float(numbers[2]).is_integer():
        raise UserError(f"{piece} needs two ends and a whole number of values; write {FORMS}")
    first, last, count = numbers[0], numbers[1], int(numbers[2])
    if not 1 <= count <= MOST_VALUES:
        raise UserError(f"{piece} has {count} values; give 1 to {MOST_VALUES:,}")
    if (first == last) != (count == 1):
        raise UserError(f"{piece} has {count} values from {first:g} to {last:g}; each comes once")
    return first, last, count


def _linspace(piece: str, numbers: list[float]) -> list[float]:
    first, last, count = _spaced(piece, numbers)
    return [float(first)] + [
        # Both ends exactly, and no rounding noise such as 0.30000000000000004 between them.
        float(last) if i == count - 1 else _rounded(first + (last - first) * i / (count - 1))
        for i in range(1, count)
    ]


def _logspace(piece: str, numbers: list[float]) -> list[float]:
    first, last, _ = _spaced(piece, numbers)
    if max(abs(first), abs(last)) > 300:
        raise UserError(f"{piece} has ends beyond 10^300; they are exponents of ten")
    return [_rounded(10.0**exponent) for exponent in _linspace(piece, numbers)]


def _range(piece: str, numbers: list[float]) -> list[float]:
    if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] == 0):
        raise UserError(f"{piece} needs a start, an end and a step other than 0; write {FORMS}")
    start, stop = numbers[0], numbers[1]
    step = numbers[2] if len(numbers) == 3 else 1
    count = max(0, math.ceil((stop - start) / step - 1e-9))
    if count == 0:
        raise UserError(f"{piece} is an empty range; from {start:g} to {stop:g} by {step:g}")
    if count > MOST_VALUES:
        raise UserError(f"{piece} has {count:,} values; give at most {MOST_VALUES:,}")
    values = [start + i * step for i in range(count)]
    return values if all(isinstance(n, int) for n in numbers) else [_rounded(v) for v in values]


def _rounded(value: float) -> float:
    return float(f"{value:.15g}")


RANGES: dict[str, Callable[[str, list[float]], list[Value]]] = {
    "linspace": _linspace,
    "logspace": _logspace,
    "range": _range,
}
