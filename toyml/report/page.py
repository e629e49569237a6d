"""The report of a run as one HTML file that opens offline: what it holds, and how it is written."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from toyml.files import replace
from toyml.report.bundle import plotly_bundle
from toyml.report.packing import pack
from toyml.report.scene import Scene, wire
from toyml.report.theme import DARK, LIGHT
from toyml.terminal import format_value

VERDICTS = ("holds", "fails", "refuted", "not applicable")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TAG, SIDES = 4096, ("width", "height")
WIDEST = 50_000
"""Pixels of a side of a figure."""
THEMES = {"light": LIGHT, "dark": DARK}
State = Literal["finished", "unfinished", "diverged"]


@dataclass(frozen=True)
class VerdictRow:
    """A claim and what became of it.

    Attributes:
        statement: The claim in words.
        predicted: The predicted value, or words.
        measured: The value found; ``None`` when not applicable.
        tolerance: Largest allowed distance; ``None`` for yes or no.
        verdict: "holds", "fails", "refuted" (announced as wrong, and wrong it is) or
            "not applicable".
        why: The reason, where there is one to give.
        source: Who said it.
        theory: Whether the measured value comes from theory, without looking at the training.

    Raises:
        ValueError: Another verdict.
    """

    statement: str
    predicted: float | str
    measured: float | str | None
    tolerance: float | None
    verdict: str
    why: str = ""
    source: str = ""
    theory: bool = False

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is unknown; use one of {VERDICTS}")

    @property
    def digits(self) -> int | None:
        """Decimals that show a difference of the size of the tolerance; ``None`` if there is none.

        A table with six digits would show equal numbers for a claim that fails in the ninth.
        """
        if not self.tolerance or not math.isfinite(self.tolerance):
            return None
        return min(max(1 - math.floor(math.log10(self.tolerance)), 0), 15)


@dataclass(frozen=True)
class MetricRow:
    """A metric at the first and the last step, and its best value, where there is one."""

    name: str
    first: float
    last: float
    best: float | None = None


@dataclass(frozen=True)
class TableItem:
    """A table of a page about several runs.

    Attributes:
        title: What it lists.
        columns: Heads of the columns.
        rows: Rows of cells, as many as there are columns; the first names the row.
        note: A sentence below it.

    Raises:
        ValueError: A row of another length.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[float | str | None]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"a row of {self.title!r} has {len(row)} cells; give {len(self.columns)}"
                )


@dataclass(frozen=True)
class FigureItem:
    """A figure of the report; the SVG is shown when there are both.

    Attributes:
        title: What it shows, or better its point.
        caption: How to read it.
        alt: What it shows, for those who cannot see it.
        svg: The picture as SVG text.
        png: The picture as PNG bytes.

    Raises:
        ValueError: Neither picture, or no alternative text.
    """

    title: str
    caption: str
    alt: str
    svg: str | None = None
    png: bytes | None = None

    def __post_init__(self) -> None:
        if self.svg is None and self.png is None:
            raise ValueError(f"figure {self.title!r} has no picture; give svg or png")
        if not self.alt.strip():
            raise ValueError(f"figure {self.title!r} has no alternative text; give alt")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels, so that the page does not jump while it opens.

        Raises:
            ValueError: A picture that does not say how large it is.
        """
        width = height = 0.0
        if self.svg is not None:
            # The first tag alone, of which ours is some hundred letters long.
            start = self.svg.find("<svg", 0, TAG)
            tag = self.svg[start : start + TAG].partition(">")[0] if start >= 0 else ""
            found = [re.search(rf'\s{side}="(\d{{1,5}}(\.\d+)?)pt"', tag) for side in SIDES]
            if found[0] and found[1]:
                width, height = float(found[0][1]) / 0.75, float(found[1][1]) / 0.75
        elif self.png is not None and self.png[:8] == PNG_SIGNATURE and len(self.png) >= 24:
            # Drawn at 160 dots per inch, shown at 96.
            width, height = (side * 0.6 for side in struct.unpack(">II", self.png[16:24]))
        if not (1 <= width <= WIDEST and 1 <= height <= WIDEST):
            raise ValueError(
                f"figure {self.title!r} is no SVG with sizes in pt, nor a PNG, or of a size that "
                f"is none; draw it with sides of 1 to {WIDEST:,} pixels"
            )
        return round(width), round(height)

    @property
    def source(self) -> str:
        """The picture as a data URL: an SVG in an ``img`` can neither run nor fetch anything."""
        if self.svg is not None:
            return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()
        return "data:image/png;base64," + base64.b64encode(self.png or b"").decode()


@dataclass(frozen=True)
class Page:
    """Everything a report says.

    Attributes:
        title: Name of the experiment.
        question: The question it answers.
        answer: What its author says to that, as far as it holds here.
        aside: What is left out of the answer and why, in a sentence.
        findings: What the run itself shows, one thing a sentence.
        advice: What to try next, in a sentence.
        notes: What the page leaves out or thins.
        source: Who asked, and where.
        status: Whether the training came to its end.
        steps: Optimizer steps done; of a training that diverged, until then.
        went_on: Whether the steps came to their end all the same.
        verdicts: Claims and verdicts.
        tables: Further tables, in reading order.
        figures: Figures, in reading order.
        metrics: First, last and best values.
        command: The shell command that runs the experiment again.
        command_report: The shell command that draws this report again.
        config_yaml: The complete config as text.
        environment: Name to value: versions, seed, device, precision, threads, time per step.
        kind: What the page is about.
        scene: The panels in motion.

    Raises:
        ValueError: An unknown status.
    """

    title: str
    question: str
    answer: Sequence[str] = ()
    aside: str = ""
    findings: Sequence[str] = ()
    advice: str = ""
    notes: Sequence[str] = ()
    source: str = ""
    status: State = "finished"
    steps: int = 0
    went_on: bool = False
    verdicts: Sequence[VerdictRow] = ()
    tables: Sequence[TableItem] = ()
    figures: Sequence[FigureItem] = ()
    metrics: Sequence[MetricRow] = ()
    command: str = ""
    command_report: str = ""
    config_yaml: str = ""
    environment: Mapping[str, str | float] = field(default_factory=dict)
    kind: str = "Experiment"
    scene: Scene | None = None

    def __post_init__(self) -> None:
        if self.status not in ("finished", "unfinished", "diverged"):
            raise ValueError(
                f"status {self.status!r} is unknown; use finished, unfinished or diverged"
            )

    @property
    def claims(self) -> list[VerdictRow]:
        """Claims about what this run shows."""
        return [row for row in self.verdicts if not row.theory]

    @property
    def theory(self) -> list[VerdictRow]:
        """Claims that are answered from data and settings alone."""
        return [row for row in self.verdicts if row.theory]

    @property
    def subject(self) -> str:
        """What its findings are about, in a word."""
        return {"Experiment": "run"}.get(self.kind, self.kind.lower())

    @property
    def counts(self) -> dict[str, int]:
        """Number of claims about this run for each verdict that occurs, failures first."""
        return tally(self.claims)


def tally(rows: Sequence[VerdictRow]) -> dict[str, int]:
    """Number of rows for each verdict that occurs, failures first."""
    order = ("fails", "holds", "refuted", "not applicable")
    found = [row.verdict for row in rows]
    return {name: found.count(name) for name in order if name in found}


def render(page: Page) -> str:
    """The page as one HTML5 document with everything inside it: it fetches nothing.

    Args:
        page: What it says; every text is escaped.
    """
    environment = _environment()
    packed = pack({**wire(page.scene), "themes": THEMES}) if page.scene else ""
    return environment.get_template("page.html.j2").render(
        page=page,
        tally=tally,
        css=Markup(_text("page.css")),
        script=Markup(_text("page.js")),
        # Base64 needs no escaping, and megabytes of it would take a while.
        scene=Markup(packed),
        plotly=Markup(plotly_bundle() if page.scene else ""),
        motion=Markup(_text("scene.js") if page.scene else ""),
    )


def write(page: Page, path: Path | str) -> Path:
    """Write the page; no reader sees half of it.

    What is no letter (half a surrogate pair in a config, a byte of a folder's name) stands there
    by its number.

    Args:
        page: What it says.
        path: The file; its folder has to exist.

    Returns:
        The path.
    """
    target = Path(path)
    replace(target, render(page).encode(errors="backslashreplace"))
    return target


def options(text: str) -> Markup:
    """The text with its command line options set apart, so that no line breaks in one.

    Several words of a command line stand between back quotes.

    Example:
        >>> print(options("Try --trainer.max_steps < 10, `--seed 1 --fast`."))
        Try <code>--trainer.max_steps</code> &lt; 10, <code>--seed 1 --fast</code>.
    """
    pieces = re.split(r"`([^`]*)`", str(escape(text)))
    pieces[::2] = [re.sub(r"--[\w.]+", r"<code>\g<0></code>", piece) for piece in pieces[::2]]
    pieces[1::2] = [f"<code>{piece}</code>" for piece in pieces[1::2]]
    return Markup("".join(pieces))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("toyml.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_value
    environment.filters["options"] = options
    return environment


@cache
def _text(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]
