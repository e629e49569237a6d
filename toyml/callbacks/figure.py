"""Figures that are drawn when training is over."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure as Canvas

from toyml.callbacks.after import AfterFit
from toyml.callbacks.errands import send
from toyml.claims import NotApplicable
from toyml.errors import UnwrittenError, UserError
from toyml.files import replace, writing
from toyml.plots.style import SAVE_OPTIONS, SAVE_RC, lay_out, new_figure
from toyml.replicas import Replicated
from toyml.run import Run, lookup
from toyml.terminal import plain

# What computing with a run's numbers may end in, whatever they are.
ANY_NUMBERS = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError)


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

    def save(self, folder: Path, name: str) -> None:
        """Write the pictures, and the words beside them as ``<name>.json``.

        Args:
            folder: Where to; made if missing.
            name: Stem of the files.
        """
        save(self.canvas, folder, name)
        words = {"title": self.title, "caption": self.caption, "alt": self.alt}
        replace(folder / f"{name}.json", json.dumps(words, indent=1) + "\n")


class Figure(AfterFit):
    """Draw one figure of the run into ``figures/<name>.png`` and ``.svg``.

    A figure that has nothing to show for a run (a plane for a net of three inputs, say) is left
    out, and the report says why.

    Args:
        name: Stem of the files.

    Raises:
        ValueError: A name that is none of a file in one folder.
    """

    patient = False
    of_replicas = False
    """Whether it shows many replicas; others are left out where a run has no single net."""

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
            count = 0 if self.of_replicas else replicas_of(run)
            if count:
                raise NotApplicable(
                    f"it shows one net, and this run trains {count:,} replicas at once; "
                    "toyml.callbacks.ReplicaLosses and toyml sweep show many"
                )
            drawing = self.draw(run)
        except (NotApplicable, UserError, NotImplementedError) as why:
            self.leave_out(folder, str(why) or type(why).__name__)
            return
        except ANY_NUMBERS as error:
            self.give_up(folder, error)
            return
        warm_up()
        send(partial(self.keep, drawing, folder), folder / self.name)

    def keep(self, drawing: Drawing, folder: Path) -> None:
        """Save; a name that is half a formula is found out only when its letters are drawn."""
        try:
            drawing.save(folder, self.name)
        except UnwrittenError:
            raise  # no figure's fault, and the next one would have no room either
        except ANY_NUMBERS as error:
            self.give_up(folder, error)

    def give_up(self, folder: Path, error: Exception) -> None:
        """What one figure stumbles over must not take the others and the report with it."""
        if os.environ.get("TOYML_TRACEBACK"):
            raise error
        words = " ".join(f"{type(error).__name__}: {error}".split())
        self.leave_out(folder, f"it cannot be drawn ({words})")
        print(f"toyml: {type(self).__name__} is left out: {plain(words)}", file=sys.stderr)

    def leave_out(self, folder: Path, why: str) -> None:
        """Say why there is no picture, and remove the one of an earlier pass."""
        for kind in ("png", "svg"):
            path = folder / f"{self.name}.{kind}"
            with writing(path):
                path.unlink(missing_ok=True)
        words = {"title": type(self).__name__, "left_out": why}
        replace(folder / f"{self.name}.json", json.dumps(words, indent=1) + "\n")


def replicas_of(run: Run) -> int:
    """How many replicas a run trains at once; 0 where it trains a net."""
    if lookup(run.config, "model.class_path", "toyml.tasks.Replicas") != "toyml.tasks.Replicas":
        return 0  # known without building anything
    try:
        net = getattr(run.task, "net", None)
    except UserError:
        return 0
    return net.replicas if isinstance(net, Replicated) else 0


@cache
def warm_up() -> None:
    """Load fonts, backends and encoders once, before a child would do so for itself."""
    canvas = new_figure(1, 1)
    canvas.subplots().set_title("0")
    for kind in SAVE_OPTIONS:
        canvas.savefig(io.BytesIO(), format=kind)


def save(canvas: Canvas, folder: Path, name: str) -> dict[str, bytes]:
    """Write ``<name>.png`` and ``.svg``, each beside and renamed; returns both by kind.

    The figure is laid out once for both, and stays where it was put.

    Args:
        canvas: The matplotlib figure.
        folder: Where to; made if missing.
        name: Stem of the files.
    """
    folder.mkdir(exist_ok=True)
    files: dict[str, bytes] = {}
    with matplotlib.rc_context(dict(SAVE_RC)):  # type: ignore[arg-type]
        crop = lay_out(canvas)
        for kind, options in SAVE_OPTIONS.items():
            memory = io.BytesIO()
            canvas.savefig(memory, **{**options, "bbox_inches": crop})
            files[kind] = memory.getvalue()
            replace(folder / f"{name}.{kind}", files[kind])
    return files
