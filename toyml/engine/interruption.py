"""Ctrl-C and SIGTERM, kept back until a step is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class AtOnceError(KeyboardInterrupt):
    """A second signal: whatever was under way is broken off, an update perhaps."""


class Interruption:
    """What has been asked for since signals are held back.

    Attributes:
        asked: Whether a signal has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_once = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: remember the first one, act on the second.

        Raises:
            KeyboardInterrupt: Nothing is held back any more.
            AtOnceError: Somebody is in a hurry.
        """
        again, self.asked = self.asked, True
        if self._at_once:
            raise KeyboardInterrupt
        if again:
            raise AtOnceError

    def release(self) -> None:
        """Hold nothing back any more.

        Raises:
            KeyboardInterrupt: Something had been.
        """
        self._at_once = True
        if self.asked:
            raise KeyboardInterrupt


_current: Interruption | None = None


@contextmanager
def hold_back(*signals: signal.Signals) -> Iterator[Interruption]:
    """Note signals instead of acting on them between any two lines of Python.

    An update or a write that is broken off in its middle leaves weights of no step. Whoever holds
    the signals back looks at ``asked`` wherever it can stop. Inside another ``hold_back`` it is
    the outer one's; other threads than the main one receive no signals and hold none back.
    """
    global _current
    if _current is not None:
        yield _current
        return
    held = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    _current = held
    # Who starts a fit with a signal ignored (nohup, a script's background) means it.
    heard = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, held.note) for number in heard}
    try:
        yield held
    finally:
        _current = None
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
