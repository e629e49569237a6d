"""Words and numbers for readers, on a page and in a terminal."""

from __future__ import annotations

import math
import re

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: object) -> str:
    r"""The text with its control characters written out.

    A terminal would do as they say: move, recolour, rename itself, fill the clipboard.

    Example:
        >>> print(plain("Why\x1b]0;not\x07?"))
        Why\x1b]0;not\x07?
    """
    return CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", str(text))


def format_value(value: float | str | None, decimals: int | None = None) -> str:
    """A value in as many digits as mean something.

    Args:
        value: A number, words, or ``None`` for a value that is not there.
        decimals: Digits after the point; six significant digits by default.

    Example:
        >>> [format_value(v) for v in (101, 12500.0, 0.1 + 0.2, 1.7e-16, "yes", None)]
        ['101', '12,500', '0.3', '1.7 × 10⁻¹⁶', 'yes', '–']
        >>> format_value(-42.510447078, decimals=4)
        '−42.5104'
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    if size == 0:
        return "0"
    if (size < 1e-4 or size >= 1e9) and not (decimals and size >= 10.0 ** (2 - decimals)):
        return _scientific(value)
    if decimals is None or size >= 1e9:
        whole = len(str(int(size))) if size >= 1 else 0
        text = f"{value:,.{max(6 - whole, 0) if whole else _leading(size) + 6}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:,.{decimals}f}"
    return text.replace("-", "−")


def _leading(size: float) -> int:
    """Zeros after the point before the first digit."""
    return -math.floor(math.log10(size)) - 1


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.3e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{power}"
