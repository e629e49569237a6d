"""Frames are the steps they say, move where the run moves, and become equal files."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from tests.claims.recorded import recorded
from tests.conftest import Rows, cloud, small_task, trainer
from toyml import plots
from toyml.callbacks import Animation, MovingInputs, MovingLoss
from toyml.callbacks.animation import places, thin
from toyml.callbacks.movie import write_gif, write_mp4
from toyml.callbacks.moving import Moments
from toyml.data import NoisyParabola
from toyml.errors import UserError
from toyml.models import Linear
from toyml.run import Run
from toyml.tasks import Supervised
from toyml.trajectory import TrajectoryWriter


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toyml.callbacks.animation.DPI", 50)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    fitted = trainer(tmp_path, 60)
    task, data = small_task(partial(torch.optim.SGD, lr=5.0)), cloud()
    fitted.fit(task, data)
    return Run(fitted.logger.folder, task, data)


# -- which steps --------------------------------------------------------------------------------


@given(
    steps=st.sets(st.integers(0, 10**6), min_size=2, max_size=300).map(sorted),
    count=st.integers(2, 80),
    logarithmic=st.booleans(),
)
def test_exactly_as_many_steps_as_asked_for(
    steps: list[int], count: int, logarithmic: bool
) -> None:
    found = thin(np.array(steps), count, logarithmic)
    assert len(found) == min(count, len(steps))
    assert (np.diff(found) > 0).all()
    assert found[[0, -1]].tolist() == [steps[0], steps[-1]]
    assert set(found.tolist()) <= set(steps)


def test_linear_steps_are_even_and_logarithmic_ones_even_in_the_logarithm() -> None:
    steps = np.arange(10_001)
    even = np.diff(thin(steps, 41, False))
    assert even.min() == even.max() == 250
    late = thin(steps, 41, True)[20:]
    assert np.ptp(np.diff(np.log1p(late))) < 0.02


# -- what is seen -------------------------------------------------------------------------------


def test_a_run_of_two_inputs_shows_four_panels_and_each_moves(run: Run) -> None:
    animation = Animation(frames=8)
    assert len(animation.prepared(run, animation.moments(run))) == 4
    frames = list(animation.frames_of(run))
    assert len(frames) == 8
    assert all(frame.shape == (360, 640, 3) and frame.dtype == np.uint8 for frame in frames)
    changed = (frames[0] != frames[-1]).any(axis=2)
    for rows in (slice(30, 180), slice(180, 360)):
        for columns in (slice(0, 320), slice(320, 640)):
            assert changed[rows, columns].any()
    assert changed[:15].any(), "the step above is written anew"


def test_the_panels_can_be_chosen(run: Run) -> None:
    frames = list(Animation([MovingInputs(), MovingLoss()], frames=6).frames_of(run))
    assert len({frame.tobytes() for frame in frames}) == 6


def test_a_line_is_animated_without_hidden_units(tmp_path: Path) -> None:
    fitted = trainer(tmp_path, 5)
    task = Supervised(Linear(1), nn.MSELoss(), partial(torch.optim.SGD, lr=0.1))
    data = NoisyParabola()
    fitted.fit(task, data)
    run = Run(fitted.logger.folder, task, data)
    animation = Animation(frames=60)
    titles = [panel.title for panel in animation.prepared(run, animation.moments(run))]
    assert titles == ["The model", "The loss over the parameters", "The loss over the steps"]
    assert len(list(animation.frames_of(run))) == 6, "no frame twice"


def test_a_run_of_one_step_says_that_it_cannot_move(tmp_path: Path) -> None:
    task, data = small_task(), cloud()
    shapes = {name: tuple(p.shape) for name, p in task.net.named_parameters()}
    folder = tmp_path / "run" / "version_9"
    writer = TrajectoryWriter(folder / "trajectory", shapes, np.dtype("float32"))
    writer.append(0, parameters=[p.detach().reshape(-1) for p in task.net.parameters()])
    writer.close()
    with pytest.raises(UserError, match="1 step was recorded"):
        Animation().finish(Run(folder, task, data))


# -- the files ----------------------------------------------------------------------------------


def pictures(path: Path) -> list[tuple[Image.Image, int]]:
    with Image.open(path) as movie:
        found = []
        for i in range(movie.n_frames):  # type: ignore[attr-defined]
            movie.seek(i)
            found.append((movie.convert("RGB"), movie.info["duration"]))
        return found


def test_a_gif_has_every_frame_and_holds_the_last(run: Run) -> None:
    Animation(frames=10, seconds=2.0, name="short").finish(run)
    found = pictures(run.folder / "figures" / "short.gif")
    assert [time for _, time in found] == [200] * 9 + [1700]
    assert found[0][0].getpixel((2, 2)) == (255, 255, 255)
    first = (run.folder / "figures" / "short.gif").read_bytes()
    Animation(frames=10, seconds=2.0, name="short").finish(run)
    assert (run.folder / "figures" / "short.gif").read_bytes() == first
    assert not list(run.folder.rglob("*.part"))


def test_without_ffmpeg_there_is_a_gif_and_a_word(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    (run.folder / "figures").mkdir(exist_ok=True)
    (run.folder / "figures" / "bare.mp4").write_text("of another run")
    Animation(frames=2, seconds=1.0, name="bare").finish(run)
    assert (run.folder / "figures" / "bare.gif").exists()
    assert not (run.folder / "figures" / "bare.mp4").exists()
    assert "bare.mp4 not: ffmpeg is not on the PATH" in capsys.readouterr().err


def squares() -> list[np.ndarray]:
    frames = [np.full((48, 64, 3), 255, np.uint8) for _ in range(5)]
    for i, frame in enumerate(frames):
        frame[10:30, 10 * i : 10 * i + 10] = (213, 94, 0)
    return frames


def test_colors_survive_the_palette(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", squares(), [100] * 5)
    for frame, (picture, _) in zip(squares(), pictures(tmp_path / "a.gif"), strict=True):
        np.testing.assert_array_equal(np.asarray(picture), frame)


def works() -> bool:
    try:
        return not subprocess.run(
            ["ffmpeg", "-version"], capture_output=True, check=False
        ).returncode
    except OSError:
        return False


@pytest.mark.skipif(not works(), reason="no ffmpeg")
def test_an_mp4_has_every_frame_as_often_as_asked_and_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, squares(), 10, [1, 1, 1, 1, 4])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    raw = subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            tmp_path / "a.mp4",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-",
        ],
        capture_output=True,
        check=True,
    ).stdout
    seen = np.frombuffer(raw, np.uint8).reshape(-1, 48, 64, 3).astype(int)
    assert len(seen) == 8
    shown = [*squares(), *[squares()[-1]] * 3]
    assert np.abs(seen - np.array(shown)).mean() < 8


def test_a_failing_ffmpeg_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\ncat > /dev/null\necho no encoder here >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    with pytest.raises(UserError, match="ffmpeg failed: no encoder here"):
        write_mp4(tmp_path / "a.mp4", squares(), 10, [1] * 5)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


# -- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"panels": []}, "0 panels"),
        ({"panels": [MovingLoss()] * 5}, "5 panels"),
        ({"frames": 1}, "frames is 1"),
        ({"seconds": 0.0}, "60 frames in 0.0 seconds"),
        ({"frames": 200, "seconds": 1.0}, "at most 50 a second"),
    ],
)
def test_settings_that_make_no_picture_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Animation(**settings)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_places_fill_the_frame_once(count: int) -> None:
    filled = np.zeros((2, 2), int)
    for place in places(count):
        filled[place] += 1
    assert (filled == 1).all()


def test_of_several_classes_the_map_moves(tmp_path: Path) -> None:
    theta = np.arange(1, 6.0)[:, None] * np.array([[1.0, 0, 0, 1, -1, -1]])
    data = Rows([[3.0, 2.0], [1.0, 2.0], [-1.0, -1.0]], np.eye(3))
    net = nn.Linear(2, 3, bias=False)
    run = recorded(tmp_path, theta, data=data, net=net, loss=nn.CrossEntropyLoss())
    made = MovingInputs().prepare(run, Moments(np.array([0, 2, 4]), 200, logarithmic=False))
    assert made.title == "Which class the model says"
    ax = plots.new_figure().subplots()
    motion = made.start(ax)
    image = motion(0)[0]
    first = np.array(image.get_array())  # type: ignore[attr-defined]
    motion(2)
    assert (np.array(image.get_array()) != first).any()  # type: ignore[attr-defined]
