"""Data that tell who trains, and wait to be killed the first time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from toyml.data import Xor


class Waiting(Xor):
    """XOR; the first process to draw it writes its number to ``folder`` and waits.

    Args:
        folder: Where to.
        repeats: As of Xor.
    """

    def __init__(self, folder: str, repeats: int = 1, batch_size: int | None = None) -> None:
        super().__init__(repeats=repeats, batch_size=batch_size)
        folder_ = Path(folder)
        (folder_ / f"built.{os.getpid()}.{time.monotonic_ns()}").touch()
        if not (folder_ / "armed").exists():
            return
        try:
            (folder_ / "armed").rename(folder_ / f"waiting.{os.getpid()}")
        except FileNotFoundError:
            return  # another was first
        time.sleep(120)
