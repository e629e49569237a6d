"""A varied key as an axis of a picture or a table: its label, and labels of its values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from toyml.errors import UserError
from toyml.sweep.keys import word


def label_of(key: str, values: Sequence[Any] = ()) -> str:
    """What a key is called on an axis.

    Example:
        >>> label_of("model.optimizer.lr"), label_of("initial.linear.weight[0,0]")
        ('lr', 'start of linear.weight[0,0]')
        >>> label_of("model.net.widths", [[2, 1, 1], [2, 3, 1]])
        'hidden units'
    """
    if key.endswith("widths") and values and all(isinstance(v, list) for v in values):
        return "hidden units"
    if key.startswith("initial."):
        return f"start of {key.removeprefix('initial.')}"
    *before, last = key.split(".")
    return f"{before[-1]}.{last}" if last.isdigit() and before else last


def value_labels(values: Sequence[Any]) -> list[str]:
    """Short names of the values of a key, all different.

    The class of a class path; of lists that differ in one place, what stands there.

    Example:
        >>> value_labels(["torch.nn.ReLU", "torch.nn.Tanh"])
        ['ReLU', 'Tanh']
        >>> value_labels([[2, 1, 1], [2, 3, 1]])
        ['1', '3']
        >>> value_labels([0.5, 2])
        ['0.5', '2']
    """
    lists = all(isinstance(v, list) for v in values) and len({len(v) for v in values}) == 1
    if lists and len(values) > 1:
        differ = [i for i in range(len(values[0])) if len({json.dumps(v[i]) for v in values}) > 1]
        if len(differ) == 1:
            return [word(v[differ[0]]) for v in values]
    names = [f"{v:g}" if numeric([v]) else word(v) for v in values]
    short = [v.rsplit(".", 1)[-1] if isinstance(v, str) else names[i] for i, v in enumerate(values)]
    return short if len(set(short)) == len(short) else names


def numeric(values: Sequence[Any]) -> bool:
    """Whether all values are numbers."""
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def find_key(varied: Mapping[str, Sequence[Any]], name: str) -> str:
    """The varied key of this name, or the only one that ends with it.

    Raises:
        UserError: There is none, or there are several.

    Example:
        >>> find_key({"model.optimizer.lr": [1.0]}, "lr")
        'model.optimizer.lr'
    """
    found = [key for key in varied if key == name] or [
        key for key in varied if key.endswith(f".{name}")
    ]
    if len(found) != 1:
        raise UserError(f"{name!r} is not one varied key; varied are {', '.join(varied) or 'none'}")
    return found[0]
