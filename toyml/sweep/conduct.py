"""A sweep from its first missing part to its table."""

from __future__ import annotations

import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl

from toyml.sweep.cell import rehearse
from toyml.sweep.folder import (
    TABLE,
    Sweep,
    alone,
    done,
    joined,
    save_part,
    together,
    write_parquet,
)
from toyml.sweep.keys import Config
from toyml.sweep.local import Engine, Job
from toyml.sweep.outcome import Definition
from toyml.sweep.plan import Plan, make_plan
from toyml.sweep.table import outcome_table, summarize

REHEARSED = 50
"""Cells that are built for a trial before anything is written."""

Watch = Callable[[int, int], None]
"""Called with trainings done (those under way by their share) and trainings in all."""


class InterruptedSweepError(Exception):
    """A sweep was stopped by Ctrl-C or SIGTERM; the parts that were done are kept."""


def rehearse_sweep(plan: Plan, job: Job) -> int:
    """Build every cell (the first 50 of many) without training, so that errors come first.

    Returns:
        Bytes that the parameters of one replica take, at most.

    Raises:
        UserError: A cell cannot be built or trained as replicas.
    """
    seen: list[dict[str, Any]] = []
    most = 0
    for part in plan.parts():
        changes = dict(part.changes)
        if changes not in seen:
            most = max(most, rehearse(job.config, part, job.noted))
            seen.append(changes)
        if len(seen) == REHEARSED:
            break
    return most


def conduct(
    folder: Path, plan: Plan, job: Job, engine: Engine, watch: Watch | None = None
) -> Sweep:
    """Train what is missing, write the table and the summary.

    Args:
        folder: The sweep's folder, claimed.
        plan: What is asked for.
        job: What all parts have in common.
        engine: Who trains.
        watch: Told about progress.

    Raises:
        InterruptedSweepError: Ctrl-C or SIGTERM; what was done is kept.
        UserError: Another process fills the folder, or a part cannot be trained.
    """
    sweep = Sweep(folder, trust=True)
    with alone(folder):
        there = done(folder)
        parts = [part for part in plan.parts() if part.number not in there]
        missing = sum(map(len, parts))
        sweep.update_summary(
            status="running" if parts else sweep.summary.get("status", "running"),
            asked=plan.replicas,
            cells=plan.cells,
            replicas=plan.replicas - missing,
        )
        if parts:
            _train(sweep, plan, job, engine, parts, missing, watch)
        finish(sweep, plan)
    return sweep


def train_table(
    config: Config,
    seeds: int | Sequence[int] = 1,
    vary: Mapping[str, Sequence[Any]] | None = None,
    definition: Definition | None = None,
    threads: int = 1,
) -> pl.DataFrame:
    """Train a sweep in memory, without a folder: for a notebook.

    Args:
        config: A complete config, as ``Run.config``, whose classes are trusted.
        seeds: A number of seeds from 0 on, or the seeds.
        vary: Values by dotted key of the config, or by entry of the initial parameters.
        definition: When a training counts as what.
        threads: Torch threads.

    Returns:
        One row per training.

    Raises:
        UserError: Something that cannot be varied or trained.
    """
    definition = definition or Definition()
    plan = make_plan(config, seeds, vary or {})
    job = Job(config, definition, threads=threads)
    plan = plan.fitted(rehearse_sweep(plan, job))
    rows = [job.train(part) for part in plan.parts()]
    return outcome_table(together(rows), definition)[0]


def _train(
    sweep: Sweep,
    plan: Plan,
    job: Job,
    engine: Engine,
    parts: list[Any],
    missing: int,
    watch: Watch | None,
) -> None:
    shares = {part.number: 0.0 for part in parts}
    sizes = {part.number: len(part) for part in parts}
    before, began = plan.replicas - missing, time.perf_counter()

    def progress(number: int, share: float) -> None:
        shares[number] = share
        if watch is not None:
            under_way = sum(shares[n] * sizes[n] for n in shares)
            watch(before + round(under_way), plan.replicas)

    try:
        with terminable():
            progress(parts[0].number, 0.0)
            for part, rows in engine.train(job, parts, progress):
                save_part(sweep.folder, part.number, rows)
                progress(part.number, 1.0)
    except KeyboardInterrupt:
        kept = sum(sizes[n] for n in sizes if n in done(sweep.folder)) + before
        sweep.update_summary(status="interrupted", replicas=kept)
        raise InterruptedSweepError(
            f"interrupted; {kept:,} of {plan.replicas:,} trainings are kept in {sweep.folder}; the "
            "same command goes on"
        ) from None
    seconds = time.perf_counter() - began + float(sweep.summary.get("seconds") or 0.0)
    sweep.update_summary(seconds=seconds, environment=environment(job))


def finish(sweep: Sweep, plan: Plan) -> None:
    """Join the parts to the table and count."""
    table, found = outcome_table(joined(sweep.folder), sweep.settings.outcomes)
    write_parquet(sweep.folder / TABLE, table)
    keys = [v.key for v in plan.vary]
    sweep.update_summary(**summarize(table, found, keys), status="finished", replicas=len(table))


@contextmanager
def terminable() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C; signals can be caught in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def environment(job: Job) -> dict[str, Any]:
    """What a result depends on besides the config."""
    packages = ("toyml", "torch", "numpy", "polars")
    return {
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
        "machine": platform.machine(),
        "precision": str((job.config.get("trainer") or {}).get("precision") or "32-true"),
        "threads": job.threads,
    }
