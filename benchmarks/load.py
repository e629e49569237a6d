"""What a long fit and a large net take: memory while recording and drawing, seconds, disk.

    python -m benchmarks.load            # 1,000,000 steps of 13 parameters: C and eager
    python -m benchmarks.load --large    # 2,000 steps of 1,000,000 parameters: 8 GB of disk

Each fit records every step and draws all general figures and the report. Memory is the process's
own (RssAnon, children that draw not counted), sampled; mapped files are not in it, because the
system takes their pages back whenever it needs them. It is flat when the second half of the
recording needs no more than the first.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CONFIG = """\
model:
  class_path: toyml.tasks.Supervised
  init_args:
    net:
      class_path: toyml.models.MLP
      init_args: {{widths: {widths}, activation: torch.nn.Tanh}}
    loss: torch.nn.BCEWithLogitsLoss
    optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 0.01, momentum: 0.9}}}}
    compiled: {compiled}
data: {{class_path: toyml.data.Moons, init_args: {{n: 60, noise: 0.15}}}}
trainer:
  max_steps: {steps}
  callbacks+:
    - toyml.callbacks.Recorder
    - toyml.callbacks.Boundary
    - toyml.callbacks.Curves
    - toyml.callbacks.Parameters
    - toyml.callbacks.HiddenLines
    - toyml.callbacks.Activations
    - toyml.callbacks.LossLine
    - toyml.callbacks.LossLandscapes
    - toyml.callbacks.Curvature
    - toyml.callbacks.Forces
    - class_path: toyml.callbacks.Report
      init_args: {{question: "How much does it take?"}}
"""


class Load(NamedTuple):
    """What one fit took.

    Attributes:
        first: Most megabytes in the first half of the recording.
        second: In the second half.
        drawing: While drawing.
        recorded: Seconds up to the last recorded step, start-up included.
        drawn: Seconds from there to the end.
        disk: Megabytes of the trajectory.
        said: The page's sentence on thinning.
    """

    first: float
    second: float
    drawing: float
    recorded: float
    drawn: float
    disk: float
    said: str


def measure(folder: Path, widths: list[int], steps: int, compiled: bool) -> Load:
    """Run a fit in a process of its own and watch it."""
    p = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    whole = (8 + 4 * p) * (steps + 1)
    config = CONFIG.format(widths=widths, steps=steps, compiled=str(compiled).lower())
    (folder / "load.yaml").write_text(config)
    words = ["fit", "--config", "load.yaml", "--trainer.enable_progress_bar", "false"]
    began = time.monotonic()
    fit = subprocess.Popen([sys.executable, "-m", "toyml", *words], cwd=folder)
    rows = folder / "runs/load/version_0/trajectory/rows.bin"
    most, ended = [0.0, 0.0, 0.0], began
    while fit.poll() is None:
        done = rows.stat().st_size / whole if rows.exists() else 0.0
        part = 0 if done < 0.5 else 1 if done < 1.0 else 2
        if part < 2:
            ended = time.monotonic()
        most[part] = max(most[part], memory(fit.pid))
        time.sleep(0.02)
    if fit.returncode:
        sys.exit(f"the fit ended with status {fit.returncode}")
    page = (rows.parents[1] / "report.html").read_text(encoding="utf-8")
    start = page.find("Thinned: ")
    said = page[start : page.find(".", start) + 1] if start >= 0 else "nothing thinned"
    now, written = time.monotonic(), rows.stat().st_size
    return Load(most[0], most[1], most[2], ended - began, now - ended, written / 1e6, said)


def memory(process: int) -> float:
    """Megabytes that belong to a process alone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(float(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    """Print a row for each fit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--large", action="store_true", help="only the net of a million parameters")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the steps")
    parser.add_argument("--folder", type=Path, help="where the runs go (default: a temporary one)")
    options = parser.parse_args()
    share = 100 if options.quick else 1
    fits = [
        ("13 parameters, C", [2, 3, 1], 1_000_000 // share, True),
        ("13 parameters, eager", [2, 3, 1], 200_000 // share, False),
    ]
    if options.large:
        fits = [("1,005,001 parameters, eager", [2, 1000, 1000, 1], 2000 // share, False)]
    print("| fit | steps | MB, first half | second half | drawing | s to record | to draw | MB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, widths, steps, compiled in fits:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            load = measure(folder, widths, steps, compiled)
        finally:
            shutil.rmtree(folder)
        numbers = " | ".join(f"{value:,.0f}" for value in load[:-1])
        print(f"| {name} | {steps:,} | {numbers} |\n{load.said}", flush=True)


if __name__ == "__main__":
    main()
