"""Frames as a file that moves: GIF by Pillow, MP4 by ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toyml.errors import UserError
from toyml.files import beside

Frame = NDArray[np.uint8]
COLORS = 255
ENCODERS = (
    ("-c:v", "libx264", "-preset", "medium", "-crf", "18", "-pix_fmt", "yuv420p"),
    ("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"),
)
"""In the order in which they are tried: every player knows the first, every ffmpeg the second."""


def write_gif(path: Path, frames: Sequence[Frame], milliseconds: Sequence[int]) -> None:
    """Write an endless GIF; equal frames give equal bytes.

    All frames share one palette, so that a color that stays does not flicker.

    Args:
        path: The file.
        frames: Red, green and blue [h, w, 3], of one size.
        milliseconds: How long each is shown; GIF counts in hundredths of a second.
    """
    some = np.linspace(0, len(frames) - 1, min(5, len(frames))).astype(int)
    sample = Image.fromarray(np.concatenate([frames[i][::2, ::2] for i in some]))
    # Of Pillow's ways the one that keeps white white; two rounds halve the mean error.
    palette = sample.quantize(COLORS, Image.Quantize.MAXCOVERAGE, kmeans=2)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    with beside(path) as draft:
        pictures[0].save(
            draft,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=list(milliseconds),
            loop=0,
            optimize=False,
        )


def write_mp4(path: Path, frames: Sequence[Frame], fps: float, repeats: Sequence[int]) -> None:
    """Write an MP4 with ffmpeg; equal frames and the same ffmpeg give equal bytes.

    Args:
        path: The file.
        frames: Red, green and blue [h, w, 3], with even sides.
        fps: Pictures per second.
        repeats: How many pictures long each frame is shown.

    Raises:
        UserError: ffmpeg is not there, or fails.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise UserError("ffmpeg is not on the PATH")
    height, width = frames[0].shape[:2]
    given = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.6f}")
    # One thread and no names of versions: the same bytes every time.
    plain = (
        "-threads",
        "1",
        "-map_metadata",
        "-1",
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
    )
    said = ""
    for encoder in ENCODERS:
        with suppress(_FailedError), beside(path) as draft:
            command = [program, "-v", "error", "-y", *given, "-i", "-", *encoder, *plain]
            command += ["-movflags", "+faststart", "-f", "mp4", str(draft)]
            done = subprocess.run(
                command, input=b"".join(repeated(frames, repeats)), capture_output=True, check=False
            )
            if done.returncode:
                said = said or done.stderr.decode(errors="replace").strip().split("\n")[0]
                raise _FailedError
        if not done.returncode:
            return
    raise UserError(f"ffmpeg failed: {said[:200]}")


class _FailedError(Exception):
    """This encoder did not do it; the draft goes."""


def repeated(frames: Iterable[Frame], repeats: Iterable[int]) -> Iterator[bytes]:
    """The bytes of each frame, as often as it is shown."""
    for frame, times in zip(frames, repeats, strict=True):
        yield frame.tobytes() * times
