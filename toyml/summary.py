"""``summary.json``, read without trusting it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from toyml.errors import UserError
from toyml.files import read_json

Summary = dict[str, Any]
NUMBER = (int, float)
SCALAR = (*NUMBER, str, type(None))
VERDICTS = ("holds", "fails", "refuted", "not applicable")
KINDS: dict[str, type | tuple[type, ...]] = {
    "status": str,
    "steps": int,
    "seconds": NUMBER,
    "seconds_per_step": NUMBER,
    "replicas": int,
    "asked": int,
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
    summary = read_json(path) if path.exists() else {}
    if not isinstance(summary, dict):
        raise UserError(f"{path} is not a summary: it holds {type(summary).__name__}")
    for key, kind in KINDS.items():
        if key not in summary:
            continue
        value = summary[key]
        if not is_a(value, kind) or (isinstance(value, int | float) and value < 0):
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
    if verdict["tolerance"] is not None and not verdict["tolerance"] >= 0:
        raise damaged(path, "claims")
    if endless:
        verdict["tolerance"] = math.inf


def is_a(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether a value is of a kind, and, if it is a number, one that a float can hold."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
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
