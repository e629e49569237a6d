"""Work that forked children do while the pass over a run goes on.

A figure takes most of its time to be laid out and encoded, and nothing that comes after it needs
more than its files. An errand is such a piece of work: it only writes files. A child that dies, or
takes too long, costs nothing but time: its errand is then done here, where an error is seen.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import torch

PATIENCE = 60.0
"""Seconds after which a child counts as stuck. It starts no other work than drawing."""

HELD = (signal.SIGINT, signal.SIGTERM)
"""What stops a fit."""

Work = Callable[[], None]


@dataclass(frozen=True)
class Errand:
    """What a child is doing.

    Attributes:
        work: The work.
        about: What it writes; two errands about the same are never done at the same time.
        child: The child's process.
        until: When it counts as stuck, on the monotonic clock.
    """

    work: Work
    about: Path
    child: int
    until: float

    def done(self) -> bool | None:
        """Whether the child did it; ``None`` while it is at work."""
        child, status = os.waitpid(self.child, os.WNOHANG)
        if child:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() < self.until:
            return None
        self.stop()
        return False

    def stop(self) -> None:
        """End the child."""
        with suppress(ChildProcessError):  # Ctrl-C came in the moment after its end was seen
            if not os.waitpid(self.child, os.WNOHANG)[0]:
                os.kill(self.child, signal.SIGKILL)
                os.waitpid(self.child, 0)


@dataclass
class Errands:
    """The errands of one pass.

    Attributes:
        children: How many children may be at work; none where a fork is not safe.
    """

    children: int
    _out: list[Errand] = field(default_factory=list)

    def send(self, work: Work, about: Path) -> None:
        """Have some work done, at the latest when the pass ends."""
        while self._out and (
            len(self._out) >= self.children or any(e.about == about for e in self._out)
        ):
            self._settle(self._out[0])
        if not self.children:
            work()
            return
        with unheard():
            child = os.fork()
            if not child:
                _obey(work)
            self._out.append(Errand(work, about, child, time.monotonic() + PATIENCE))

    def wait(self) -> None:
        """Come back when everything is done.

        Raises:
            Exception: Whatever the work raises, done here after a child could not do it.
        """
        while self._out:
            self._settle(self._out[0])

    def _settle(self, errand: Errand) -> None:
        while (done := errand.done()) is None:
            time.sleep(0.002)
        self._out.remove(errand)
        if not done:
            errand.work()

    def drop(self) -> None:
        """End all children, and leave their work undone."""
        while self._out:
            self._out.pop().stop()


@contextmanager
def unheard() -> Iterator[None]:
    """Let signals wait around a fork.

    There one would be lost (what runs around a fork lets no exception out), or act in a child that
    does not yet know that it is one.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey(work: Work) -> None:
    """The whole life of a child."""
    code = 1
    gc.disable()  # it lives too briefly for that
    try:
        for number in HELD:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        work()
        code = 0
    except BaseException:  # said by the parent, which does the work again
        pass
    finally:
        os._exit(code)  # nothing of the parent's is closed, flushed or handed back twice


_open: ContextVar[Errands | None] = ContextVar("errands", default=None)


@contextmanager
def errands() -> Iterator[None]:
    """Let ``send`` use children; everything sent is done when the block ends.

    Raises:
        Exception: Whatever the work raises.
    """
    sent = Errands(spare_processors())
    token = _open.set(sent)
    gc.freeze()  # what is alive stays so: looking at it would copy its memory into every child
    try:
        yield
        sent.wait()
    finally:
        sent.drop()  # only after an error or Ctrl-C is anything left
        gc.unfreeze()
        _open.reset(token)


def send(work: Work, about: Path) -> None:
    """Have some work done while the pass goes on; outside of a pass it is done at once.

    Args:
        work: Writes files, and nothing else that anybody looks at.
        about: What it writes.
    """
    sent = _open.get()
    if sent is None:
        work()
    else:
        sent.send(work, about)


def wait() -> None:
    """Come back when everything sent in this pass is done.

    Raises:
        Exception: Whatever the work raises.
    """
    sent = _open.get()
    if sent is not None:
        sent.wait()


def spare_processors() -> int:
    """How many children may work: one a processor, where forking is beyond doubt.

    That is on Linux, with more than one processor, while this process has a single thread (no
    other one can hold a lock that the child would wait for) and CUDA is not in use.
    """
    if sys.platform != "linux" or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - entries are all that is asked
        return 0
    processors = len(os.sched_getaffinity(0))
    return processors if processors > 1 else 0
