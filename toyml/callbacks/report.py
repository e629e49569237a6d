"""The report page and the last words in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toyml import views
from toyml.callbacks.after import AfterFit
from toyml.callbacks.answer import Answer, Prose
from toyml.callbacks.errands import wait
from toyml.callbacks.figure import replicas_of
from toyml.callbacks.stage import scene
from toyml.files import read_bytes, read_json
from toyml.report.page import FigureItem, MetricRow, Page, VerdictRow, tally, write
from toyml.run import Run
from toyml.terminal import format_value, plain

LARGE = 250_000
"""Bytes of an SVG beyond which the page takes the PNG."""

LARGEST = 64_000_000
"""Bytes of a picture that the page takes at all."""

COLORS = {"holds": "green", "refuted": "cyan", "fails": "bold white on red"}


class Report(AfterFit):
    """Write ``report.html`` from what is in the run folder, and close with a short summary.

    It works last, wherever it is listed: it shows the figures and verdicts that all others leave.

    Args:
        question: What the experiment asks.
        answer: What its author says to that: texts, or mappings with ``says``, ``given`` (settings
            that this sentence presupposes) and ``holds`` (statements of claims that it rests on).
            A sentence is shown only where all that holds; what a run itself shows follows.
        source: Who asked, and where.
        title: Title of the page; the experiment's name by default.
        given: Settings that the answer presupposes, by dotted key of the config, besides those of
            the ``Verdicts`` in the same config.
        quantities: Numbers in the answer, by the name that stands for them in braces, as in
            ``{limit:.2f}``: the statement of the claim that measures each.

    Raises:
        UserError: An answer that names a quantity that is not there.
    """

    essential = True
    patient = False
    closing = True

    def __init__(
        self,
        question: str,
        answer: Prose | Sequence[str | dict[str, Any]] = (),
        source: str = "",
        title: str | None = None,
        given: dict[str, Any] | None = None,
        quantities: dict[str, str] | None = None,
    ) -> None:
        self.question, self.answer = question, Answer(answer, given, quantities)
        self.source, self.title = source, title

    def finish(self, run: Run) -> None:
        """Write the page, then print."""
        page = self.page(run)
        path = write(page, run.folder / "report.html")
        show(page, str(path))

    def page(self, run: Run) -> Page:
        """What the page says."""
        summary = run.summary
        steps = run.trajectory.steps
        found = views.findings_view(run)
        diverged = found.outcome == views.DIVERGED
        state: Any = "diverged" if diverged else run.status.split()[0]
        step = int(steps[-1]) if len(steps) else 0
        told = self.answer.tell(run, diverged)
        environment = {k: v for k, v in (summary.get("environment") or {}).items() if v is not None}
        if {"seconds", "seconds_per_step"} <= summary.keys():
            environment["time per step"] = f"{summary['seconds_per_step'] * 1e6:,.1f} µs"
            environment["training time"] = f"{summary['seconds']:,.2f} s"
            environment["steps run by"] = summary.get("route", "")
        moving = None if replicas_of(run) else scene({run.name: run})  # while children still draw
        figures, left_out = drawn_figures(run)
        config = run.folder / "config.yaml"
        return Page(
            title=self.title or run.name,
            question=self.question,
            answer=told.sentences,
            aside=told.aside,
            findings=found.sentences,
            advice=found.advice,
            notes=[*left_out, *thinning(run)],
            source=self.source,
            status=state,
            steps=found.step if diverged and run.finished else step,
            went_on=run.finished,
            verdicts=[VerdictRow(**verdict) for verdict in summary.get("claims", [])],
            figures=figures,
            metrics=metric_rows(run),
            command=f"python -m toyml fit --config {config}" if run.config else "",
            command_report=f"python -m toyml report {run.folder}" if run.config else "",
            config_yaml=config.read_text(encoding="utf-8") if run.config else "",
            environment=environment,
            scene=moving,
        )


def thinning(run: Run) -> list[str]:
    """A sentence on how much of the record the pictures show, where it is not all."""
    trajectory = run.trajectory
    if trajectory.fewest is None:
        return []
    return [
        f"Thinned: {len(trajectory):,} snapshots were recorded and are kept; each picture over the "
        f"steps shows at least {trajectory.fewest:,} of them."
    ]


def metric_rows(run: Run) -> list[MetricRow]:
    """First, last and best value of everything logged."""
    rows = []
    found = views.findings_view(run)
    if found.evaluated:  # over all rows, which a logged loss may not be
        rows.append(MetricRow("loss", found.start, found.end, found.least))
    for name, column in run.metrics.items():
        if name == "loss" and found.evaluated:
            continue
        values = [v for v in column["value"] if math.isfinite(v)]
        if values:
            # Of a loss or an error the least is best; of an accuracy or a score the greatest.
            small = any(word in name.lower() for word in ("loss", "error", "mse", "mae"))
            best = min(values) if small else max(values)
            rows.append(MetricRow(name, column["value"][0], column["value"][-1], best))
    return rows


def drawn_figures(run: Run) -> tuple[list[FigureItem], list[str]]:
    """The figures in the run folder in the order of the config, and words on those left out."""
    wait()
    folder = run.folder / "figures"
    found = {path.stem: path for path in sorted(folder.glob("*.json"))} if folder.is_dir() else {}
    order = {name: i for i, name in enumerate(figure_names(run))}
    items, left_out = [], []
    for name in sorted(found, key=lambda n: (order.get(n, len(order)), n)):
        try:
            items.append(drawn_figure(found[name]))
        except LeftOut as why:
            left_out.append(f"The figure “{name}” is left out: {why}.")
    return items, left_out


class LeftOut(Exception):  # noqa: N818 - an answer, not an error: the page says it
    """There is no such figure; the message says why."""


def drawn_figure(path: Path) -> FigureItem:
    """A figure and its words.

    Args:
        path: The words, ``<name>.json``, beside ``<name>.svg`` or ``<name>.png``.

    Raises:
        LeftOut: It was left out when it was drawn, or its files are damaged.
    """
    try:
        words = read_json(path)
        if not isinstance(words, dict) or not all(isinstance(w, str) for w in words.values()):
            raise ValueError("it holds no words by name")
        if "left_out" in words:
            raise LeftOut(words["left_out"])
        svg, png = (path.with_suffix(f".{kind}") for kind in ("svg", "png"))
        small = svg.exists() and svg.stat().st_size <= LARGE
        item = FigureItem(
            title=words["title"],
            caption=words["caption"],
            alt=words["alt"],
            svg=read_bytes(svg, LARGEST).decode() if small or not png.exists() else None,
            png=None if small else read_bytes(png, LARGEST),
        )
        _ = item.size  # a picture without one could not be put on the page
    except (OSError, ValueError, KeyError) as error:
        raise LeftOut(f"its files are damaged ({' '.join(str(error).split())})") from error
    return item


def figure_names(run: Run) -> list[str]:
    """Names of the figures in the order of the config's callbacks."""
    callbacks = (run.config.get("trainer") or {}).get("callbacks") or []
    settings = [c.get("init_args") or {} for c in callbacks if isinstance(c, dict)]
    return [str(s["name"]) for s in settings if "name" in s]


def show(page: Page, path: str) -> None:
    """Print the verdicts and the path of the report."""
    console = Console()
    console.print()
    console.print(Text(plain(page.question), style="bold"))
    for sentence in page.answer:
        console.print(Text(plain(f"  {sentence}")))
    found = [s for s in (page.aside, *page.findings, page.advice, *page.notes) if s]
    if found:
        console.print(Text(f"What this {page.subject} shows", style="bold"))
    for sentence in found:
        console.print(Text(plain(f"  {sentence}")))
    counted = []
    for rows, heads, name in (
        (page.claims, ("claim", "measured"), ""),
        (page.theory, ("theory, which no training enters", "computed"), "theory: "),
    ):
        if not rows:
            continue
        table = Table(box=None, padding=(0, 1), show_edge=False)
        for head, where in ((heads[0], "left"), ("predicted", "right"), (heads[1], "right")):
            table.add_column(head, justify=where, overflow="fold")  # type: ignore[arg-type]
        table.add_column("verdict", no_wrap=True)
        for row in rows:
            words = (
                row.why
                if row.verdict == "not applicable"
                else format_value(row.measured, row.digits)
            )
            table.add_row(
                Text(plain(row.statement)),
                Text(plain(format_value(row.predicted, row.digits))),
                Text(plain(words)),
                Text(row.verdict, style=COLORS.get(row.verdict, "dim")),
            )
        console.print(table)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in tally(rows).items())
        counted.append(f"{name}{counts}")
    counts = "; ".join(counted)
    status = "" if page.status == "finished" else f"[yellow]{page.status} at step {page.steps}[/]  "
    console.print(f"{status}{counts + '  ' if counts else ''}", end="")
    console.print(Text(plain(f"report: {path}"), style="bold"), soft_wrap=True)
