"""Ctrl-C and SIGTERM, kept back until a step is complete."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN = 0.05
"""Seconds after which a signal that could not be acted on comes again."""


class AtOnceError(KeyboardInterrupt):
    """A second signal: whatever was under way is broken off, an update perhaps."""


class TogetherError(KeyboardInterrupt):
    """All processes of a fit stop before the same step: what takes all of them still works."""


class Interruption:
    """What has been asked for since signals are held back.

    Attributes:
        asked: Whether a signal has come.
        number: Which one came last.
    """

    def __init__(self) -> None:
        self.asked = False
        self.number: int = signal.SIGINT
        self._at_once = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: remember the first one, act on the second.

        Raises:
            KeyboardInterrupt: Nothing is held back any more.
            AtOnceError: Somebody is in a hurry.
        """
        again, self.asked, self.number = self.asked, True, number
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
def nothing_swallowed(held: Interruption) -> Iterator[None]:
    """Let a signal come again where what it raised could not leave.

    A destructor, or a function that runs around a fork, lets no exception out: Python prints it
    and goes on, and whoever pressed Ctrl-C waits for ever.
    """
    before = sys.unraisablehook

    def hook(unraisable: UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            main = threading.main_thread().ident
            later = threading.Timer(AGAIN, signal.pthread_kill, [main, held.number])
            later.daemon = True
            later.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


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
        with nothing_swallowed(held):
            yield held
    finally:
        _current = None
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
