"""A disk that is full, a folder that cannot be written, two fits in one place."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.children import RECORDING, Child
from tests.cli.test_kill import BLOCKS, CONFIG, see_that_nothing_is_torn, started, whole
from toyml import Run
from toyml.cli import main
from toyml.errors import UnwrittenError, UserError
from toyml.files import replace
from toyml.logger import Metrics
from toyml.trajectory import Trajectory, TrajectoryWriter

__all__ = ["whole"]


def mounted(folder: Path, options: str) -> None:
    """Mount a small file system in memory there, or skip the test where that is not allowed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"mounting a small disk needs root: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a small disk is mounted."""
    folder = tmp_path / "disk"
    mounted(folder, "size=64k")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def said(child: Child) -> str:
    """The last line; one alone is about the error."""
    lines = [line for line in child.errors.splitlines() if line.startswith("toyml: ")]
    assert len(lines) == 1, child.errors
    assert "Traceback" not in child.errors
    return lines[0]


@pytest.mark.parametrize(
    "kilobytes",
    [
        pytest.param(kb, marks=() if kb == 60 else pytest.mark.slow)
        for kb in (0, 4, 12, 20, 60, 90, 120, 200, 240, 280, 330, 380, 430, 480, 560, 640)
    ],
)
def test_a_full_disk_is_one_line_and_loses_nothing(
    kilobytes: int, disk: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(disk)
    reference = whole(BLOCKS).run
    remount(disk, "size=16m")
    shutil.copytree(reference.folder, disk / "runs/moons/version_0")
    (disk / "moons.yaml").write_text(CONFIG)  # room for what the test itself writes
    for name in ("out.txt", "err.txt", "notes"):
        (disk / name).symlink_to(disk.parent / name)
    before = contents(disk / "runs")
    used = shutil.disk_usage(disk).used
    remount(disk, f"size={used + 4096 + 1024 * kilobytes}")
    child = started(disk, BLOCKS)
    code = child.end()
    full = contents(disk / "runs")
    assert before.items() <= full.items(), "what was there is as it was"
    folder = disk / "runs/moons/version_1"
    if code == 0:
        assert kilobytes > 400
        assert Run.load(folder).finished
        return
    assert code == 2, child.errors
    assert "cannot " in said(child)
    assert "No space left on device" in said(child)
    remount(disk, "size=16m")
    if not (folder / "trajectory").is_dir():
        return
    see_that_nothing_is_torn(folder)
    assert not (folder / "report.html").exists()
    if not (folder / "trajectory/layout.json").exists():
        return
    run = Run.load(folder)
    steps = run.trajectory.steps
    assert np.array_equal(steps, np.arange(len(steps)))
    known = reference.trajectory.parameters.flat
    assert np.array_equal(run.trajectory.parameters.flat, known[: len(steps)])
    assert run.finished == (len(steps) == len(known))
    # With room again the fit goes on where its checkpoint is, and the report can be drawn.
    if not run.finished and (folder / "checkpoints/last.ckpt").exists():
        child = started(disk, f"{BLOCKS} --ckpt_path last")
        assert child.end() == 0, child.errors
        run = Run.load(folder)
        assert np.array_equal(run.trajectory.parameters.flat, known)
        assert run.metrics == reference.metrics
    if len(steps) and (folder / "config.yaml").exists():
        main(["report", "runs/moons/version_1"])
        see_that_nothing_is_torn(folder)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond a size: a full disk for a test without root.

    It holds for the whole process, its own output included: keep it short.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_row_that_finds_no_room_is_taken_back(tmp_path: Path) -> None:
    import torch

    def record(writer: TrajectoryWriter, step: int) -> None:
        writer.append(step, parameters=[torch.full((25,), float(step))])

    writer = TrajectoryWriter(tmp_path, {"w": (25,)}, np.dtype("<f4"))
    for step in range(10):
        record(writer, step)
    # The eleventh row of 108 bytes begins and does not end.
    lines = r"cannot write .*rows.bin .*File too large.*kept"
    with pytest.raises(UnwrittenError, match=lines), largest_file(1100):
        record(writer, 10)
    assert (tmp_path / "rows.bin").stat().st_size == 1080
    record(writer, 11)
    writer.close()
    found = Trajectory(tmp_path)
    assert found.steps.tolist() == [*range(10), 11]
    assert found.parameters["w"][:, 0].tolist() == [*range(10), 11]


def test_a_table_and_a_file_that_find_no_room_stay_as_they_were(tmp_path: Path) -> None:
    table = Metrics(tmp_path / "metrics.csv")
    table.append(0, {"loss": 0.5})
    replace(tmp_path / "summary.json", "old")
    with pytest.raises(UnwrittenError, match=r"cannot write .*metrics.csv"), largest_file(20):
        table.append(1, {"loss": 0.123456789012})
    with pytest.raises(UnwrittenError, match=r"cannot write .*metrics.csv"), largest_file(20):
        table.append(2, {"another": 1.0})  # the table would have to be written anew
    with pytest.raises(UnwrittenError, match=r"cannot write .*summary.json"), largest_file(20):
        replace(tmp_path / "summary.json", "n" * 50)
    table.close()
    assert (tmp_path / "metrics.csv").read_text().startswith("step,loss\n0,0.5\n")
    assert (tmp_path / "summary.json").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.csv", "summary.json"]


def test_a_folder_that_cannot_be_written(
    disk: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(disk)
    remount(disk, "size=16m")
    shutil.copytree(whole(BLOCKS).run.folder, disk / "runs/moons/version_0")
    before = contents(disk)
    config = disk.parent / "moons.yaml"
    shutil.copy(whole(BLOCKS).run.folder / "config.yaml", config)
    remount(disk, "ro")
    for words, message in (
        (["fit", "--config", str(config)], r"cannot make a run folder in .*Read-only"),
        (
            ["fit", "--config", str(config), "--ckpt_path", "last", "--trainer.max_steps", "1300"],
            r"cannot write .*Read-only",
        ),
        (["report", "runs/moons/version_0"], r"cannot write .*Read-only"),
    ):
        monkeypatch.setattr("sys.argv", ["toyml"])
        with pytest.raises(UserError, match=message):
            main(words)
    assert contents(disk) == before


@pytest.mark.slow
def test_two_fits_started_at_once_get_two_folders(tmp_path: Path, whole: Any) -> None:
    reference = whole(BLOCKS).run
    children = [started(tmp_path, BLOCKS) for _ in range(2)]
    assert [child.end() for child in children] == [0, 0], children[0].errors
    folders = sorted((tmp_path / "runs/moons").iterdir())
    assert [p.name for p in folders] == ["version_0", "version_1"]
    for folder in folders:
        run = Run.load(folder)
        assert run.finished
        assert np.array_equal(run.trajectory.parameters.flat, reference.trajectory.parameters.flat)
        assert (folder / "report.html").exists()


def test_two_fits_that_continue_the_same_run(tmp_path: Path, whole: Any) -> None:
    short = BLOCKS.replace("1200", "200")
    assert started(tmp_path, short).end() == 0
    longer = BLOCKS.replace("1200", "40000") + " --ckpt_path last"
    first = started(tmp_path, longer)
    first.wait_for(RECORDING, step=300)
    first.signal(signal.SIGSTOP)  # else it may be through before the second has come to the lock
    before = contents(tmp_path / "runs/moons/version_0/trajectory")["rows.bin"]
    (tmp_path / "err.txt").unlink()
    second = started(tmp_path, BLOCKS + " --ckpt_path last")
    assert second.end() == 2
    assert "another fit is recording into runs/moons/version_0" in second.errors
    first.signal(signal.SIGKILL)
    first.process.join()
    after = contents(tmp_path / "runs/moons/version_0/trajectory")["rows.bin"]
    assert after.startswith(before), "the first was not disturbed"
    # The lock went with the process that held it.
    assert started(tmp_path, BLOCKS + " --ckpt_path last").end() == 0
    joined = Run.load(tmp_path / "runs/moons/version_0")
    known = whole(BLOCKS).run.trajectory.parameters.flat
    assert np.array_equal(joined.trajectory.parameters.flat[: len(known)], known)
    assert [p.name for p in (tmp_path / "runs/moons").iterdir()] == ["version_0"]
