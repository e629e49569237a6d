"""Fits in processes of their own that can be killed, without importing torch for each.

A server imports everything once; each child is forked from it and runs the command line. What it
has done so far it notes in a mapped file, which a kill does not take away.
"""

from __future__ import annotations

import mmap
import multiprocessing as mp
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

NOTES = struct.Struct("<qqqq")
STARTING, RECORDING, SAVING, DRAWING, REPORTING = range(5)


class Notes:
    """Phase of a child, the last step that it knows to be recorded (-1: none), file events.

    And the phase in which it waits for a signal (-1: none).
    """

    def __init__(self, path: Path, held: int = -1) -> None:
        if not path.exists():
            path.write_bytes(NOTES.pack(STARTING, -1, 0, held))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), NOTES.size)

    def read(self) -> tuple[int, int, int]:
        phase, step, events, _ = NOTES.unpack(self._map[:])
        return phase, step, events

    def phase(self, value: int) -> None:
        self._map[:8] = struct.pack("<q", value)
        if NOTES.unpack(self._map[:])[3] == value:
            self._map[24:] = struct.pack("<q", -1)
            time.sleep(200)  # a handler that raises ends it

    def step(self, value: int) -> None:
        self._map[8:16] = struct.pack("<q", value)

    def events(self, value: int) -> None:
        self._map[16:24] = struct.pack("<q", value)


def around(
    owner: Any,
    name: str,
    before: Callable[[], None],
    after: Callable[..., None],
    patch: pytest.MonkeyPatch | None = None,
) -> None:
    """Call something before and after a method, until ``patch`` undoes it."""
    original = getattr(owner, name)

    def wrapped(self: Any, *args: Any, **settings: Any) -> Any:
        before()
        result = original(self, *args, **settings)
        after(self, *args)
        return result

    if patch is None:
        setattr(owner, name, wrapped)
    else:
        patch.setattr(owner, name, wrapped)


def watch(notes: Notes) -> None:
    """Note phases and recorded steps from now on."""
    from toyml.callbacks import Figure, LastCheckpoint, Recorder, Report

    def recorded(self: Any, *_: Any) -> None:
        notes.step(self.last_step)

    def to(phase: int) -> Callable[..., None]:
        return lambda *_: notes.phase(phase)

    from toyml.trajectory import TrajectoryWriter

    around(TrajectoryWriter, "append", lambda: None, recorded)
    around(TrajectoryWriter, "append_rows", lambda: None, recorded)
    around(Recorder, "on_train_start", lambda: None, to(RECORDING))
    around(LastCheckpoint, "_save", to(SAVING), to(RECORDING))
    around(Figure, "finish", to(DRAWING), to(DRAWING))
    around(Report, "finish", to(REPORTING), to(REPORTING))


def stop_at(event: int, notes: Notes) -> None:
    """Count events in the file system; kill this process at the n-th before it takes place."""
    done = 0

    def count(name: str, args: tuple[Any, ...]) -> None:
        nonlocal done
        written = (
            name == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if written or name in ("os.rename", "os.truncate", "os.mkdir", "os.remove"):
            done += 1
            notes.events(done)
            if done == event:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(count)


def run(folder: Path, words: Sequence[str], event: int) -> None:
    """The child: the command line in a folder, quietly."""
    from toyml import cli

    # What comes before the command line has a handler of its own waits for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    cli.main = heard(cli.main)
    os.chdir(folder)
    os.setsid()  # a group of its own: a kill takes the children that draw, too
    for number, name in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["toyml", *words]
    notes = Notes(folder / "notes")
    watch(notes)
    stop_at(event, notes)
    code = cli.console()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as at the exit of a process of its own
    sys.stdout.flush()
    os._exit(code)


def heard(command: Callable[[], object]) -> Callable[[], object]:
    """A command that hears signals from its first line on."""

    def wrapped() -> object:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return command()

    return wrapped


class Child:
    """A running child.

    Args:
        folder: Where it works.
        words: Its command line.
        event: The event in the file system before which it kills itself; 0 for none.
        held: The phase in which it waits for a signal; -1 for none.
    """

    def __init__(self, folder: Path, words: Sequence[str], event: int = 0, held: int = -1) -> None:
        (folder / "notes").unlink(missing_ok=True)
        self.notes, self.folder = Notes(folder / "notes", held), folder
        self.process = server().Process(target=run, args=(folder, words, event))
        self.process.start()

    def wait_for(self, phase: int, step: int = -1, seconds: float = 200.0) -> None:
        """Until it has come to a phase and a recorded step, or has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.is_alive():
            now, recorded, _ = self.notes.read()
            if now >= phase and recorded >= step:
                return
            time.sleep(0.0005)

    def signal(self, number: signal.Signals) -> None:
        """Send it and its children a signal, if it is still there."""
        if self.process.is_alive():
            assert self.process.pid is not None
            with suppress(ProcessLookupError):  # it ended just now
                os.killpg(self.process.pid, number)

    def end(self, seconds: float = 200.0) -> int:
        """Wait for its end; its exit status (negative: the signal that ended it)."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.signal(signal.SIGKILL)
            self.process.join()
            pytest.fail(f"it did not end: {self.errors}")
        assert self.process.exitcode is not None
        return self.process.exitcode

    @property
    def errors(self) -> str:
        """What it has said."""
        return (self.folder / "err.txt").read_text().replace("\r", "\n")


def server() -> Any:
    """The context whose processes are forked from one that has imported everything."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.conftest", "toyml.cli.trainer", "toyml.callbacks", __name__]
    )
    return context


__all__ = [
    "DRAWING",
    "RECORDING",
    "REPORTING",
    "SAVING",
    "STARTING",
    "Child",
    "Notes",
]
