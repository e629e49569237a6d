"""Time one fit of R replicas against R plain loops and R fits of stock Lightning.

    python -m benchmarks.replicas                            # a few minutes
    python -m benchmarks.replicas --update docs/replicas.md  # and put the tables there
    python -m benchmarks.replicas --short                    # a few steps of everything, seconds

The fit is ``Trainer.fit`` with ``toyml.tasks.Replicas``: a trajectory of all replicas (eight
snapshots per decade of steps), quantiles of the loss in metrics.csv, progress bar, last checkpoint.
Its time runs from ``on_train_start`` of the first callback to ``on_train_end`` of the last; "whole"
adds drawing the R initial parameters, ``Trainer()`` and the rest of ``fit()``. The loop and stock
Lightning are those of benchmarks/training.py, for one net: R of them are R times the time per step
(1,000 loops take no less per loop than one).

All sides run in turn in one process; a ratio is formed within each round and the tables show the
medians. Memory is the peak of a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.training import (
    CASES,
    Case,
    End,
    Start,
    drawing_into_a_file,
    machine,
    plain,
    stock,
    write_between,
)
from toyml import optim
from toyml.callbacks import LastCheckpoint, Progress, Recorder
from toyml.cli.trainer import quiet
from toyml.logger import RunLogger
from toyml.tasks import Replicas

XOR, RINGS = CASES[0], CASES[1]
PLAIN_STEPS, STOCK_STEPS = 1000, 100


class Unread(nn.Module):
    """A net whose structure nothing reads: it goes through ``vmap(functional_call)``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """The net's output."""
        output: Tensor = self.net(x)
        return output


@dataclass(frozen=True)
class Side:
    """One way to train R replicas.

    Attributes:
        name: What the tables call it.
        case: The training problem.
        replicas: R.
        steps: Steps of the fit.
        compiled: ``None`` takes C, ``False`` does not.
        threads: Threads of torch.
        optimizer: Instead of the case's; called with R it gives a factory.
        mapped: Hide the net's structure.
        limits: Least ratios to loops and to stock fits that were agreed.
        against: Name of the side whose time this one's is divided by, for settings per replica.
    """

    name: str
    case: Case
    replicas: int
    steps: int
    compiled: bool | None = None
    threads: int = 1
    optimizer: Callable[[int], Any] | None = None
    mapped: bool = False
    limits: tuple[float, float] | None = None
    against: str = ""

    @property
    def key(self) -> str:
        """Its name with what distinguishes it."""
        return f"{self.case.name}, R = {self.replicas:,}, {self.name}"


def spread(low: float, high: float) -> Callable[[int], list[float]]:
    """R numbers from low to high."""
    return lambda r: torch.linspace(low, high, r).tolist()


def sgd(r: int, per_replica: bool) -> Any:
    """SGD with every number, shared or one per replica."""
    if not per_replica:
        return partial(optim.SGD, lr=0.5, momentum=0.9, dampening=0.1, weight_decay=1e-4)
    return partial(
        optim.SGD,
        lr=spread(0.1, 0.5)(r),
        momentum=spread(0.5, 0.9)(r),
        dampening=spread(0.05, 0.1)(r),
        weight_decay=spread(1e-5, 1e-4)(r),
    )


def adam(r: int, per_replica: bool) -> Any:
    """Adam with every number, shared or one per replica."""
    if not per_replica:
        return partial(optim.Adam, lr=0.01, weight_decay=1e-4)
    return partial(
        optim.Adam,
        lr=spread(0.001, 0.01)(r),
        betas=(spread(0.8, 0.9)(r), spread(0.99, 0.999)(r)),
        eps=spread(1e-8, 1e-7)(r),
        weight_decay=spread(1e-5, 1e-4)(r),
    )


def routes(case: Case, r: int, steps: int, limits: tuple[float, float]) -> list[Side]:
    """C and batched operations, and without reading the net."""
    make = partial(Side, case=case, replicas=r, steps=steps)
    return [
        make("C", limits=limits),
        make("batched", compiled=False, limits=limits),
        make("vmap", compiled=False, mapped=True, steps=max(1, steps // 5)),
    ]


def settings(case: Case, r: int, steps: int, rule: Callable[[int, bool], Any]) -> list[Side]:
    """Shared settings and settings per replica, in C and in batched operations."""
    sides = []
    for name, compiled in (("C", None), ("batched", False)):
        shared = f"{name}, shared settings"
        make = partial(Side, case=case, replicas=r, steps=steps, compiled=compiled)
        sides.append(make(shared, optimizer=partial(rule, per_replica=False)))
        sides.append(
            make(
                f"{name}, settings per replica",
                optimizer=partial(rule, per_replica=True),
                against=shared,
            )
        )
    return sides


def all_sides(short: bool) -> dict[str, list[Side]]:
    """The sides of each group; the sides of a group take turns."""
    few, many, rings = (20, 100, 5) if short else (1_000, 10_000, 100)
    steps, ring_steps = (20, 6) if short else (2_000, 400)
    two_threads = Side("C, two threads", RINGS, rings, ring_steps, None, 2, limits=(18, 300))
    return {
        "XOR few": routes(XOR, few, steps, (300, 1_300)),
        "XOR many": routes(XOR, many, max(10, steps // 2), (600, 2_500)),
        "rings": [*routes(RINGS, rings, ring_steps, (9, 300)), two_threads],
        "XOR settings": settings(XOR, few, steps, sgd),
        "XOR settings of many": settings(XOR, many, max(10, steps // 2), sgd),
        "rings settings": settings(RINGS, rings, ring_steps, adam),
    }


# -- the fit -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timed:
    """One fit: seconds from the first step to the last, seconds with set-up, and its route."""

    seconds: float
    whole: float
    route: str


def fit(side: Side) -> Timed:
    """One recorded fit of R replicas."""
    case, first, last = side.case, Start(), End()
    build = (lambda: Unread(case.net())) if side.mapped else case.net
    rule = case.optimizer if side.optimizer is None else side.optimizer(side.replicas)
    torch.set_num_threads(side.threads)
    try:
        with tempfile.TemporaryDirectory() as folder, quiet(), drawing_into_a_file():
            data = case.data()
            start = perf_counter()
            task = Replicas(build, case.loss(), rule, side.replicas, compiled=side.compiled)
            trainer = pl.Trainer(
                max_steps=side.steps,
                max_epochs=-1,
                precision=case.precision,
                log_every_n_steps=50,
                logger=RunLogger(folder),
                callbacks=[first, Progress(), LastCheckpoint(), Recorder(per_decade=8), last],
                num_sanity_val_steps=0,
                enable_model_summary=False,
                accelerator="cpu",
                devices=1,
            )
            trainer.fit(task, datamodule=data)
            whole = perf_counter() - start
            assert (task.diverged == -1).all()
    finally:
        torch.set_num_threads(1)
    return Timed(last.at - first.at, whole, task.route)


@dataclass
class Row:
    """What the tables and the JSON file show of a side.

    Attributes:
        loops: How many times faster than R plain loops, by round.
        whole_loops: The same with drawing, set-up and return.
        stocks: How many times faster than R fits of stock Lightning, by round.
        relative: Time over that of the side it is compared with, by round.
        us: Median microseconds per replica and step.
    """

    side: str
    case: str
    replicas: int
    steps: int
    threads: int
    limits: tuple[float, float] | None
    against: str
    route: str = ""
    us: float = 0.0
    loops: list[float] = field(default_factory=list)
    whole_loops: list[float] = field(default_factory=list)
    stocks: list[float] = field(default_factory=list)
    relative: list[float] = field(default_factory=list)


def measure(sides: Sequence[Side], rounds: int, short: bool) -> list[Row]:
    """Run the loop, stock Lightning and the sides of one group in turn."""
    rows = [
        Row(s.name, s.case.name, s.replicas, s.steps, s.threads, s.limits, s.against) for s in sides
    ]
    case = sides[0].case
    plain_steps, stock_steps = (20, 5) if short else (PLAIN_STEPS, STOCK_STEPS)
    with_stock = any(side.limits for side in sides)
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for side in sides:
        fit(replace(side, steps=2))  # lazy imports, thread pools, the kernel
    for turn in range(rounds):
        gc.collect()
        loop = plain(case, plain_steps).seconds / plain_steps
        fits = stock(case, stock_steps).seconds / stock_steps if with_stock else None
        for i in range(len(sides)):
            side, row = (some[(i + turn) % len(sides)] for some in (sides, rows))
            timed = fit(side)
            work = side.replicas * side.steps
            times[side.name].append(timed.seconds)
            row.route = timed.route
            row.loops.append(loop * work / timed.seconds)
            row.whole_loops.append(loop * work / timed.whole)
            if fits is not None:
                row.stocks.append(fits * work / timed.seconds)
    for side, row in zip(sides, rows, strict=True):
        row.us = 1e6 * statistics.median(times[side.name]) / (side.replicas * side.steps)
        if side.against:
            pairs = zip(times[side.name], times[side.against], strict=True)
            row.relative = [a / b for a, b in pairs]
    return rows


# -- memory --------------------------------------------------------------------------------------

PROBES = {
    "XOR, 10,000 replicas": (XOR, 10_000),
    "rings, 2,000 points, 1,000 replicas": (RINGS, 1_000),
}


def memory(short: bool) -> dict[str, dict[str, float]]:
    """Peak MiB of a process that imports everything, and of fits in one of their own."""
    found: dict[str, dict[str, float]] = {"imports": {"": peak_of("0", "0", "0", "None")}}
    for name, (case, r) in PROBES.items():
        index = str(CASES.index(case))
        steps = "2" if short else "200"
        replicas = str(r // 100 if short else r)
        found[name] = {
            route: peak_of(index, replicas, steps, compiled)
            for route, compiled in (("C", "None"), ("batched", "False"))
        }
    return found


def peak_of(*words: str) -> float:
    command = [sys.executable, "-m", "benchmarks.replicas", "--probe", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def probe(words: Sequence[str]) -> None:
    """In a process of its own: one fit, and what it took at most in MiB."""
    index, r, steps, compiled = words
    if int(r):
        fit(Side("", CASES[int(index)], int(r), int(steps), False if compiled == "False" else None))
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


# -- output --------------------------------------------------------------------------------------


def speed_lines(rows: Sequence[Row]) -> list[list[str]]:
    """The table of routes."""
    lines = [
        ["case", "R", "route", "µs per replica and step", "× R loops (at least)", "with set-up",
         "× R stock fits (at least)"]
    ]  # fmt: skip
    for row in rows:
        if row.against or not row.stocks:
            continue
        loops, stocks = statistics.median(row.loops), statistics.median(row.stocks)
        at_least = [f" ({limit:,.0f})" for limit in row.limits or ()] or ["", ""]
        lines.append(
            [
                row.case,
                f"{row.replicas:,}",
                row.side,
                f"{row.us:.3g}",
                f"{loops:,.0f}{at_least[0]}" if loops >= 10 else f"{loops:.1f}{at_least[0]}",
                f"{statistics.median(row.whole_loops):,.0f}",
                f"{stocks:,.0f}{at_least[1]}",
            ]
        )
    return lines


def settings_lines(rows: Sequence[Row]) -> list[list[str]]:
    """The table of settings per replica."""
    lines = [["case", "R", "route", "time over that with shared settings (at most)"]]
    for row in rows:
        if row.against:
            ratio = f"{statistics.median(row.relative):.2f} (1.15)"
            lines.append([row.case, f"{row.replicas:,}", row.side.split(",")[0], ratio])
    return lines


def memory_lines(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """The table of memory."""
    lines = [["fit", "C, peak MiB", "batched, peak MiB"]]
    lines.append(["(imports alone)", f"{found['imports']['']:,.0f}", ""])
    for name in PROBES:
        lines.append([name, *(f"{found[name][route]:,.0f}" for route in ("C", "batched"))])
    return lines


def markdown(lines: list[list[str]]) -> str:
    """Lines as a Markdown table."""
    first, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([first, "|" + "---|" * len(lines[0]), *rest])


def show(title: str, lines: list[list[str]], console: Console) -> None:
    """Print lines as a table."""
    table = Table(title=title)
    for name in lines[0]:
        table.add_column(name)
    for line in lines[1:]:
        table.add_row(*line)
    console.print(table)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side (default: 5)")
    parser.add_argument("--only", default="", help="groups whose name contains this")
    parser.add_argument("--short", action="store_true", help="a few steps of everything")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--update", type=Path, help="put the tables into this file")
    parser.add_argument("--probe", nargs=4, help=argparse.SUPPRESS)
    return parser


def main(words: Sequence[str] | None = None, console: Console | None = None) -> list[Row]:
    options = arguments().parse_args(words)
    console = console or Console(width=None if sys.stdout.isatty() else 160)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.probe:
        probe(options.probe)
        return []
    rows: list[Row] = []
    rounds = 1 if options.short else options.rounds
    for name, sides in all_sides(options.short).items():
        if options.only in name:
            rows += measure(sides, rounds, options.short)
    found = memory(options.short) if not options.only else None
    tables = {
        "replicas": speed_lines(rows),
        "settings": settings_lines(rows),
        **({"memory": memory_lines(found)} if found else {}),
    }
    for name, lines in tables.items():
        show(name, lines, console)
        if options.update:
            write_between(options.update, name, markdown(lines))
    if options.json:
        result = {"machine": machine(), "rows": [asdict(row) for row in rows], "memory": found}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return rows


if __name__ == "__main__":
    main()
