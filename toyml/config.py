"""A config file, read without trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from toyml.errors import UserError

Config = dict[str, Any]
MOST_NODES = 100_000
"""Values a config may hold; the longest config of an experiment has some thousands."""


class Loader(yaml.SafeLoader):
    """Plain values; what ``<<`` merges is counted, since merges of merges double and double."""

    merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put the entries that a mapping merges into it.

        Raises:
            ConstructorError: There are more than ``MOST_NODES`` in all.
        """
        before = len(node.value)
        super().flatten_mapping(node)
        self.merged += max(len(node.value) - before, 0)
        if self.merged > MOST_NODES:
            raise yaml.constructor.ConstructorError(
                None, None, "its merges unfold to too many values", node.start_mark
            )


def read_config(path: Path) -> Config:
    """The settings in a YAML file; only plain values are made of it.

    Raises:
        UserError: It is not UTF-8, not YAML, no mapping, or unfolds without end or to more than
            ``MOST_NODES`` values (an alias in YAML may name what it stands in, or stand a
            thousand times for what holds a thousand aliases).
    """
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not readable as YAML: it is not UTF-8 text") from error
    except (
        yaml.YAMLError,
        # PyYAML reads !!int and dates with Python's own readers.
        *(ValueError, TypeError, IndexError, AttributeError, RecursionError),
    ) as error:
        words = " ".join(str(error).split())
        raise UserError(f"{path} is not readable as YAML: {words}") from error
    if config is None:
        raise UserError(f"{path} is not a config: it is empty")
    if not isinstance(config, dict):
        raise UserError(
            f"{path} is not a config: it holds {type(config).__name__}, not settings by name"
        )
    if unfolded(config) > MOST_NODES:
        raise UserError(f"{path} is not a config: its aliases unfold to too many values")
    return config


def unfolded(value: Any) -> float:
    """Number of values in nested lists and dicts, counted as often as they are referred to.

    Infinite for one that holds itself.

    Example:
        >>> row = [1, 2, 3]
        >>> unfolded({"a": row, "b": [row, row]})
        14
        >>> row.append(row)
        >>> unfolded(row)
        inf
    """
    counted: dict[int, float] = {}

    def count(node: Any) -> float:
        if not isinstance(node, dict | list):
            return 1
        if id(node) not in counted:
            counted[id(node)] = float("inf")  # found again below itself
            inner = node.values() if isinstance(node, dict) else node
            counted[id(node)] = 1 + sum(count(item) for item in inner)
        return counted[id(node)]

    try:
        return count(value)
    except RecursionError:
        return float("inf")
