"""``summary.json``, read without trusting it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from toyml.errors import UserError

Summary = dict[str, Any]
DEEPEST = 50
"""Lists within lists that a summary may hold; ours hold four."""
NUMBER = (int, float)
SCALAR = (*NUMBER, str, type(None))
VERDICTS = ("holds", "fails", "refuted", "not applicable")
KINDS: dict[str, type | tuple[type, ...]] = {
    "status": str,
    "steps": int,
    "seconds": NUMBER,
    "seconds_per_step": NUMBER,
    "route": str,
    "environment": dict,
    "claims": list,
}
"""What toyml itself writes; other keys are whoever's they are."""
VERDICT: dict[str, tuple[type, ...]] = {
    "statement": (str,),
    "predicted": (*NUMBER, str),
    "measured": SCALAR,
    "tolerance": (*NUMBER, type(None)),
    "verdict": (str,),
    "why": (str,),
    "source": (str,),
    "theory": (bool,),
}
ABSENT = {"theory": False}
"""Keys of a verdict that older versions did not write, and what they stand for."""


def read_summary(path: Path) -> Summary:
    """The figures of a run by name; empty where there is no file.

    Infinity and NaN stand there as words, and a tolerance of ``inf`` becomes the number again.

    Raises:
        UserError: The file is not JSON, or a key of ours holds what we never write.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else "{}"
        summary = json.loads(text, parse_constant=no_number)
        if depth(summary) > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} times")
    except (ValueError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise UserError(f"{path} is not readable as JSON: {words}") from error
    if not isinstance(summary, dict):
        raise UserError(f"{path} is not a summary: it holds {type(summary).__name__}")
    for key, kind in KINDS.items():
        if key in summary and not is_a(summary[key], kind):
            raise damaged(path, key)
    for value in summary.get("environment", {}).values():
        if not is_a(value, SCALAR):
            raise damaged(path, "environment")
    for verdict in summary.get("claims", []):
        see_verdict(path, verdict)
    return summary


def see_verdict(path: Path, verdict: Any) -> None:
    """See that an entry of ``claims`` is a verdict."""
    if not isinstance(verdict, dict) or not {"statement", "verdict"} <= verdict.keys():
        raise damaged(path, "claims")
    verdict.update({key: value for key, value in ABSENT.items() if key not in verdict})
    endless = verdict.get("tolerance") == "inf"
    if endless:
        verdict["tolerance"] = None
    known = set(verdict) == set(VERDICT) and verdict["verdict"] in VERDICTS
    if not known or not all(is_a(verdict[key], kind) for key, kind in VERDICT.items()):
        raise damaged(path, "claims")
    if endless:
        verdict["tolerance"] = math.inf


def depth(value: Any) -> int:
    """How many lists and dicts a value stands in at most.

    Example:
        >>> depth(1), depth([]), depth({"a": [1]})
        (0, 1, 2)
    """
    level, found = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        found += 1
        level = [i for v in level for i in (v.values() if isinstance(v, dict) else v)]
    return found


def no_number(word: str) -> Any:
    """What JSON has no number for.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{word} is no number of JSON")


def is_a(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether a value is of a kind, and, if it is a number, one that a float can hold."""
    if not isinstance(value, kind):
        return False
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 10**300


def damaged(path: Path, key: str) -> UserError:
    """The line about a key that holds what toyml never writes."""
    return UserError(
        f"{path} is damaged: {key!r} is not what toyml writes there; move the file away, and "
        "toyml report judges the claims anew"
    )


def finite(value: Any) -> Any:
    """The value with NaN and infinities as words: JSON has no numbers for them.

    Example:
        >>> finite({"a": [1.5, float("inf")]})
        {'a': [1.5, 'inf']}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
