"""Words for a terminal, whoever wrote them."""

from __future__ import annotations

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
