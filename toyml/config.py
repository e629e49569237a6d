"""A config file, read without trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml

from toyml.errors import UserError
from toyml.files import DEEPEST, depth, read_bytes

Config = dict[str, Any]
MOST_NODES = 100_000
"""Values a config may hold; the longest config of an experiment has some thousands."""


MOST_BYTES = 4_000_000
"""Bytes of a config."""
LARGEST = 10**300
"""Integers are smaller than this, so that every number is one that a float can hold."""


class Loader(yaml.SafeLoader):
    """Plain values, counted while they are read.

    What ``<<`` merges counts, too, since merges of merges double and double.
    """

    merged = values = level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read a value.

        Raises:
            ComposerError: It is one of too many, or stands in too many others.
        """
        self.values += 1
        self.level += 1
        if self.values > 2 * MOST_NODES or self.level > DEEPEST:
            what = f"more than {DEEPEST} lists in lists" if self.level > DEEPEST else "too long"
            raise yaml.composer.ComposerError(None, None, f"it is {what}")
        try:
            return super().compose_node(parent, index)
        finally:
            self.level -= 1

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

    def integer(self, node: yaml.ScalarNode) -> int:
        """An integer, in any of the ways in which YAML writes one.

        Raises:
            ConstructorError: It has too many digits.
        """
        # Also looked at before: of a million digits the value would take minutes.
        value = self.construct_yaml_int(node) if len(node.value) < 1100 else LARGEST
        if abs(value) >= LARGEST:
            raise yaml.constructor.ConstructorError(
                None, None, f"the integer {node.value[:20]}... is too large", node.start_mark
            )
        return value

    yaml_constructors: ClassVar = {
        **yaml.SafeLoader.yaml_constructors,
        "tag:yaml.org,2002:int": integer,
        # No setting is one of these.
        **dict.fromkeys(
            (f"tag:yaml.org,2002:{kind}" for kind in ("binary", "omap", "pairs", "set")),
            yaml.SafeLoader.construct_undefined,
        ),
    }


def read_config(path: Path) -> Config:
    """The settings in a YAML file; only plain values are made of it.

    Raises:
        UserError: It is not UTF-8, not YAML, no mapping, larger, deeper or with a larger integer
            than any config, or unfolds without end or to more than ``MOST_NODES`` values (an alias
            in YAML may name what it stands in, or stand a thousand times for what holds a thousand
            aliases).
    """
    try:
        config = yaml.load(read_bytes(path, MOST_BYTES).decode(), Loader)
    except UserError:
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not readable as YAML: it is not UTF-8 text") from error
    except (
        yaml.YAMLError,
        # PyYAML reads !!int and dates with Python's own readers.
        *(ValueError, TypeError, IndexError, AttributeError, RecursionError, OverflowError),
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
    if depth(config) > DEEPEST:
        raise UserError(f"{path} is not a config: it is nested more than {DEEPEST} times")
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
