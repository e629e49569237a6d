"""Time what surrounds the steps: imports, the command line, a fit's set-up and end; and memory.

    python -m benchmarks.startup             # a minute or two
    python -m benchmarks.startup --short     # every command once
    python -m benchmarks.startup --update docs/speed.md    # and put the tables there

Three tables. *Commands*: wall time of whole processes, against ``import torch, lightning`` alone.
*Stages*: one ``toyml fit`` cut at the places where something else begins, in a process of its own;
figures, claims and the page are listed apart because they come after training. *Memory*: peak
resident memory of whole processes.

Commands take turns, and medians are shown.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "perceptron.yaml"
IMPORTS = "import torch, lightning"

COMMANDS: dict[str, list[str]] = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import torch, lightning'": ["-c", IMPORTS],
    "toyml --help": ["-m", "toyml", "--help"],
    "toyml --version": ["-m", "toyml", "--version"],
    "toyml list": ["-m", "toyml", "list", str(CONFIG.parent)],
    "toyml report --help": ["-m", "toyml", "report", "--help"],
    "toyml fit --help": ["-m", "toyml", "fit", "--help"],
    "toyml validate --help": ["-m", "toyml", "validate", "--help"],
    "toyml fit, perceptron, no training": [
        *("-m", "toyml", "fit", "--config", str(CONFIG)),
        "--print_config",
    ],
    "toyml fit, perceptron, 101 steps": ["-m", "toyml", "fit", "--config", str(CONFIG)],
}

PEAK = """
import resource, sys
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / (2**20 if sys.platform == "darwin" else 2**10))
"""
FIT = """
import torch
torch.set_num_threads(1)
from benchmarks.training import CASES, LONG, recorded
recorded({case}, {steps}, compiled={compiled}, check=False)  # reading back maps the file
"""
MEMORY: dict[str, str] = {
    IMPORTS: IMPORTS,
    "and what toyml fit imports": "import toyml.cli.trainer, toyml.callbacks, toyml.tasks",
    "rings, 5,000 steps recorded": FIT.format(case="CASES[1]", steps=5000, compiled=False),
    "perceptron, 1,000,000 compiled steps recorded": FIT.format(
        case="LONG", steps=1_000_000, compiled=True
    ),
}


def run(words: Sequence[str], folder: Path) -> tuple[float, str]:
    """Wall seconds and standard output of one Python process.

    Raises:
        RuntimeError: It failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)[:80]} failed: {done.stderr[-500:]}")
    return seconds, done.stdout


def commands(repeats: int) -> dict[str, float]:
    """Median wall seconds of every command."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for name, words in COMMANDS.items():
                found[name].append(run(words, Path(folder))[0])
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def memory(names: Sequence[str]) -> dict[str, float]:
    """Peak resident memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: float(run(["-c", MEMORY[name] + PEAK], Path(folder))[1].split()[-1])
            for name in names
        }


# -- stages --------------------------------------------------------------------------------------


def stages(repeats: int) -> dict[str, float]:
    """Median milliseconds of each stage of ``toyml fit`` on the perceptron."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            code = "from benchmarks.startup import one_fit; one_fit()"
            for name, value in json.loads(
                run(["-c", code], Path(folder))[1].split("\n")[-2]
            ).items():
                found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def one_fit() -> None:
    """Run the perceptron with a clock at every stage, and print what it says as JSON."""
    stamps = [("start", time.perf_counter())]

    def stamp(name: str) -> None:
        stamps.append((name, time.perf_counter()))

    import lightning  # noqa: F401
    import torch  # noqa: F401

    stamp("import torch, lightning")
    import toyml.cli.trainer
    from toyml.callbacks.after import AfterFit
    from toyml.tasks import Supervised

    stamp("import toyml's command line")
    cli = toyml.cli.trainer.ToymlCLI
    before(cli, "before_instantiate_classes", lambda: stamp("parse and check the config"))
    before(cli, "fit", lambda: stamp("build net, data, callbacks, trainer"))
    name = "Trainer.fit before the first step"
    before(
        Supervised,
        "training_step",
        lambda: None if any(name == stage for stage, _ in stamps) else stamp(name),
    )
    import lightning.pytorch as pl

    before(pl.LightningModule, "on_train_epoch_end", lambda: stamp("steps"))
    drawn: dict[str, float] = {}
    around(AfterFit, "work_on", drawn, lambda: stamp("end of training: checkpoint, files closed"))
    toyml.cli.trainer.run_trainer(["fit", "--config", str(CONFIG)])
    stamp("return")
    # The afterwork lies within the last interval.
    result = {name: 1e3 * (at - stamps[i][1]) for i, (name, at) in enumerate(stamps[1:])}
    result["return"] -= sum(drawn.values())
    print()
    print(json.dumps({**result, **{f"afterwards: {name}": ms for name, ms in drawn.items()}}))


def before(owner: Any, name: str, call: Callable[[], object]) -> None:
    """Call something before every call of a method."""
    original = getattr(owner, name)

    @functools.wraps(original)  # Lightning and the engine look at the method they call
    def wrapped(*args: Any, **settings: Any) -> Any:
        call()
        return original(*args, **settings)

    setattr(owner, name, wrapped)


def around(owner: Any, name: str, spent: dict[str, float], first: Callable[[], object]) -> None:
    """Add up the milliseconds of a method by the class it is called on."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *args: Any) -> Any:
        if not spent:
            first()
        start = time.perf_counter()
        try:
            return original(self, *args)
        finally:
            kind = type(self).__name__
            spent[kind] = spent.get(kind, 0.0) + 1e3 * (time.perf_counter() - start)

    setattr(owner, name, wrapped)


# -- output --------------------------------------------------------------------------------------


def show(title: str, values: dict[str, float], unit: str, digits: int) -> None:
    """Print a table of one column."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    table.add_column("what")
    table.add_column(unit, justify="right", no_wrap=True)
    for name, value in values.items():
        table.add_row(name, f"{value:,.{digits}f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)


def main(words: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--short", action="store_true", help="each once, without the long ones")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--update", type=Path, help="put the tables into this file (docs/speed.md)")
    options = parser.parse_args(words)
    repeats = 1 if options.short else options.repeats
    result = {
        "commands, seconds": commands(repeats),
        "stages of a fit, milliseconds": stages(repeats),
        "peak memory, MiB": memory(list(MEMORY)[: 1 if options.short else None]),
    }
    show("whole processes", result["commands, seconds"], "s", 2)
    show("toyml fit, perceptron, by stages", result["stages of a fit, milliseconds"], "ms", 1)
    show("peak memory", result["peak memory, MiB"], "MiB", 0)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.update:
        # Not at the top: it imports torch. The folder is not on the path of a script.
        sys.path.append(str(ROOT))
        from benchmarks.training import write_between

        tables = [markdown(title, values) for title, values in result.items()]
        write_between(options.update, "startup", "\n\n".join(tables))
    return result


def markdown(title: str, values: dict[str, float]) -> str:
    """A table for docs/speed.md; the unit is the last word of its title."""
    what, unit = title.rsplit(", ", 1)
    digits = {"seconds": 2, "milliseconds": 1}.get(unit, 0)
    rows = [f"| {name} | {value:,.{digits}f} |" for name, value in values.items()]
    return "\n".join([f"| {what} | {unit} |", "|---|---|", *rows])


if __name__ == "__main__":
    main()
