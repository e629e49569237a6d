"""Time loss landscapes against the loops a user would write.

    python -m benchmarks.landscape                               # five pairs of everything, minutes
    python -m benchmarks.landscape --update docs/landscape.md    # and put the tables there
    python -m benchmarks.landscape --short                       # small grids, seconds

The loops set the parameters of a module, call it and its loss under ``no_grad`` and take
``.item()``, point by point: the *double loop* fills the two parameters and makes one forward pass
for every loss, *copy* is ``parameter.copy_``, *load* is ``load_state_dict``. All sides get the same
parameters, already made for the loops of the larger nets; one thread.

Sides run in turn in one process and the turns rotate; a ratio is formed within each round, and the
table shows the median of the ratios with the least and the greatest: how many times faster
``toyml.measures.landscape`` is. It is timed twice, as it runs by itself (in generated C where that
pays; the kernel is found in the cache, the compiler's time is shown apart) and as tensor programs,
as where there is no C compiler. Every grid has to agree with the loop's.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toyml import measures
from toyml.compiled import LossKernel
from toyml.measures import Plane, points
from toyml.models import MLP, Linear

Grids = dict[str, Tensor]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}
"""Greatest difference of a grid from the loop's, relative to the loss where that is above 1."""


# -- what is evaluated ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One landscape.

    Attributes:
        widths: Of the net; ``Linear`` where there are two.
        n: Rows of the data.
        grid: Points along each axis.
        losses: Names of the losses.
        targets: Loops to compare with, each with the least ratio that is accepted.
    """

    name: str
    widths: tuple[int, ...]
    n: int
    grid: int
    dtype: torch.dtype
    losses: tuple[str, ...]
    targets: dict[str, float]

    def problem(self, grid: int) -> Problem:
        """The net, data and plane, the same every time."""
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        deep = len(self.widths) > 2
        net: nn.Module = MLP(list(self.widths), nn.Tanh()) if deep else Linear(*self.widths)
        net = net.to(self.dtype)
        x = torch.randn(self.n, self.widths[0], generator=generator, dtype=torch.float64)
        y = (x.square().sum(1, keepdim=True) > 1).double() if deep else 0.75 * x**2 + x + 2
        origin = {name: p.detach().clone() for name, p in net.named_parameters()}
        names = measures.scalar_names({name: p[None] for name, p in origin.items()})
        plane = (
            measures.filter_normalized_plane(net, origin)
            if deep
            else measures.plane_of_parameters(origin, *names)
        )
        low, high = (-1.0, 1.0) if deep else (-5.0, 8.0)
        axis = torch.linspace(low, high, grid, dtype=self.dtype)
        losses = {name: getattr(nn, name)() for name in self.losses}
        return Problem(net, losses, plane, axis, x.to(self.dtype), y.to(self.dtype))


@dataclass
class Problem:
    """What every side gets."""

    net: nn.Module
    losses: dict[str, nn.Module]
    plane: Plane
    axis: Tensor
    x: Tensor
    y: Tensor
    made: list[dict[str, Tensor]] = field(default_factory=list)

    def parameters(self) -> list[dict[str, Tensor]]:
        """The parameters at every grid point, made once and outside of what is timed."""
        if not self.made:
            across, up = (
                a.reshape(-1) for a in torch.meshgrid(self.axis, self.axis, indexing="xy")
            )
            stack = measures.at(self.plane, across, up)
            self.made = [{name: p[i] for name, p in stack.items()} for i in range(len(across))]
        return self.made

    def shaped(self, values: dict[str, list[float]]) -> Grids:
        """Lists of losses as grids."""
        g = len(self.axis)
        return {name: torch.tensor(v, dtype=self.x.dtype).view(g, g) for name, v in values.items()}


FOUR = ("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss")
BCE = ("BCEWithLogitsLoss",)
F32, F64 = torch.float32, torch.float64
CASES = (
    Case("2 parameters, 50 points, 4 losses", (1, 1), 50, 101, F32, FOUR, {"double loop": 150}),
    Case("2 parameters, 50 points, 4 losses", (1, 1), 50, 101, F64, FOUR, {"double loop": 100}),
    Case("2-3-1, 2,000 points", (2, 3, 1), 2000, 51, F32, BCE, {"copy": 8, "load": 15}),
    Case("2-3-1, 2,000 points", (2, 3, 1), 2000, 51, F64, BCE, {"copy": 3, "load": 15}),
    Case("2-98-98-1, 200 points", (2, 98, 98, 1), 200, 51, F32, BCE, {"copy": 1, "load": 1}),
    Case("2-98-98-1, 200 points", (2, 98, 98, 1), 200, 51, F64, BCE, {"copy": 1, "load": 1}),
    Case("2-98-98-1, 2,000 points", (2, 98, 98, 1), 2000, 51, F32, BCE, {"copy": 1}),
)


# -- the sides -----------------------------------------------------------------------------------


def double_loop(problem: Problem) -> Grids:
    """Two parameters filled in, one forward pass per loss."""
    w, b = problem.net.parameters()
    found: dict[str, list[float]] = {name: [] for name in problem.losses}
    axis = problem.axis.tolist()
    with torch.no_grad():
        for up in axis:
            for across in axis:
                w.fill_(across)
                b.fill_(up)
                for name, loss in problem.losses.items():
                    found[name].append(loss(problem.net(problem.x), problem.y).item())
    return problem.shaped(found)


def copy(problem: Problem) -> Grids:
    """Parameters copied, one forward pass."""
    own = list(problem.net.parameters())
    found: dict[str, list[float]] = {name: [] for name in problem.losses}
    with torch.no_grad():
        for parameters in problem.parameters():
            for p, value in zip(own, parameters.values(), strict=True):
                p.copy_(value)
            output = problem.net(problem.x)
            for name, loss in problem.losses.items():
                found[name].append(loss(output, problem.y).item())
    return problem.shaped(found)


def load(problem: Problem) -> Grids:
    """``load_state_dict``, one forward pass."""
    found: dict[str, list[float]] = {name: [] for name in problem.losses}
    with torch.no_grad():
        for parameters in problem.parameters():
            problem.net.load_state_dict(parameters)
            output = problem.net(problem.x)
            for name, loss in problem.losses.items():
                found[name].append(loss(output, problem.y).item())
    return problem.shaped(found)


def ours(problem: Problem) -> Grids:
    """As it runs by itself."""
    return measures.landscape(
        problem.net,
        problem.losses,
        problem.plane,
        problem.axis,
        problem.axis,
        problem.x,
        problem.y,
    )


def tensor_programs(problem: Problem) -> Grids:
    """As where there is no C compiler."""
    with never_compiling():
        return ours(problem)


@contextmanager
def never_compiling() -> Iterator[None]:
    """No work is worth compiling."""
    before = points.WORTH_COMPILING
    points.WORTH_COMPILING = math.inf  # type: ignore[assignment]
    try:
        yield
    finally:
        points.WORTH_COMPILING = before


LOOPS: dict[str, Callable[[Problem], Grids]] = {
    "double loop": double_loop,
    "copy": copy,
    "load": load,
}


# -- rounds --------------------------------------------------------------------------------------


@dataclass
class Row:
    """A case against one loop.

    Attributes:
        ratios: Time of the loop over that of the landscape, by round.
        eager_ratios: The same for tensor programs.
        loop_ms: Median milliseconds of the loop.
        ms: Median milliseconds of the landscape.
        eager_ms: The same as tensor programs.
        route: "C" or "tensors", as it runs by itself.
        compile_s: Seconds of the C compiler, with an empty cache.
        deviation: Largest difference from the loop's grid, as ``TOLERANCE`` counts it.
    """

    case: str
    dtype: str
    loop: str
    target: float
    ratios: list[float] = field(default_factory=list)
    eager_ratios: list[float] = field(default_factory=list)
    loop_ms: float = 0.0
    ms: float = 0.0
    eager_ms: float = 0.0
    route: str = ""
    compile_s: float = 0.0
    deviation: float = 0.0

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def eager_ratio(self) -> float:
        """Median of the ratios of tensor programs."""
        return statistics.median(self.eager_ratios)


def measure(case: Case, rounds: int, grid: int) -> list[Row]:
    """Run all sides in turn, ``rounds`` times; who goes first changes from round to round."""
    problem = case.problem(grid)
    problem.parameters()
    sides = {"ours": ours, "tensors": tensor_programs}
    sides |= {name: LOOPS[name] for name in case.targets}
    kernel = kernel_of(problem)
    found = {name: timed(side, problem)[1] for name, side in sides.items() if name in LOOPS}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    deviation = 0.0
    turns = list(sides)
    for _ in range(rounds):
        for name in turns:
            gc.collect()
            taken, grids = timed(sides[name], problem)
            seconds[name].append(taken)
            for expected in found.values():
                deviation = max(deviation, difference(grids, expected))
        turns = [*turns[1:], turns[0]]
    assert deviation < TOLERANCE[case.dtype], f"{case.name}: grids differ by {deviation:.1e}"
    rows = []
    for name, target in case.targets.items():
        row = Row(case.name, str(case.dtype).removeprefix("torch."), name, target)
        row.ratios = [a / b for a, b in zip(seconds[name], seconds["ours"], strict=True)]
        row.eager_ratios = [a / b for a, b in zip(seconds[name], seconds["tensors"], strict=True)]
        row.loop_ms, row.ms, row.eager_ms = (
            1e3 * statistics.median(seconds[side]) for side in (name, "ours", "tensors")
        )
        row.route, row.deviation = "C" if kernel else "tensors", deviation
        row.compile_s = kernel.compile_seconds if kernel else 0.0
        rows.append(row)
    return rows


def timed(side: Callable[[Problem], Grids], problem: Problem) -> tuple[float, Grids]:
    start = time.perf_counter()
    grids = side(problem)
    return time.perf_counter() - start, grids


def difference(grids: Grids, expected: Grids) -> float:
    return max(
        float(((grids[name] - expected[name]).abs() / expected[name].abs().clamp(min=1)).max())
        for name in expected
    )


def kernel_of(problem: Problem) -> LossKernel | None:
    """What ``ours`` runs in, compiled now where it is not in the cache."""
    count = len(problem.axis) ** 2
    return points._kernel(problem.net, list(problem.losses.values()), count, problem.x, problem.y)


# -- what is affordable --------------------------------------------------------------------------


def affordable(short: bool) -> dict[str, float]:
    """Seconds of what a report does at a hundred snapshots; 2,000 points, float32."""
    t, n, grid = (3, 50, 5) if short else (100, 2000, 21)
    found = {}
    for widths in ((2, 3, 1), (2, 10, 1)):
        problem = Case("", widths, n, grid, torch.float32, BCE, {}).problem(grid)
        net, data, loss = problem.net, (problem.x, problem.y), nn.BCEWithLogitsLoss()
        generator = torch.Generator().manual_seed(1)
        path = {
            name: torch.randn((t, *p.shape), generator=generator).cumsum(0) / 10
            for name, p in net.named_parameters()
        }
        plane = measures.principal_plane(path)
        planes = measures.planes_along(plane, path)
        axes = (problem.axis, problem.axis)
        tasks: dict[str, Callable[[], object]] = {
            "Hessian spectra": partial(measures.hessian_spectrum, net, loss, path, *data),
            f"landscapes of {grid} x {grid}, one per snapshot": partial(
                measures.landscapes, net, {"BCE": loss}, planes, *axes, *data
            ),
            "snapshots against their projections": partial(
                measures.project, net, loss, plane, path, *data
            ),
        }
        p = sum(each.numel() for each in net.parameters())
        for what, task in tasks.items():
            task()
            start = time.perf_counter()
            task()
            name = f"{'-'.join(map(str, widths))} ({p} parameters): {t} {what}"
            found[name] = time.perf_counter() - start
    return found


# -- output --------------------------------------------------------------------------------------


def markdown(rows: Sequence[Row], seconds: dict[str, float]) -> str:
    """Both tables for docs/landscape.md."""
    lines = [
        "| landscape | dtype | against | times faster (at least) | least-most | loop ms | ms "
        "| route | compiler s | tensor programs | largest difference |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.case} | {row.dtype} | {row.loop} | **{row.ratio:.3g}** ({row.target:g}) "
            f"| {min(row.ratios):.3g}-{max(row.ratios):.3g} | {row.loop_ms:.0f} | {row.ms:.2g} "
            f"| {row.route} | {f'{row.compile_s:.2f}' if row.compile_s else ''} "
            f"| {row.eager_ratio:.3g} | {row.deviation:.0e} |"
        )
    lines += ["", "| what, on 2,000 points in float32 | seconds |", "|---|---|"]
    lines += [f"| {what} | {taken:.2f} |" for what, taken in seconds.items()]
    return "\n".join(lines)


def show(rows: Sequence[Row], seconds: dict[str, float], console: Any) -> None:
    """Print both tables."""
    from rich.table import Table

    table = Table(title="a landscape against the loop: how many times faster")
    for name in ("landscape", "dtype", "against", "route"):
        table.add_column(name)
    for name in ("loop ms", "ms", "ratio", "least-most", "at least", "tensors", "compiler s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("difference", justify="right")
    for row in rows:
        table.add_row(
            row.case,
            row.dtype,
            row.loop,
            row.route,
            f"{row.loop_ms:.0f}",
            f"{row.ms:.2f}",
            f"[bold {'green' if row.ratio >= row.target else 'red'}]{row.ratio:.3g}[/]",
            f"{min(row.ratios):.3g}-{max(row.ratios):.3g}",
            f"{row.target:g}",
            f"{row.eager_ratio:.3g}",
            f"{row.compile_s:.2f}" if row.compile_s else "",
            f"{row.deviation:.0e}",
        )
    console.print(table)
    for what, taken in seconds.items():
        console.print(f"{what}: {taken:.3f} s")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side (default: 5)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--short", action="store_true", help="small grids, one round")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--update", type=Path, help="put the tables there (docs/landscape.md)")
    return parser


def main(words: Sequence[str] | None = None, console: Any = None) -> list[Row]:
    # Not at the top: the folder is not on the path of a script.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from rich.console import Console

    from benchmarks.training import kernels_in_a_folder_of_their_own, machine, write_between

    options = arguments().parse_args(words)
    console = console or Console(width=None if sys.stdout.isatty() else 180)
    torch.set_num_threads(1)
    rows: list[Row] = []
    with kernels_in_a_folder_of_their_own():
        for case in CASES:
            if options.only in case.name:
                rounds, grid = (1, 3) if options.short else (options.rounds, case.grid)
                rows += measure(case, rounds, grid)
        seconds = affordable(options.short)
    show(rows, seconds, console)
    if options.json:
        found = {"machine": machine(), "rows": [asdict(row) | {"ratio": row.ratio} for row in rows]}
        options.json.write_text(
            json.dumps({**found, "seconds": seconds}, indent=1) + "\n", encoding="utf-8"
        )
    if options.update:
        write_between(options.update, "landscape", markdown(rows, seconds))
    return rows


if __name__ == "__main__":
    main()
