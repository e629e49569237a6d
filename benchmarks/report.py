"""From the end of a fit to its report on disk, stage by stage, for every shipped experiment.

    python -m benchmarks.report                                  # all, each in a process of its own
    python -m benchmarks.report --only sgd --stages              # one, callback by callback
    python -m benchmarks.report --update docs/speed.md           # and put the table there
    python -m benchmarks.report --short --only xor               # few steps, seconds

The clock starts when the first of the callbacks after the fit is called and stops when all have
come back and every file is written. Pictures are saved by child processes meanwhile: "figures" is
what the fit's own process spends on them, and "waiting" what is left of the children's work when
everything else is done. A page is opened in the system's Chromium, where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
LIMITS = {"total": 5.0, "megabytes": 8.0, "opens": 2.0}
GROUPS = ("figures", "claims", "page", "waiting", "other")
SHORT = ("--trainer.max_steps", "200")


@dataclass(frozen=True)
class Row:
    """One experiment.

    Attributes:
        name: Stem of its config.
        stages: Seconds by callback, in order; "waiting" for children.
        groups: The same by kind of callback.
        total: Seconds from the end of the fit to the report on disk.
        processor: Seconds of processor time, of this process and its children: on two idle cores
            the total is more than half of it.
        megabytes: Size of ``report.html``.
        opens: Seconds until the page answers in Chromium; ``None`` without one.
    """

    name: str
    stages: Mapping[str, float]
    groups: Mapping[str, float]
    total: float
    processor: float
    megabytes: float
    opens: float | None = None

    @property
    def late(self) -> list[str]:
        """Which limits are passed."""
        found = {name: getattr(self, name) for name in LIMITS}
        return [name for name, v in found.items() if v is not None and v > LIMITS[name]]


class Clock:
    """Seconds by stage; a stage inside another one is taken off the outer."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self.processor = 0.0
        self._inner = [0.0]

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens in the block."""
        self._inner.append(0.0)
        begin, used = time.perf_counter(), sum(os.times()[:4])
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            own = seconds - self._inner.pop()
            self._inner[-1] += seconds
            self.stages[name] = self.stages.get(name, 0.0) + own
            if len(self._inner) == 1:
                self.processor += sum(os.times()[:4]) - used


def timed(clock: Clock, name: Callable[..., str], work: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is a stage."""

    def stage(*args: Any, **kwargs: Any) -> Any:
        with clock.stage(name(*args)):
            return work(*args, **kwargs)

    return stage


def measure(name: str, words: Sequence[str] = (), configs: Path = ROOT / "configs") -> Row:
    """Fit an experiment in this process, in a folder that is removed, and time what comes after.

    Args:
        name: Stem of the config.
        words: More words of the command line.
        configs: Where configs are.
    """
    from toyml.callbacks import after
    from toyml.callbacks.errands import Errands
    from toyml.cli import main as toyml

    clock, kinds = Clock(), {}
    of_callback = after.AfterFit.work_on

    def label(callback: Any, *_: Any) -> str:
        name = type(callback).__name__
        stem = f"{name} {callback.name}" if hasattr(callback, "name") else name
        kinds[stem] = group(callback)
        return stem

    stages = (
        patch.object(after, "work_through", timed(clock, lambda *_: "other", after.work_through)),
        patch.object(after.AfterFit, "work_on", timed(clock, label, of_callback)),
        patch.object(Errands, "_settle", timed(clock, lambda *_: "waiting", Errands._settle)),
    )
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.chdir(folder))
        for stage in stages:
            stack.enter_context(stage)
        run: Any = toyml(["fit", "--config", str(configs / f"{name}.yaml"), *words])
        page = run.folder / "report.html"
        size, opens = page.stat().st_size / 1e6, opening_time(page)
    groups = dict.fromkeys(GROUPS, 0.0)
    for stage_name, seconds in clock.stages.items():
        groups[kinds.get(stage_name, stage_name)] += seconds
    return Row(name, clock.stages, groups, sum(clock.stages.values()), clock.processor, size, opens)


def group(callback: Any) -> str:
    """What kind of work a callback does."""
    from toyml.callbacks import Figure, Report
    from toyml.callbacks.verdicts import Judge

    kinds = ((Figure, "figures"), (Judge, "claims"), (Report, "page"))
    return next((name for kind, name in kinds if isinstance(callback, kind)), "other")


def opening_time(page: Path) -> float | None:
    """Seconds until the page answers in Chromium; ``None`` without one, or without its driver."""
    try:
        from benchmarks.browser import browser, chromium, opening_time
    except ImportError:
        return None
    if chromium() is None:
        return None
    with browser() as started:
        opening_time(page, started)  # the browser's own start is not the page's
        return statistics.median(opening_time(page, started) for _ in range(3))


def apart(name: str, words: Sequence[str]) -> Row:
    """Measure in a fresh process, as a user's command runs in one."""
    code = (
        "import sys, json, dataclasses, benchmarks.report as report\n"
        "row = report.measure(sys.argv[1], sys.argv[3:])\n"
        "open(sys.argv[2], 'w').write(json.dumps(dataclasses.asdict(row)))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "row.json"
        command = [sys.executable, "-c", code, name, str(found), *words]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
        )
        if done.returncode:
            raise SystemExit(f"{name} failed: {done.stderr.strip()}")
        return Row(**json.loads(found.read_text()))


def median_row(rows: Sequence[Row]) -> Row:
    """The row with the median total: its stages belong together."""
    return sorted(rows, key=lambda row: row.total)[(len(rows) - 1) // 2]


def cells(row: Row) -> list[str]:
    """What a row of the table shows."""
    return [
        row.name,
        *(f"{row.groups[name]:.2f}" for name in GROUPS),
        f"{row.total:.2f}",
        f"{row.processor:.2f}",
        f"{row.megabytes:.2f}",
        "" if row.opens is None else f"{row.opens:.2f}",
    ]


HEADS = [
    "experiment",
    *(f"{name} s" for name in GROUPS),
    f"total s (at most {LIMITS['total']:g})",
    "processor s",
    f"page MB (at most {LIMITS['megabytes']:g})",
    f"opens s (at most {LIMITS['opens']:g})",
]


def markdown(rows: Sequence[Row]) -> str:
    """The table for the documents; what passes a limit is bold."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    places = {"total": 1 + len(GROUPS), "megabytes": 3 + len(GROUPS), "opens": 4 + len(GROUPS)}
    for row in rows:
        shown = cells(row)
        for name in row.late:
            shown[places[name]] = f"**{shown[places[name]]}**"
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def show(rows: Sequence[Row], console: Console, stages: bool) -> None:
    """Print the table, and every callback's own time where asked for."""
    table = Table(*HEADS)
    for row in rows:
        table.add_row(*cells(row), style="red" if row.late else None)
    console.print(table)
    for row in rows if stages else ():
        table = Table(row.name, "s")
        for name, seconds in row.stages.items():
            table.add_row(name, f"{seconds:.3f}")
        console.print(table)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="experiments whose name contains this")
    parser.add_argument("--repeats", type=int, default=3, help="the median is shown (default: 3)")
    parser.add_argument("--stages", action="store_true", help="also every callback's own time")
    parser.add_argument("--short", action="store_true", help="200 steps, once, in this process")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--update", type=Path, help="put the table into this file (docs/speed.md)")
    return parser


def main(words: Sequence[str] | None = None, console: Console | None = None) -> list[Row]:
    from benchmarks.training import write_between

    options = arguments().parse_args(words)
    console = console or Console(width=None if sys.stdout.isatty() else 180)
    names = [path.stem for path in sorted((ROOT / "configs").glob("*.yaml"))]
    rows = []
    for name in (name for name in names if options.only in name):
        if options.short:
            rows.append(measure(name, SHORT))
        else:
            rows.append(median_row([apart(name, ()) for _ in range(options.repeats)]))
        console.print(f"{name}: {rows[-1].total:.2f} s", highlight=False)
    show(rows, console, options.stages)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if options.update:
        write_between(options.update, "report", markdown(rows))
    return rows


if __name__ == "__main__":
    main()
