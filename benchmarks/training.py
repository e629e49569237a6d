"""Time a whole recorded fit against the loop a user would write.

    python -m benchmarks.training                    # five cases, 7 pairs each, minutes
    python -m benchmarks.training --stock --long     # and stock Lightning, and a million steps
    python -m benchmarks.training --stock --long --update docs/speed.md    # and put it there
    python -m benchmarks.training --short            # a few steps of everything, seconds

The loop is ``zero_grad``, forward, loss, ``backward``, ``optimizer.step``: one thread, torch.optim
defaults, nothing recorded. Its time is that of its steps alone.

The fit is ``Trainer.fit`` with what ``toyml fit`` switches on: every step in the trajectory, the
loss in metrics.csv every 50 steps, the progress bar drawn (into a file), the last checkpoint kept.
Its time runs from ``on_train_start`` of the first callback to ``on_train_end`` of the last: the
trajectory is then closed and the checkpoint on disk. "whole" adds what comes before and after in
``Trainer()`` and ``fit()``.

Both sides run in turn in one process and the turns rotate; a ratio is formed within each pair and
the table shows the median of the ratios, with the least and the greatest. The compiled route finds
its kernel in the cache here (loading it is in the time); the C compiler's time is shown apart.
Eager weights have to be the very bits of the loop. Compiled code rounds differently: its weights
are compared by their largest deviation, beside it what rounding to float32 does to the loop itself.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from toyml.callbacks import LastCheckpoint, Progress, Recorder
from toyml.cli.trainer import quiet
from toyml.compiled import NotCompilable, compile_training
from toyml.data import InMemory, Moons, TwoPoints
from toyml.data.memory import Arrays
from toyml.engine import batch_order
from toyml.logger import RunLogger
from toyml.models import MLP, Linear
from toyml.tasks import Supervised

Optimizer = Callable[..., torch.optim.Optimizer]
LONG_STEPS = 1_000_000
LONG_SAMPLE = 20_000
"""Steps of the plain loop in the long case; the rest of its million is extrapolated."""


# -- what is trained -----------------------------------------------------------------------------


class Points(InMemory):
    """Given rows, full batch."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__(batch_size=None, shuffle=False, seed=0, block_size=500)
        self.rows = (np.asarray(x, np.float64), np.asarray(y, np.float64))

    def sample(self, held_out: bool) -> Arrays:
        """The given rows."""
        return self.rows


def xor() -> InMemory:
    return Points([[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]])


def rings() -> InMemory:
    generator = np.random.default_rng(0)
    y = np.arange(2000) % 2
    angle = generator.uniform(0, 2 * np.pi, 2000)
    radius = 1 + y + 0.1 * generator.standard_normal(2000)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return Points(x, y[:, None])


def sine() -> InMemory:
    x = np.linspace(-1, 1, 200)[:, None]
    return Points(x, np.sin(3 * x))


def line() -> InMemory:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((50, 1))
    return Points(x, 2 * x + 1 + 0.1 * generator.standard_normal((50, 1)))


@dataclass(frozen=True)
class Case:
    """One training problem, the same for every side.

    Attributes:
        limit_eager: The greatest ratio to the loop that is accepted, where one was agreed.
        limit_compiled: The same for the compiled route.
    """

    name: str
    data: Callable[[], InMemory]
    net: Callable[[], nn.Module]
    loss: Callable[[], nn.Module]
    optimizer: Optimizer
    steps: int = 5000
    precision: Any = "32-true"
    limit_eager: float | None = None
    limit_compiled: float | None = None

    @property
    def dtype(self) -> torch.dtype:
        """What both sides compute in."""
        return torch.float64 if self.precision == "64-true" else torch.float32

    def fresh_net(self) -> nn.Module:
        """The net with the same initial weights every time."""
        torch.manual_seed(0)
        return self.net().to(self.dtype)


SGD, ADAM = torch.optim.SGD, torch.optim.Adam
CASES = (
    Case(
        "XOR 2-5-1 sigmoid, SGD",
        xor,
        lambda: MLP([2, 5, 1], nn.Sigmoid(), nn.Sigmoid()),
        nn.MSELoss,
        partial(SGD, lr=0.5),
        limit_eager=1.10,
        limit_compiled=0.20,
    ),
    Case(
        "rings 2-3-1, 2,000 points, Adam",
        rings,
        lambda: MLP([2, 3, 1], nn.Tanh()),
        nn.BCEWithLogitsLoss,
        partial(ADAM, lr=0.01),
        limit_eager=0.85,
        limit_compiled=0.30,
    ),
    Case(
        "sine 1-10-1, 200 points, Adam",
        sine,
        lambda: MLP([1, 10, 1], nn.Tanh()),
        nn.MSELoss,
        partial(ADAM, lr=0.01),
        limit_eager=1.00,
        limit_compiled=0.25,
    ),
    Case(
        "moons 2-10-1, batches of 32 of 1,000, SGD momentum",
        lambda: Moons(n=1000, noise=0.1, batch_size=32),
        lambda: MLP([2, 10, 1], nn.Tanh()),
        nn.BCEWithLogitsLoss,
        partial(SGD, lr=0.1, momentum=0.9),
        limit_eager=1.10,
    ),
    Case(
        "line, 2 parameters, 50 points, SGD",
        line,
        lambda: Linear(1, 1),
        nn.MSELoss,
        partial(SGD, lr=0.1),
    ),
)
LONG = Case(
    "perceptron, 2 points, SGD, float64",
    TwoPoints,
    lambda: Linear(2, 1, nn.Sigmoid()),
    nn.BCELoss,
    partial(SGD, lr=1.0),
    steps=LONG_STEPS,
    precision="64-true",
)


# -- the sides -----------------------------------------------------------------------------------


@dataclass
class Timed:
    """One side of a pair.

    Attributes:
        seconds: From the first step to the last.
        whole: With set-up and return, where there are any.
        weights: The parameters at the end, flat.
        route: How the steps were run, in toyml's words.
        blocks: Seconds inside the engine's blocks.
    """

    seconds: float
    whole: float
    weights: Tensor
    route: str = ""
    blocks: float = 0.0


def plain(case: Case, steps: int) -> Timed:
    """The loop a user writes."""
    net, loss = case.fresh_net(), case.loss()
    data = case.data()
    x, y = (a.to(case.dtype) for a in data.arrays())
    size = data.batch_size
    optimizer = case.optimizer(net.parameters())
    start = time.perf_counter()
    if size is None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(net(x), y).backward()
            optimizer.step()
    else:
        done, number = 0, 0
        while done < steps:
            order = batch_order(len(x), data.seed, number)
            for i in range(0, min(len(x), (steps - done) * size), size):
                rows = order[i : i + size]
                optimizer.zero_grad()
                loss(net(x[rows]), y[rows]).backward()
                optimizer.step()
                done += 1
            number += 1
    seconds = time.perf_counter() - start
    return Timed(seconds, seconds, flat(net))


class Start(pl.Callback):
    """Listed first: when the first callback hears that training starts."""

    at = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.at = time.perf_counter()


class End(Checkpoint):
    """Listed last, and a Checkpoint because Lightning moves those behind all others."""

    at = 0.0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.at = time.perf_counter()


def recorded(case: Case, steps: int, compiled: bool, check: bool = True) -> Timed:
    """``Trainer.fit`` as ``toyml fit`` sets it up; ``check`` reads the run back afterwards."""
    task = Supervised(case.fresh_net(), case.loss(), case.optimizer, compiled=compiled)
    data, first, last = case.data(), Start(), End()
    with tempfile.TemporaryDirectory() as folder, quiet(), drawing_into_a_file():
        start = time.perf_counter()
        trainer = pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            precision=case.precision,
            log_every_n_steps=50,
            logger=RunLogger(folder),
            callbacks=[first, Progress(), LastCheckpoint(), Recorder(), last],
            num_sanity_val_steps=0,
            enable_model_summary=False,
            accelerator="cpu",
            devices=1,
        )
        trainer.fit(task, datamodule=data)
        whole = time.perf_counter() - start
        if check:
            check_record(Path(folder) / "run" / "version_0", steps)
    training = task.training_blocks()
    blocks = training.seconds if training is not None else 0.0
    return Timed(last.at - first.at, whole, flat(task.net), task.route, blocks)


def check_record(folder: Path, steps: int) -> None:
    """A fit that left something out must not be timed."""
    from toyml.run import Run

    run = Run(folder)
    assert len(run.trajectory) == steps + 1, f"{len(run.trajectory)} snapshots of {steps} steps"
    assert run.metrics["loss"]["step"] == [*range(0, steps, 50), steps]
    assert (folder / "checkpoints" / "last.ckpt").exists()


class Stock(pl.LightningModule):
    """What Lightning's own introduction has users write."""

    def __init__(self, net: nn.Module, loss: nn.Module, optimizer: Optimizer) -> None:
        super().__init__()
        self.net, self.loss, self.optimizer = net, loss, optimizer

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch, shown in the bar."""
        x, y = batch
        loss: Tensor = self.loss(self.net(x), y)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The case's optimizer."""
        return self.optimizer(self.parameters())


def stock(case: Case, steps: int) -> Timed:
    """Lightning with its defaults: DataLoader, CSVLogger, ModelCheckpoint, tqdm."""
    task = Stock(case.fresh_net(), case.loss(), case.optimizer)
    data, first, last = case.data(), Start(), End()
    x, y = (a.to(case.dtype) for a in data.arrays())
    size = data.batch_size or len(x)
    with tempfile.TemporaryDirectory() as folder, quiet(), drawing_into_a_file():
        start = time.perf_counter()
        trainer = pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            precision=case.precision,
            logger=CSVLogger(folder),
            callbacks=[first, ModelCheckpoint(), last],
            enable_model_summary=False,
            accelerator="cpu",
            devices=1,
        )
        trainer.fit(task, DataLoader(TensorDataset(x, y), size, shuffle=size < len(x)))
        whole = time.perf_counter() - start
    return Timed(last.at - first.at, whole, flat(task.net), "stock Lightning")


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])


@contextmanager
def drawing_into_a_file() -> Iterator[None]:
    """Send what is drawn to a file, as if it were a terminal: bars draw each time it is due."""
    before = os.environ.get("FORCE_COLOR")
    os.environ["FORCE_COLOR"] = "1"  # without it rich draws a bar into a file once, at the end
    with tempfile.TemporaryFile("w") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            yield
        finally:
            if before is None:
                del os.environ["FORCE_COLOR"]
            else:
                os.environ["FORCE_COLOR"] = before


def compile_time(case: Case) -> tuple[float, float] | None:
    """Seconds to get a kernel with an empty cache, and from the cache; None without a compiler."""
    data, net = case.data(), case.fresh_net()
    n, optimizer = len(data.arrays()[0]), case.optimizer(net.parameters())
    seconds = []
    with kernels_in_a_folder_of_their_own():
        for _ in range(2):
            start = time.perf_counter()
            try:
                compile_training(net, case.loss(), optimizer, n, data.batch_size)
            except NotCompilable:
                return None
            seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


@contextmanager
def kernels_in_a_folder_of_their_own() -> Iterator[None]:
    """An empty cache for compiled kernels; the user's own is left alone."""
    before = os.environ.get("XDG_CACHE_HOME")
    # Below the home: where others may write, as they may among temporary files, none is kept.
    with tempfile.TemporaryDirectory(prefix=".toyml-", dir=Path.home()) as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before


# -- pairs ---------------------------------------------------------------------------------------


@dataclass
class Row:
    """A case on one route: what the table and the JSON file show.

    Attributes:
        ratios: Time of the fit over that of the loop, first step to last, per step, by pair.
        whole_ratios: The same with Trainer set-up and return.
        plain_us: Median microseconds of a step of the loop.
        us: Median microseconds of a step of the fit.
        blocks_us: Of those, inside the engine's blocks.
        outside_ms: Median milliseconds of ``Trainer()`` and ``fit()`` outside the timed span.
        deviation: Largest absolute difference of a weight from the loop's at the end.
        rounding: For comparison, that of the loop's weights from the same loop in float64.
        compile_cold: Seconds to get the kernel with an empty cache (compiled route).
        compile_warm: The same from the cache.
    """

    case: str
    side: str
    steps: int
    limit: float | None
    route: str = ""
    ratios: list[float] = field(default_factory=list)
    whole_ratios: list[float] = field(default_factory=list)
    plain_us: float = 0.0
    us: float = 0.0
    blocks_us: float = 0.0
    outside_ms: float = 0.0
    bit_equal: bool = False
    deviation: float = 0.0
    rounding: float = 0.0
    compile_cold: float | None = None
    compile_warm: float | None = None

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return statistics.median(self.ratios)

    def summary(self) -> dict[str, Any]:
        """Everything, for the JSON file."""
        return {**asdict(self), "ratio": self.ratio, "whole": statistics.median(self.whole_ratios)}


Side = Callable[[Case, int], Timed]
SIDES: dict[str, Side] = {
    "eager": partial(recorded, compiled=False),
    "compiled": partial(recorded, compiled=True),
    "stock": stock,
}


def measure(
    case: Case, names: Sequence[str], steps: int, pairs: int, plain_steps: int | None = None
) -> list[Row]:
    """Run the loop and some sides in turn, ``pairs`` times.

    Args:
        case: What to train.
        names: Which sides, from SIDES; the compiled one is left out where there is no compiler.
        steps: Steps of the sides.
        pairs: How often.
        plain_steps: Steps of the loop, where they are fewer; weights are then not compared.
    """
    plain_steps = plain_steps or steps
    compiling = compile_time(case) if "compiled" in names else None
    rows = []
    for name in names:
        limit = {"eager": case.limit_eager, "compiled": case.limit_compiled}.get(name)
        row = Row(case.name, name, steps, limit)
        if name == "compiled":
            if compiling is None:
                continue
            row.compile_cold, row.compile_warm = compiling
            row.rounding = rounding(case, plain_steps)
        rows.append(row)
    everyone = {row.side: (SIDES[row.side], steps) for row in rows}
    found = take_turns(case, {**everyone, "plain": (plain, plain_steps)}, pairs)
    for row in rows:
        fill(row, found[row.side], found["plain"], plain_steps)
    return rows


def rounding(case: Case, steps: int) -> float:
    """How far rounding to float32 alone moves the weights: the loop against itself in float64."""
    exact = plain(replace(case, precision="64-true"), steps).weights
    return float((plain(case, steps).weights - exact).abs().max())


def take_turns(
    case: Case, everyone: dict[str, tuple[Side, int]], pairs: int
) -> dict[str, list[Timed]]:
    """Time every side ``pairs`` times; who goes first changes from pair to pair."""
    found: dict[str, list[Timed]] = {name: [] for name in everyone}
    turns = list(everyone)
    with kernels_in_a_folder_of_their_own():
        for side, count in everyone.values():
            side(case, min(count, 60))  # lazy imports, thread pools, the kernel
        for _ in range(pairs):
            for name in turns:
                gc.collect()
                side, count = everyone[name]
                found[name].append(side(case, count))
            turns = [*turns[1:], turns[0]]
    return found


def fill(row: Row, ours: Sequence[Timed], loops: Sequence[Timed], plain_steps: int) -> None:
    """Form the ratios within pairs, and the medians."""
    per_step = [loop.seconds / plain_steps for loop in loops]
    row.ratios = [a.seconds / row.steps / b for a, b in zip(ours, per_step, strict=True)]
    row.whole_ratios = [a.whole / row.steps / b for a, b in zip(ours, per_step, strict=True)]
    row.plain_us = 1e6 * statistics.median(per_step)
    row.us = 1e6 * statistics.median(a.seconds for a in ours) / row.steps
    row.blocks_us = 1e6 * statistics.median(a.blocks for a in ours) / row.steps
    row.outside_ms = 1e3 * statistics.median(a.whole - a.seconds for a in ours)
    row.route = ours[-1].route
    if plain_steps == row.steps and row.side != "stock":
        row.deviation = float((ours[-1].weights - loops[-1].weights).abs().max())
        row.bit_equal = all(
            torch.equal(a.weights, b.weights) for a, b in zip(ours, loops, strict=True)
        )


# -- output --------------------------------------------------------------------------------------


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table."""
    table = Table(title="a recorded fit over the plain loop, first step to last")
    table.add_column("case")
    table.add_column("side")
    for name in ("steps", "loop µs", "fit µs", "in blocks", "ratio", "least-most", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("whole", justify="right")
    table.add_column("weights", justify="right")
    table.add_column("compile s cold / warm", justify="right")
    for row in rows:
        compile_text = (
            "" if row.compile_cold is None else f"{row.compile_cold:.2f} / {row.compile_warm:.3f}"
        )
        table.add_row(
            row.case,
            row.side,
            f"{row.steps:,}",
            f"{row.plain_us:.1f}",
            f"{row.us:.2f}",
            f"{row.blocks_us:.2f}" if row.blocks_us else "",
            f"[bold]{row.ratio:.3g}[/]",
            f"{min(row.ratios):.3g}-{max(row.ratios):.3g}",
            "" if row.limit is None else f"{row.limit:.2f}",
            f"{statistics.median(row.whole_ratios):.3g}",
            weights_text(row),
            compile_text,
        )
    console.print(table)


def markdown(rows: Sequence[Row]) -> str:
    """The same as a table for docs/speed.md, one line per case."""
    lines = [
        "| case | loop µs | stock Lightning | eager (at most) | compiled (at most) "
        "| eager µs | compiled µs | compiler s | compiled weights, float32 itself |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row.case for row in rows):
        sides = {row.side: row for row in rows if row.case == name}
        eager, fast, other = (sides.get(side) for side in ("eager", "compiled", "stock"))
        first = eager or fast
        if first is None:
            continue
        lines.append(
            f"| {name}, {first.steps:,} steps | {first.plain_us:.0f} "
            f"| {f'{other.ratio:.1f}' if other else ''} "
            f"| {ratio_text(eager)} | {ratio_text(fast)} "
            f"| {f'{eager.us:.0f}' if eager else ''} | {f'{fast.us:.1f}' if fast else ''} "
            f"| {f'{fast.compile_cold:.2f}' if fast else ''} "
            f"| {f'{fast.deviation:.0e}, {fast.rounding:.0e}' if fast and eager else ''} |"
        )
    return "\n".join(lines)


def ratio_text(row: Row | None) -> str:
    if row is None:
        return ""
    return f"**{row.ratio:.2g}**" + ("" if row.limit is None else f" ({row.limit:.2f})")


def write_between(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end of name -->`` in a file.

    Raises:
        ValueError: The file does not have both marks once.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    old = path.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1:
        raise ValueError(f"{path} has to hold {begin} and {end} once each; add them")
    head, tail = old.split(begin)[0], old.split(end)[1]
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def weights_text(row: Row) -> str:
    if row.side == "stock" or row.case == LONG.name:
        return ""
    if row.bit_equal:
        return "bit-equal"
    return f"{row.deviation:.0e} (float32 itself {row.rounding:.0e})"


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": version("lightning"),
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7, help="runs of each side (default: 7)")
    parser.add_argument("--steps", type=int, help="steps of a run (default: 5,000)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--stock", action="store_true", help="also stock Lightning: 3 pairs of 300")
    parser.add_argument("--long", action="store_true", help="also a million compiled steps")
    parser.add_argument("--short", action="store_true", help="a few steps of everything")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--update", type=Path, help="put the table into this file (docs/speed.md)")
    return parser


def main(words: Sequence[str] | None = None, console: Console | None = None) -> list[Row]:
    options = arguments().parse_args(words)
    console = console or Console(width=None if sys.stdout.isatty() else 180)
    torch.set_num_threads(1)
    pairs, steps = (1, 100) if options.short else (options.pairs, options.steps)
    sides = ["eager", "compiled"]
    rows: list[Row] = []
    cases = [case for case in CASES if options.only in case.name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases:
            rows += measure(case, sides, steps or case.steps, pairs)
        if options.stock or options.short:
            few, count = (10, 1) if options.short else (300, min(3, pairs))
            for case in cases:
                rows += measure(case, ["stock"], few, count)
        if options.long or options.short:
            long, sample = (1000, 100) if options.short else (LONG_STEPS, LONG_SAMPLE)
            rows += measure(LONG, ["compiled"], long, min(3, pairs), plain_steps=sample)
    show(rows, console)
    if options.json:
        result = {"machine": machine(), "pairs": pairs, "rows": [row.summary() for row in rows]}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.update:
        write_between(options.update, "training", markdown(rows))
    return rows


if __name__ == "__main__":
    main()
