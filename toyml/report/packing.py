"""Numbers and text in as few characters of a page as may be.

A document of dictionaries and lists with arrays as leaves becomes JSON and one block of bytes,
together compressed with gzip and written in base64; the browser undoes it. Nothing in it can end
the element it stands in, because base64 has neither ``<`` nor ``&``.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

HOLE = 65535
"""The level that stands for a value that is not a number."""

LEVEL = 4
"""How hard gzip tries: one more saves 2 % and takes twice as long."""


@dataclass(frozen=True)
class Levels:
    """Values rounded to 65,535 levels between the least and the greatest, two bytes each.

    Attributes:
        codes: Number of the level, :data:`HOLE` where the value is not finite.
        low: Value of level 0.
        unit: Distance of two levels.
    """

    codes: NDArray[np.uint16]
    low: float
    unit: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.codes.shape

    def values(self) -> NDArray[np.float64]:
        """The values, each off by half a unit at most."""
        found = self.low + self.unit * self.codes.astype(np.float64)
        return np.where(self.codes == HOLE, np.nan, found)


def levels(values: ArrayLike) -> Levels:
    """Round values to levels.

    Args:
        values: Any shape.

    Example:
        >>> levels([0.0, 65534.0, float("nan")]).codes.tolist()
        [0, 65534, 65535]
    """
    array = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(array)
    low = float(array[finite].min()) if finite.any() else 0.0
    high = float(array[finite].max()) if finite.any() else 0.0
    unit = (high - low) / (HOLE - 1) or 1.0
    if not math.isfinite(unit):  # the range itself overflows
        low, unit = 0.0, 1.0
        finite = np.zeros_like(finite)
    codes = np.full(array.shape, HOLE, np.uint16)
    codes[finite] = np.rint((array[finite] - low) / unit)
    return Levels(codes, low, unit)


def pack(document: Any) -> str:
    """A document as base64 of gzip of: length of the JSON, the JSON, the bytes of the arrays.

    Arrays of floating-point numbers become single precision, integers 32 bits, and ``Levels`` stay
    what they are; in the JSON a leaf is an object with the key ``"$"``, its place. An array that
    stands at several places is written once.

    Args:
        document: Dictionaries, lists, strings, numbers, NumPy arrays and ``Levels``.

    Raises:
        TypeError: Something else.
    """
    blocks: list[bytes] = []
    size = 0
    known: dict[int, dict[str, Any]] = {}

    def leaf(value: Any) -> Any:
        nonlocal size
        if isinstance(value, Mapping):
            return {str(key): leaf(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [leaf(item) for item in value]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if not isinstance(value, np.ndarray | Levels):
            raise TypeError(
                f"{type(value).__name__} cannot be packed; give arrays, text or numbers"
            )
        if id(value) in known:
            return known[id(value)]
        array, entry = _encoded(value)
        known[id(value)] = entry
        entry["$"] = size
        blocks.append(array.tobytes())
        padding = -len(blocks[-1]) % 4
        blocks.append(b"\0" * padding)
        size += array.nbytes + padding
        return entry

    text = json.dumps(leaf(document), separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    whole = struct.pack("<I", len(text)) + text + b"".join(blocks)
    return base64.b64encode(gzip.compress(whole, LEVEL, mtime=0)).decode()


def _encoded(value: NDArray[Any] | Levels) -> tuple[NDArray[Any], dict[str, Any]]:
    if isinstance(value, Levels):
        kind: dict[str, Any] = {"type": "levels", "low": value.low, "unit": value.unit}
        array: NDArray[Any] = value.codes.astype("<u2")
    elif np.issubdtype(value.dtype, np.floating):
        with np.errstate(over="ignore"):
            kind, array = {"type": "float"}, value.astype("<f4")
    elif np.issubdtype(value.dtype, np.integer) and (not value.size or np.abs(value).max() < 2**31):
        kind, array = {"type": "int"}, value.astype("<i4")
    elif np.issubdtype(value.dtype, np.integer):
        kind, array = {"type": "double"}, value.astype("<f8")
    else:
        raise TypeError(f"an array of {value.dtype} cannot be packed; give numbers")
    return np.ascontiguousarray(array), {**kind, "shape": list(array.shape)}


def unpack(text: str) -> Any:
    """The document with its arrays, as the browser reads it; for tests.

    Args:
        text: What ``pack`` returned.
    """
    whole = gzip.decompress(base64.b64decode(text))
    (length,) = struct.unpack("<I", whole[:4])
    data = whole[4 + length :]

    def leaf(value: Any) -> Any:
        if isinstance(value, list):
            return [leaf(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$" not in value:
            return {key: leaf(item) for key, item in value.items()}
        kind = {"levels": "<u2", "float": "<f4", "int": "<i4", "double": "<f8"}[value["type"]]
        count = math.prod(value["shape"])
        array = np.frombuffer(data, kind, count, value["$"]).reshape(value["shape"])
        if value["type"] == "levels":
            return Levels(array.astype(np.uint16), value["low"], value["unit"]).values()
        return array

    return leaf(json.loads(whole[4 : 4 + length]))
