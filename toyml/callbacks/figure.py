"""Figures that are drawn when training is over."""

from __future__ import annotations

import io
import json
import re
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure as Canvas

from toyml.callbacks.after import AfterFit
from toyml.claims import NotApplicable
from toyml.errors import UserError
from toyml.files import replace
from toyml.plots.style import SAVE_OPTIONS, SAVE_RC
from toyml.run import Run


@dataclass
class Drawing:
    """A figure and its words.

    Attributes:
        canvas: The matplotlib figure.
        title: What it shows.
        caption: What to see in it, in a sentence or two.
        alt: The same for someone who cannot see it.
    """

    canvas: Canvas
    title: str
    caption: str
    alt: str


class Figure(AfterFit):
    """Draw one figure of the run into ``figures/<name>.png`` and ``.svg``.

    A figure that has nothing to show for a run (a plane for a net of three inputs, say) is left
    out, and the report says why.

    Args:
        name: Stem of the files.

    Raises:
        ValueError: A name that is none of a file in one folder.
    """

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"\w[\w .-]{0,99}", name):
            raise ValueError(
                f"name is {name!r}; a figure's name is that of its files: letters, digits, - and _"
            )
        self.name = name

    @abstractmethod
    def draw(self, run: Run) -> Drawing:
        """Draw the run.

        Raises:
            NotApplicable: There is nothing to draw for this run.
        """

    def finish(self, run: Run) -> None:
        """Draw and save."""
        folder = run.folder / "figures"
        folder.mkdir(exist_ok=True)
        try:
            drawing = self.draw(run)
        except (NotApplicable, UserError, NotImplementedError) as why:
            for kind in ("png", "svg"):
                (folder / f"{self.name}.{kind}").unlink(missing_ok=True)
            words = {"title": type(self).__name__, "left_out": str(why) or type(why).__name__}
            replace(folder / f"{self.name}.json", json.dumps(words, indent=1) + "\n")
            return
        save(drawing.canvas, folder, self.name)
        words = {"title": drawing.title, "caption": drawing.caption, "alt": drawing.alt}
        replace(folder / f"{self.name}.json", json.dumps(words, indent=1) + "\n")


def save(canvas: Canvas, folder: Path, name: str) -> dict[str, bytes]:
    """Write ``<name>.png`` and ``.svg``, each beside and renamed; returns both by kind.

    Args:
        canvas: The matplotlib figure.
        folder: Where to; made if missing.
        name: Stem of the files.
    """
    folder.mkdir(exist_ok=True)
    files: dict[str, bytes] = {}
    for kind, options in SAVE_OPTIONS.items():
        memory = io.BytesIO()
        with matplotlib.rc_context(dict(SAVE_RC)):  # type: ignore[arg-type]
            canvas.savefig(memory, **options)
        files[kind] = memory.getvalue()
        replace(folder / f"{name}.{kind}", files[kind])
    return files
