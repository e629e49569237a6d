"""The report page of a sweep, and the figures that are drawn if none are named."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toyml.callbacks.after import AfterFit
from toyml.callbacks.answer import Answer, Prose
from toyml.callbacks.basin_figures import SweepBasins
from toyml.callbacks.figure import Figure
from toyml.callbacks.report import drawn_figures, show
from toyml.callbacks.sweep_cells import SweepOutcomes
from toyml.callbacks.sweep_figures import SweepFan, SweepMap, SweepRates
from toyml.errors import UserError
from toyml.report.page import Page, TableItem, VerdictRow, write
from toyml.run import Run
from toyml.sweep.axis import label_of, numeric, value_labels
from toyml.sweep.folder import Sweep
from toyml.sweep.outcome import CONVERGED, OUTCOMES, PLATEAU
from toyml.sweep.table import Rate, rate, rows_with
from toyml.terminal import format_value, plain

LISTED = 30
"""Keys with more values have a figure and no table."""

INTERVAL = "Low and high: the 95 % Wilson interval of the chance. "

PRINTED = 6
"""So many plateaus are told apart in the terminal."""


class SweepReport(AfterFit):
    """Write ``report.html`` from a sweep's table, figures and verdicts, and close with a summary.

    It works last, wherever it is listed.

    Args:
        question: What the sweep asks; by default what became of its trainings.
        answer: What its author says to that, as in :class:`~toyml.callbacks.Report`; what the sweep
            itself shows follows.
        source: Who asked, and where.
        title: Title of the page; the experiment's name by default.
        given: Settings that the answer presupposes, besides those of the sweep's ``Verdicts``.
        quantities: Numbers in the answer: the statement of the claim that measures each.
    """

    essential = True
    closing = True

    def __init__(
        self,
        question: str = "",
        answer: Prose | Sequence[str | dict[str, Any]] = (),
        source: str = "",
        title: str | None = None,
        given: dict[str, Any] | None = None,
        quantities: dict[str, str] | None = None,
    ) -> None:
        self.question, self.answer = question, Answer(answer, given, quantities)
        self.source, self.title = source, title

    def finish(self, run: Run) -> None:
        """Write the page, then print.

        Raises:
            UserError: The run is no sweep.
        """
        if not isinstance(run, Sweep):
            raise UserError("SweepReport reports a sweep, and this is one run; use Report")
        page = self.page(run)
        path = write(page, run.folder / "report.html")
        Console().print(summary_table(run))
        show(page, str(path))

    def page(self, sweep: Sweep) -> Page:
        """What the page says."""
        summary = sweep.summary
        figures, left_out = drawn_figures(sweep)
        environment = {k: v for k, v in (summary.get("environment") or {}).items() if v is not None}
        if summary.get("seconds"):
            environment["training time"] = f"{summary['seconds']:,.2f} s"
            rate = len(sweep.table) * int(sweep.table["steps"][0]) / summary["seconds"]
            environment["optimizer steps per second"] = f"{rate:,.0f}"
        config = sweep.folder / "config.yaml"
        told = self.answer.tell(sweep)
        return Page(
            title=self.title or sweep.name,
            question=self.question or asked(sweep),
            answer=told.sentences,
            aside=told.aside,
            findings=measured(sweep),
            notes=left_out,
            source=self.source,
            steps=int(sweep.table["steps"].max() or 0),  # type: ignore[arg-type]
            verdicts=[VerdictRow(**verdict) for verdict in summary.get("claims", [])],
            tables=[outcome_item(sweep), *level_items(sweep), *rate_items(sweep)],
            figures=figures,
            command=f"python -m toyml sweep --config {config}",
            command_report=f"python -m toyml report {sweep.folder}",
            config_yaml=config.read_text(encoding="utf-8"),
            environment=environment,
            kind="Sweep",
        )


def default_figures(varied: Mapping[str, Sequence[Any]]) -> list[Figure]:
    """The figures that have something to show for the varied keys."""
    several = {key: values for key, values in varied.items() if len(values) > 1}
    starts = [key for key in several if key.startswith("initial.")]
    figures: list[Figure] = []
    if len(starts) == 2 and len(several) == 2:
        return [SweepBasins(), SweepFan()]
    if sum(numeric(values) and len(values) > 2 for values in several.values()) >= 2:
        figures.append(SweepMap())
    if several:
        figures.append(SweepRates())
        if max(map(len, several.values())) <= 12:
            figures.append(SweepOutcomes())
    return [*figures, SweepFan()]


def asked(sweep: Sweep) -> str:
    """The question of a sweep that has none of its own."""
    keys = [label_of(key, values) for key, values in sweep.varied.items() if len(values) > 1]
    seeds = sweep.table["seed"].n_unique()
    over = " and ".join([*keys, *([f"{seeds:,} seeds"] if seeds > 1 else [])])
    return f"What becomes of training {sweep.name}, over {over or 'one seed'}?"


def measured(sweep: Sweep) -> list[str]:
    """The sweep's own numbers in sentences."""
    summary, table = sweep.summary, sweep.table
    counted = {name: n for name, n in summary["outcomes"].items() if n}
    words = ", ".join(f"{n:,} {name}" for name, n in counted.items())
    found, several = rate("all", table), len(table) > 1
    sentences = [f"Of {len(table):,} training{'s' * several}: {words}. {meant(sweep)}"]
    if found.low is not None and found.high is not None:
        sentences.append(
            f"The chance that a seed converges lies between {percent(found.low)} and "
            f"{percent(found.high)} (95 % Wilson interval)."
        )
    if counted.get(PLATEAU) and sweep.settings.outcomes.converged is None:
        sentences.append(
            "On a plateau the loss stayed the same within "
            f"{percent(sweep.settings.outcomes.flat)} over the last tenth of the steps; whether it "
            "can be lower is not known. The lowest loss found is "
            f"{format_value(summary['loss']['least'])}."
        )
    converged = rows_with(table, "outcome", CONVERGED)["step"]
    if len(converged) == 1:
        sentences.append(f"The one that converged got there at step {converged[0]:,}.")
    elif len(converged):
        quantiles = np.quantile(converged.to_numpy(), [0, 0.5, 1])
        first, middle, last = (f"{round(q):,}" for q in quantiles)
        sentences.append(
            f"The {len(converged):,} that converged got there at step {first} to {last}, half of "
            f"them by {middle}."
        )
    if "accuracy" in table.columns and len(known := table["accuracy"].drop_nulls().drop_nans()):
        right = int((known == 1).sum())
        sentences.append(f"{right:,} of {len(known):,} classify every row correctly at the end.")
    return sentences


def meant(sweep: Sweep) -> str:
    """What converged means in this sweep, in a sentence."""
    table, definition = sweep.table, sweep.settings.outcomes
    bound = np.unique(np.asarray(sweep.summary["threshold"], dtype=float))
    if not np.isfinite(bound).all():
        return (
            "None counts as converged: it is not known which loss a training has to reach here; "
            "give it as sweep.outcomes.converged."
        )
    several = " (by setting)" * (len(bound) > 1)
    said = f"Converged means a loss below {span(bound)}{several}"
    if definition.converged is not None or "constant_loss" not in table.columns:
        return f"{said}."
    constant, least = (np.unique(table[c].to_numpy()) for c in ("constant_loss", "least_loss"))
    if not (least > 0).any():
        return (
            f"{said}: {percent(definition.share)} of what the best constant prediction gets, "
            f"{span(constant)}."
        )
    return (
        f"{said}: at most {percent(definition.share)} is left of the way down from the loss of the "
        f"best constant prediction ({span(constant)}) to that of least squares ({span(least)})."
    )


def span(values: NDArray[np.float64]) -> str:
    """A few values, or the least and the greatest of many."""
    shown = list(dict.fromkeys(format_value(float(v)) for v in values))
    return " or ".join(shown) if len(shown) < 4 else f"{shown[0]} to {shown[-1]}"


def outcome_rows(sweep: Sweep) -> list[tuple[Rate, float | None]]:
    """For each outcome its count, and the median step."""
    table = sweep.table
    rows: list[tuple[Rate, float | None]] = []
    for name in OUTCOMES:
        steps = rows_with(table, "outcome", name)["step"]
        middle = float(np.median(steps.to_numpy())) if len(steps) else None
        rows.append((rate(name, table, name), middle))
    return rows


def outcome_item(sweep: Sweep) -> TableItem:
    """What became of all trainings."""
    rows = outcome_rows(sweep)
    bounds = ("low", "high") if interval(rows[0][0]) else ()
    return TableItem(
        "What became of the trainings",
        ("outcome", "trainings", "share", *bounds, "median step"),
        [
            (found.value, found.successes, percent(found.share), *interval(found), middle)
            for found, middle in rows
        ],
        f"{INTERVAL * bool(bounds)}The step is the first below the threshold (converged), the one "
        "from which on the loss stayed (plateau), or the first that was lost (diverged).",
    )


def interval(found: Rate) -> tuple[str, ...]:
    """Both ends of the interval of a chance; nothing where there is none."""
    if found.low is None or found.high is None:
        return ()
    return percent(found.low), percent(found.high)


def level_items(sweep: Sweep) -> list[TableItem]:
    """The plateaus, lowest first."""
    shown, left, rest = largest_levels(sweep, LISTED)
    if not shown:
        return []
    rows = [(level["name"], level["loss"], level["count"]) for level in shown]
    rows += [(f"{left:,} others", None, rest)] if left else []
    return [TableItem("Plateaus", ("level", "median loss", "trainings"), rows)]


def largest_levels(sweep: Sweep, most: int) -> tuple[list[dict[str, Any]], int, int]:
    """Up to ``most`` plateaus, the largest ones, lowest first.

    Returns:
        They, how many plateaus are left out, and how many trainings stopped there.
    """
    levels: list[dict[str, Any]] = sweep.summary.get("levels", [])
    order = sorted(range(len(levels)), key=lambda i: -levels[i]["count"])
    shown, rest = sorted(order[:most]), order[most:]
    return [levels[i] for i in shown], len(rest), sum(levels[i]["count"] for i in rest)


def percent(share: float) -> str:
    """A share in tenths of a percent; what is not quite none or all is not rounded to it.

    Example:
        >>> percent(0.5), percent(0.0), percent(0.00005), percent(0.99999), percent(1.0)
        ('50.0%', '0.0%', '<0.1%', '>99.9%', '100.0%')
    """
    if 0 < share < 0.0005 or 0.9995 <= share < 1:
        return "<0.1%" if share < 0.5 else ">99.9%"
    return f"{share:.1%}"


def rate_items(sweep: Sweep) -> list[TableItem]:
    """For each key of few values, how many converged."""
    several = {key: values for key, values in sweep.varied.items() if len(values) > 1}
    if several and math.prod(map(len, several.values())) <= LISTED:
        return [rate_item(sweep, list(several))]
    return [rate_item(sweep, [key]) for key, values in several.items() if len(values) <= LISTED]


def rate_item(sweep: Sweep, keys: Sequence[str]) -> TableItem:
    """How many converged for every combination of the values of some keys."""
    labels = [label_of(key, sweep.varied[key]) for key in keys]
    named = [list(zip(value_labels(v), v, strict=True)) for v in map(sweep.varied.get, keys) if v]
    found: list[tuple[list[str], Rate]] = []
    for setting in itertools.product(*named):
        rows = sweep.table
        for key, (_, value) in zip(keys, setting, strict=True):
            rows = rows_with(rows, key, value)
        found.append(([name for name, _ in setting], rate(None, rows)))
    bounds = ("low", "high") if all(interval(r) for _, r in found) else ()
    return TableItem(
        f"Converged, by {' and '.join(labels)}",
        (*labels, "converged", "share", *bounds),
        [
            (
                *names,
                f"{r.successes:,} of {r.trials:,}",
                percent(r.share),
                *interval(r)[: len(bounds)],
            )
            for names, r in found
        ],
        INTERVAL.strip() if bounds else "",
    )


def summary_table(sweep: Sweep) -> Table:
    """What became of all trainings, for the terminal."""
    table = Table(box=None, padding=(0, 1), show_edge=False)
    rows = outcome_rows(sweep)
    bounds = ["95 % interval"] if interval(rows[0][0]) else []
    for name in ("outcome", "trainings", "share", *bounds, "median step"):
        table.add_column(name, justify="left" if name == "outcome" else "right")
    for found, middle in rows:
        step = "" if middle is None else f"{middle:,.0f}"
        ends = [" to ".join(interval(found))] if bounds else []
        table.add_row(str(found.value), f"{found.successes:,}", percent(found.share), *ends, step)
    levels, left, rest = largest_levels(sweep, PRINTED)
    for level in levels:
        table.add_row(Text(plain(f"  plateau at {level['name']}")), f"{level['count']:,}")
    if left:
        table.add_row(f"  {left:,} other plateaus", f"{rest:,}")
    return table
