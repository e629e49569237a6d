"""Dotted keys of a config: looked up, listed, and overridden."""

from __future__ import annotations

import copy
import difflib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from toyml.errors import UserError
from toyml.sweep.ranges import Value

Config = dict[str, Any]

MISSING = object()
"""In place of a value that is not there; a value can be ``None``."""


def find(config: Any, key: str) -> Any:
    """A value by dotted key (``init_args`` may be left out, list items are numbers), or MISSING."""
    for part in key.split("."):
        if isinstance(config, Mapping) and part not in config and "init_args" in config:
            config = config["init_args"]
        if isinstance(config, Mapping) and part in config:
            config = config[part]
        elif isinstance(config, list | tuple) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            return MISSING
    return config


def outermost_list(config: Config, key: str) -> str:
    """The first part of a dotted key that is a list, or the key itself.

    Example:
        >>> outermost_list({"model": {"widths": [2, 1]}}, "model.widths.0")
        'model.widths'
    """
    parts = key.split(".")
    places = (".".join(parts[:i]) for i in range(1, len(parts)))
    return next((place for place in places if isinstance(find(config, place), list)), key)


def near(config: Config, key: str) -> str:
    """A hint with the nearest keys there are, or with the items of the list, or nothing."""
    before, _, number = key.rpartition(".")
    items = find(config, before) if before else MISSING
    if isinstance(items, list) and re.fullmatch(r"-?\d+", number):
        return f"; {before} has {len(items)} items, numbered from 0"
    known = {k: None for part in ("model", "data", "trainer") for k in short_keys(config, part)}
    close = difflib.get_close_matches(key, list(known), n=2, cutoff=0.6)
    last = key.rsplit(".", 1)[-1]
    close += [k for k in known if k.rsplit(".", 1)[-1] == last and k not in close][:2]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def short_keys(config: Config, part: str) -> Iterator[str]:
    """Dotted keys of everything below ``part``, without ``init_args`` and ``class_path``."""

    def walk(value: Any, prefix: str) -> Iterator[str]:
        yield prefix
        if isinstance(value, Mapping):
            for key, item in value.items():
                if key == "init_args":
                    yield from itertools.islice(walk(item, prefix), 1, None)
                elif key != "class_path":
                    yield from walk(item, f"{prefix}.{key}")

    return itertools.islice(walk(config.get(part), part), 1, None)


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of all leaves of a config."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    if not items:
        yield prefix[:-1], value
    for key, item in items:
        yield from leaves(item, f"{prefix}{key}.")


def override(config: Config, changes: Mapping[str, Value]) -> Config:
    """A copy of a config with values changed by dotted key; ``init_args`` may be left out.

    A key inside another one that changes too is written into the new value, whatever their order.

    Raises:
        UserError: A key that is not in the config.

    Example:
        >>> override({"data": {"class_path": "A", "init_args": {"n": 1}}}, {"data.n": 2})
        {'data': {'class_path': 'A', 'init_args': {'n': 2}}}
        >>> override({"widths": [2, 1, 1]}, {"widths.1": 5})
        {'widths': [2, 5, 1]}
        >>> override({"widths": [2, 1, 1]}, {"widths.1": 5, "widths": [2, 3, 2]})
        {'widths': [2, 5, 2]}
    """
    changed = copy.deepcopy(config)
    for key, value in sorted(changes.items(), key=lambda item: item[0].count(".")):
        before, _, last = key.rpartition(".")
        place = find(changed, before) if before else changed
        known = find(config, key) is not MISSING
        if isinstance(place, dict) and last not in place and "class_path" in place:
            place = place.setdefault("init_args", {})
        if isinstance(place, dict) and (known or last in place):
            # A class path that stands for the class with its defaults has no place for more.
            path = isinstance(value, str) and isinstance(place.get(last), Mapping)
            place[last] = {"class_path": value} if path else copy.deepcopy(value)
        elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
            place[int(last)] = copy.deepcopy(value)
        else:
            raise UserError(f"the config has no {key!r} to override{near(config, key)}")
    return changed


def word(value: Value) -> str:
    """A value as a word: itself, or JSON for what is no text.

    Example:
        >>> word([2, 3, 1]), word("torch.nn.ReLU"), word(True)
        ('[2, 3, 1]', 'torch.nn.ReLU', 'true')
    """
    return value if isinstance(value, str) else json.dumps(value)


def end_column(key: str) -> str:
    """Column of the last value of a varied initial parameter.

    Example:
        >>> end_column("initial.linear.weight[0,0]")
        'end.linear.weight[0,0]'
    """
    return "end." + key.removeprefix("initial.")


def start_column(end: str) -> str:
    """Column of the varied initial parameter whose last value is in column ``end``.

    Example:
        >>> start_column("end.linear.weight[0,0]")
        'initial.linear.weight[0,0]'
    """
    return "initial." + end.removeprefix("end.")
