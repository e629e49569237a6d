"""A sweep's folder: claimed, filled part by part, and opened for reading.

``runs/<experiment>/sweep_<i>/`` holds ``config.yaml`` (complete; running it again repeats the
sweep), ``sweep.yaml`` (the values of every key, written out), ``parts/<number>.parquet`` (each
written beside and renamed, so a part is there whole or not at all), ``table.parquet`` (one row per
replica), ``summary.json``, ``figures/`` and ``report.html``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from toyml.config import read_config
from toyml.errors import UserError
from toyml.files import beside, replace
from toyml.run import Run
from toyml.sweep.keys import leaves
from toyml.sweep.plan import Plan
from toyml.sweep.settings import Settings, read_settings
from toyml.trajectory import Trajectory

if TYPE_CHECKING:
    import polars as pl  # a third of a second, which a fit need not spend

TABLE, ASKED = "table.parquet", "sweep.yaml"
MOST_BYTES, MOST_ROWS = 2**32, 50_000_000
"""The largest table that is read."""
# What says how long or how a sweep is watched, not what is computed.
FREE = ("config", "trainer.enable_progress_bar", "trainer.logger", "sweep.callbacks")


class Sweep(Run):
    """A sweep's folder, opened for reading: a Run whose outcomes are a table.

    Claims and figures get it where they would get a Run. It has a config, a summary and a table,
    but no trajectory: what asks for one is told so.

    Args:
        folder: ``runs/<experiment>/sweep_<i>``.

    Raises:
        UserError: The folder is not a sweep.
    """

    def _check(self) -> None:
        if not (self.folder / ASKED).is_file():
            raise UserError(f"{self.folder} is not a sweep: it holds no {ASKED}")

    @cached_property
    def trajectory(self) -> Trajectory:
        """There is none.

        Raises:
            UserError: Always.
        """
        raise UserError("a sweep keeps what became of its trainings, not their trajectories")

    @property
    def finished(self) -> bool:
        """Whether all trainings are done and their table is there."""
        return self.summary.get("status") == "finished" and (self.folder / TABLE).is_file()

    @property
    def status(self) -> str:
        """Finished, or how many of the trainings are done, in words."""
        done, whole = self.summary.get("replicas", 0), self.summary.get("asked", 0)
        return "finished" if self.finished else f"unfinished: {done:,} of {whole:,} trainings"

    @cached_property
    def settings(self) -> Settings:
        """What the config says about the sweep."""
        return read_settings(self.config.get("sweep"))

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per replica: its settings and what became of it.

        Raises:
            UserError: There is no table yet, or it cannot be read.
        """
        return read_table(self.folder / TABLE)

    @cached_property
    def details(self) -> pl.DataFrame:
        """The parts as they were written: with losses at the kept steps and the last parameters."""
        return joined(self.folder)

    @cached_property
    def varied(self) -> dict[str, list[Any]]:
        """The varied keys and their values."""
        vary = read_config(self.folder / ASKED).get("vary")
        if not isinstance(vary, dict) or not all(isinstance(v, list) for v in vary.values()):
            raise UserError(f"{self.folder / ASKED} does not say what was varied")
        return vary


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet file.

    Raises:
        UserError: It is not there, not whole, or larger than any sweep's.
    """
    import polars as pl

    try:
        with unheard():
            if (size := path.stat().st_size) > MOST_BYTES:
                raise UserError(f"{path} is damaged: it has {size:,} bytes")
            # Equal rows take no room in the file, and all of it in memory.
            rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
            if rows > MOST_ROWS:
                raise UserError(f"{path} is damaged: it is said to have {rows:,} rows")
            return pl.read_parquet(path, glob=False)
    except FileNotFoundError:
        raise UserError(f"{path} is not there yet; run the sweep to its end") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise UserError(f"{path} is not readable: {' '.join(str(error).split())[:300]}") from error


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Keep what polars writes to standard error about a file that it panics over to itself."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def part_path(folder: Path, number: int) -> Path:
    """Where a part is kept."""
    return folder / "parts" / f"{number:06d}.parquet"


def save_part(folder: Path, number: int, rows: pl.DataFrame) -> None:
    """Write a part whole or not at all; one that is there stays."""
    path = part_path(folder, number)
    if not path.exists():
        write_parquet(path, rows)


def write_parquet(path: Path, rows: pl.DataFrame) -> None:
    """Write a Parquet file beside its place and move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as draft, draft.open("wb") as file:
        rows.write_parquet(file)
        file.flush()
        os.fsync(file.fileno())


def done(folder: Path) -> set[int]:
    """Numbers of the parts that are there."""
    return {int(p.stem) for p in (folder / "parts").glob("*.parquet") if p.stem.isdigit()}


def joined(folder: Path) -> pl.DataFrame:
    """All parts one after the other, by replica.

    Raises:
        UserError: One cannot be read; the message says which to delete.
    """
    frames = []
    for number in sorted(done(folder)):
        try:
            frames.append(read_table(part_path(folder, number)))
        except UserError as error:
            raise UserError(f"{error}; delete it and run the sweep again") from error
    if not frames:
        raise UserError(f"{folder} holds no finished part yet; run the sweep again")
    return together(frames)


def together(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Parts as one table, by replica; null where the nets of a cell have no such column."""
    import polars as pl

    return pl.concat(parts, how="diagonal_relaxed").sort("replica")


# -- claiming ------------------------------------------------------------------------------------


def claim(
    root: Path, experiment: str, config_text: str, plan: Plan, folder: Path | None = None
) -> Path:
    """The folder to fill: the last one that was interrupted in the same sweep, or a new one.

    Args:
        root: Folder of all runs.
        experiment: Name of the experiment.
        config_text: The complete config.
        plan: What is asked for.
        folder: A folder to go on in, whatever its number.

    Raises:
        UserError: ``folder`` holds another sweep, or no folder can be made.
    """
    asked = plan.as_dict()
    if folder is not None and folder.exists():
        if not (folder / ASKED).is_file():
            raise UserError(f"{folder} is not a sweep's folder; leave --folder out for a new one")
        if difference := _difference(folder, config_text, asked):
            raise UserError(
                f"{folder} holds another sweep ({difference}); leave --folder out for a new one"
            )
        return folder
    parent = root / experiment
    if folder is None:
        for old in reversed(_numbered(parent)):
            if not Sweep(old, trust=True).finished and not _difference(old, config_text, asked):
                return old
    try:
        target = _new(parent) if folder is None else folder
        target.mkdir(parents=True, exist_ok=True)
        replace(target / "config.yaml", config_text)
        replace(target / ASKED, yaml.safe_dump(asked, sort_keys=False, default_flow_style=None))
    except OSError as error:
        raise UserError(
            f"cannot make a sweep's folder in {parent} ({error.strerror}); choose another place "
            "with --trainer.logger.root"
        ) from error
    return target


def _numbered(parent: Path) -> list[Path]:
    found = parent.glob("sweep_*") if parent.is_dir() else []
    numbered = {int(m[1]): p for p in found if (m := re.fullmatch(r"sweep_(\d+)", p.name))}
    return [numbered[i] for i in sorted(numbered) if (numbered[i] / ASKED).is_file()]


def _new(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    found = [re.fullmatch(r"sweep_(\d+)", p.name) for p in parent.iterdir()]
    i = 1 + max((int(m[1]) for m in found if m), default=-1)
    while True:
        try:
            (parent / f"sweep_{i}").mkdir()
        except FileExistsError:
            i += 1  # another sweep took it between the look and the claim
            continue
        return parent / f"sweep_{i}"


def _difference(folder: Path, config_text: str, asked: Mapping[str, Any]) -> str:
    """In what an older sweep differs from the one asked for; empty when in nothing."""
    try:
        old_asked = read_config(folder / ASKED)
        old = read_config(folder / "config.yaml")
    except (OSError, UserError):
        return "its config is not readable"
    new = yaml.safe_load(config_text)
    wanted = yaml.safe_load(yaml.safe_dump(dict(asked)))
    if old_asked != wanted:
        keys = sorted(str(k) for k in {*old_asked, *wanted} if old_asked.get(k) != wanted.get(k))
        return f"other {' and '.join(keys)}"
    old_leaves, new_leaves = dict(leaves(old)), dict(leaves(new))
    for key in sorted({*old_leaves, *new_leaves}):
        if key.startswith(FREE) or old_leaves.get(key, ()) == new_leaves.get(key, ()):
            continue
        return f"{key} was {old_leaves.get(key)}, is {new_leaves.get(key)}"
    return ""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second process from filling the same folder, for as long as this one does.

    Not :func:`toyml.files.locked`, which waits and is taken for every change of the summary.

    Raises:
        UserError: Another process is at work there.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process is filling {folder}; wait for it, or change a setting to start "
                "a sweep of its own"
            ) from None
        except OSError:
            pass  # a file system that knows no locks gives none
        yield
