"""The ``sweep:`` section of a config."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from toyml.errors import UserError
from toyml.sweep.outcome import Definition
from toyml.sweep.plan import PART


@dataclass(frozen=True)
class Settings:
    """What a config says about its sweep; the command line replaces seeds, keys and part.

    Attributes:
        seeds: A number of seeds from 0 on, a list, or a range such as ``range(5,10)``.
        vary: Values by dotted key: a list, or a range as a text.
        part: Most replicas trained in one program, and kept at a time.
        threads: Torch threads; ``None`` takes the config's. Replicas trained in C are divided among
            them.
        noted: Steps at which the loss is a column of the table, ``loss_<step>``.
        outcomes: When a training counts as converged, plateau or diverged.
        callbacks: What draws, judges and reports when the trainings are done; ``None`` draws what
            there is to draw and reports.
    """

    seeds: Any = 1
    vary: Mapping[str, Any] = field(default_factory=dict)
    part: int = PART
    threads: int | None = None
    noted: tuple[int, ...] = ()
    outcomes: Definition = field(default_factory=Definition)
    callbacks: list[Any] | None = None


def read_settings(section: Any) -> Settings:
    """Read the section; ``None`` is an empty one.

    Raises:
        UserError: An unknown key or a value of the wrong kind.

    Example:
        >>> read_settings({"seeds": 32, "noted": [9000]}).noted
        (9000,)
    """
    values = _mapping("sweep", section, Settings)
    if "outcomes" in values:
        inner = _mapping("sweep.outcomes", values["outcomes"], Definition)
        if "levels" in inner:
            inner["levels"] = _numbers("sweep.outcomes.levels", inner["levels"])
        if "below" in inner:
            inner["below"] = _tuple("sweep.outcomes.below", inner["below"], float)
        for name in ("converged", "share", "flat", "gap", "explosion"):
            if inner.get(name) is not None:
                inner[name] = _number(f"sweep.outcomes.{name}", inner[name])
        values["outcomes"] = Definition(**inner)
    if "noted" in values:
        values["noted"] = _tuple("sweep.noted", values["noted"], int)
    for key, kind, words in (
        ("part", int, "whole number"),
        ("threads", int, "whole number"),
        ("vary", Mapping, "mapping"),
    ):
        if key in values and (not isinstance(values[key], kind) or isinstance(values[key], bool)):
            raise UserError(f"sweep.{key} is {values[key]!r}; give a {words}")
    if values.get("threads", 1) < 1:
        raise UserError(f"sweep.threads is {values['threads']}; it has to be at least 1")
    if values.get("callbacks") is not None and not isinstance(values["callbacks"], list):
        raise UserError("sweep.callbacks is no list; give class paths")
    return Settings(**values)


def _mapping(where: str, section: Any, kind: type) -> dict[str, Any]:
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise UserError(f"{where} is {section!r}; it has to hold settings")
    known = [f.name for f in fields(kind)]
    for key in section:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise UserError(f"{where} has no {key!r}; {hint}")
    return {key: value for key, value in section.items() if value is not None}


def _number(where: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{where} is {value!r}; give a number") from None


def _numbers(where: str, value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is {value!r}; give losses by name")
    return {str(name): _number(f"{where}.{name}", item) for name, item in value.items()}


def _tuple(where: str, value: Any, kind: type) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UserError(f"{where} is {value!r}; give a list")
    numbers = [_number(where, item) for item in value]
    if kind is int and not all(number.is_integer() and number >= 0 for number in numbers):
        raise UserError(f"{where} is {list(value)}; give whole numbers from 0 on")
    return tuple(kind(number) for number in numbers)
