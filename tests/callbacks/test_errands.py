"""Children do the work, the parent what they cannot, and nothing differs but the time."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from toyml import plots
from toyml.callbacks import errands as module
from toyml.callbacks.errands import errands, send, spare_processors, wait
from toyml.callbacks.figure import Drawing

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="there are children on Linux only"),
    # The threads of a test runner; a pass with threads of its own has no children.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _two_children(monkeypatch):
    monkeypatch.setattr(module, "spare_processors", lambda: 2)


def note(path: Path) -> None:
    """Write who writes."""
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")


def processes(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()]


def test_outside_of_a_pass_work_is_done_at_once_and_here(tmp_path):
    send(lambda: note(tmp_path / "a"), tmp_path / "a")
    assert processes(tmp_path / "a") == [os.getpid()]
    wait()


def test_in_a_pass_children_do_it_and_the_block_ends_when_it_is_done(tmp_path):
    paths = [tmp_path / str(i) for i in range(5)]
    with errands():
        for path in paths:
            send(lambda path=path: note(path), path)
    done = [processes(path) for path in paths]
    assert all(len(by) == 1 for by in done)
    assert len({by[0] for by in done} - {os.getpid()}) == 5


def test_without_children_it_is_done_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "spare_processors", lambda: 0)
    with errands():
        send(lambda: note(tmp_path / "a"), tmp_path / "a")
        assert processes(tmp_path / "a") == [os.getpid()]


def test_wait_comes_back_when_the_files_are_there(tmp_path):
    def slowly() -> None:
        while not (tmp_path / "go").exists():
            time.sleep(0.001)
        time.sleep(0.2)
        note(tmp_path / "a")

    with errands():
        send(slowly, tmp_path / "a")
        assert not (tmp_path / "a").exists()
        (tmp_path / "go").touch()
        wait()
        assert (tmp_path / "a").exists()


def test_errands_about_the_same_keep_their_order(tmp_path):
    def later() -> None:
        time.sleep(0.2)
        (tmp_path / "a").write_text("first")

    with errands():
        send(later, tmp_path / "a")
        send(lambda: (tmp_path / "a").write_text("second"), tmp_path / "a")
    assert (tmp_path / "a").read_text() == "second"


@pytest.mark.parametrize("how", ["raises", "dies"])
def test_what_a_child_cannot_do_is_done_here(tmp_path, how):
    parent = os.getpid()

    def work() -> None:
        if os.getpid() != parent and how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if os.getpid() != parent:
            raise RuntimeError
        note(tmp_path / "a")

    with errands():
        send(work, tmp_path / "a")
    assert processes(tmp_path / "a") == [parent]


def test_a_stuck_child_is_ended_and_its_work_done_here(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    parent = os.getpid()

    def work() -> None:
        if os.getpid() != parent:
            time.sleep(600)
        note(tmp_path / "a")

    with errands():
        send(work, tmp_path / "a")
    assert processes(tmp_path / "a") == [parent]


def test_an_error_is_seen_here(tmp_path):
    def work() -> None:
        raise OSError("no space left on device")

    def a_pass() -> None:
        with errands():
            send(work, tmp_path / "a")

    with pytest.raises(OSError, match="no space left"):
        a_pass()


@pytest.fixture
def forked(monkeypatch) -> list[int]:
    """The processes of all children."""
    fork, children = os.fork, []

    def noted() -> int:
        child = fork()
        children.append(child)
        return child

    monkeypatch.setattr(os, "fork", noted)
    return children


def test_an_interrupted_pass_leaves_no_child(tmp_path, forked):
    def a_pass() -> None:
        with errands():
            send(lambda: time.sleep(600), tmp_path / "a")
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        a_pass()
    assert time.monotonic() - began < 60
    with pytest.raises(ChildProcessError):
        os.waitpid(forked[0], os.WNOHANG)


def test_a_child_whose_end_was_seen_is_left_alone(tmp_path, forked):
    """Ctrl-C may come between the look at a child and the note that it is done."""

    def a_pass() -> None:
        with errands():
            send(lambda: note(tmp_path / "a"), tmp_path / "a")
            os.waitpid(forked[0], 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_pass()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_around_a_fork_is_the_parents_and_is_not_lost(tmp_path, monkeypatch, number):
    parent, fork = os.getpid(), os.fork

    def interrupted() -> int:
        child = fork()
        signal.raise_signal(number)  # in both
        return child

    def stop(*_: object) -> None:
        note(tmp_path / "stopped")
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fork", interrupted)
    before = signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt), errands():
            send(lambda: note(tmp_path / "a"), tmp_path / "a")
    finally:
        signal.signal(number, before)
        if os.getpid() != parent:  # a child that takes itself for its parent
            note(tmp_path / "stopped")
            os._exit(1)
    assert processes(tmp_path / "stopped") == [parent]
    assert not (tmp_path / "a").exists()


def test_a_picture_drawn_by_a_child_has_the_same_bytes(tmp_path):
    def drawing() -> Drawing:
        canvas = plots.new_figure(3, 2)
        ax = canvas.subplots()
        plots.plot_curves(ax, [0, 1, 2], {"a": [3.0, 1.0, 2.0]}, quantity="loss", log_time=True)
        plots.add_legend(ax)
        return Drawing(canvas, "title", "caption", "alt")

    drawing().save(tmp_path / "here", "a")
    with errands():
        child = drawing()
        send(lambda: child.save(tmp_path / "child", "a"), tmp_path / "child" / "a")
    for kind in ("png", "svg", "json"):
        here, there = (tmp_path / folder / f"a.{kind}" for folder in ("here", "child"))
        assert here.read_bytes() == there.read_bytes()


def test_no_child_beside_another_thread(monkeypatch):
    monkeypatch.setattr(os, "listdir", lambda path: ["1", "2"])
    assert spare_processors() == 0
    monkeypatch.setattr(os, "listdir", lambda path: ["1"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    assert spare_processors() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    assert spare_processors() == 0
