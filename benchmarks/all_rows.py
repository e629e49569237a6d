"""Time what it costs to look at all rows where only batches are trained.

    python -m benchmarks.all_rows             # some seconds
    python -m benchmarks.all_rows --short

The same fit with and without its log, in turn, in one process: 5,000 steps of a 2-10-1 net on 2,000
rows in batches of 32; the loss of all rows is logged every 50 steps. Processor time, median of the
ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial

import lightning.pytorch as pl
import torch
from torch import nn

from toyml.callbacks import Recorder
from toyml.cli.trainer import quiet
from toyml.data import Moons
from toyml.logger import RunLogger
from toyml.models import MLP
from toyml.tasks import Supervised

ROWS, BATCH, EVERY = 2_000, 32, 50


def seconds(steps: int, every: int | None) -> float:
    """Processor time of one fit that logs every so many steps; ``None`` for never."""
    torch.manual_seed(0)
    task = Supervised(
        MLP([2, 10, 1], nn.Tanh()), nn.BCEWithLogitsLoss(), partial(torch.optim.SGD, lr=0.1)
    )
    with tempfile.TemporaryDirectory() as folder, quiet():
        trainer = pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu",
            logger=RunLogger(folder),
            callbacks=[Recorder()],
            log_every_n_steps=every or steps + 1,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        start = time.process_time()
        trainer.fit(task, Moons(n=ROWS, batch_size=BATCH))
        return time.process_time() - start


def measure(steps: int = 5_000, rounds: int = 5) -> float:
    """How many times as long a fit takes that logs."""
    seconds(min(steps, 500), EVERY)  # imports and first calls
    return statistics.median(seconds(steps, EVERY) / seconds(steps, None) for _ in range(rounds))


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--short", action="store_true", help="one round of 500 steps")
    short = parser.parse_args().short
    torch.set_num_threads(1)
    ratio = measure(500, 1) if short else measure()
    print(f"logged every {EVERY} steps, over the same fit not logged: {ratio:.2f}")


if __name__ == "__main__":
    main()
