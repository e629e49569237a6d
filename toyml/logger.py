"""The run folder, claimed and written to as a Lightning logger."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from itertools import compress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers.logger import DummyLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from toyml.errors import UserError
from toyml.files import first_free, read_bytes, replace, writing

MOST_BYTES = 2**29
"""Bytes of a table of metrics that is read."""


class RunLogger(Logger):
    """Write metrics to ``<root>/<experiment>/version_<i>/metrics.csv``, one row per step.

    The folder is claimed when something is first written, so a fit that fails its checks leaves
    none behind; claiming is atomic, so two fits started together get two folders. Rows are
    appended as they come; a metric that appears later adds a column. An existing file is
    continued, never deleted (Lightning's CSVLogger deletes it).

    Args:
        root: Folder of all runs, below the working folder.
        experiment: Name of the experiment; on the command line the stem of the config.
        version: Number of the run; ``None`` takes the next free one.

    Raises:
        UserError: The folder cannot be written.
    """

    def __init__(
        self, root: str = "runs", experiment: str | None = None, version: int | None = None
    ) -> None:
        super().__init__()
        self.root, self.experiment_name = Path(root), experiment
        self._version = version
        self._metrics: Metrics | None = None
        self.rows_to_keep: int | None = None  # as a checkpoint says that is gone on from
        self.measured = False  # whether the task logs ``loss`` over all rows by itself

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.experiment_name or "run"

    @property
    def version(self) -> str:
        """Name of the run folder; asking claims it."""
        return self.folder.name

    @property
    def save_dir(self) -> str:
        """Folder of all runs."""
        return str(self.root)

    @property
    def folder(self) -> Path:
        """The run folder, claimed on first use (by the first process alone)."""
        if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
            return self.root / self.name
        if self._metrics is None:
            self._metrics = Metrics(self._claim() / "metrics.csv")
        return self._metrics.path.parent

    def _claim(self) -> Path:
        parent = self.root / self.name
        try:
            if self._version is not None:
                folder = parent / f"version_{self._version}"
                folder.mkdir(parents=True, exist_ok=True)
                return folder
            parent.mkdir(parents=True, exist_ok=True)
            while True:
                folder = parent / f"version_{next_version(parent)}"
                try:
                    folder.mkdir()
                except FileExistsError:
                    continue  # another fit took it between the look and the claim
                return folder
        except OSError as error:
            raise UserError(
                f"cannot make a run folder in {parent} ({error.strerror}); choose another place "
                "with --trainer.logger.root"
            ) from error

    @property
    def experiment(self) -> Any:
        """Nothing to hand out: asking must not claim the folder before the checks are done."""
        return DummyLogger().experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config is in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row."""
        if self.measured and "epoch" in metrics:
            # From Lightning: what a training step of one's own calls loss is one batch's.
            metrics = {name: value for name, value in metrics.items() if name != "loss"}
        _ = self.folder
        assert self._metrics is not None
        self._metrics.append(-1 if step is None else step, metrics)

    @rank_zero_only
    def cut_after(self, step: int) -> None:
        """Set aside rows after ``step`` before they are measured again on a resume."""
        _ = self.folder
        assert self._metrics is not None
        self._metrics.cut_after(step, self.rows_to_keep)

    @property
    def rows(self) -> int:
        """Rows written so far, also by the fit that this one continues."""
        return 0 if self._metrics is None else self._metrics.rows

    @property
    def claimed(self) -> Path | None:
        """The run folder, if something was written already."""
        return None if self._metrics is None else self._metrics.path.parent

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file."""
        if self._metrics is not None:
            self._metrics.close()

    @rank_zero_only
    def discard_if_empty(self) -> None:
        """Remove a folder in which nothing was recorded, after a fit that failed at its start."""
        if self._metrics is None:
            return
        self._metrics.close()
        folder = self._metrics.path.parent
        if (folder / "trajectory").exists() or self._metrics.path.exists():
            return
        (folder / "config.yaml").unlink(missing_ok=True)
        (folder / "summary.json").unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
            for parent in (folder.parent, folder.parent.parent):
                if not any(parent.iterdir()):
                    parent.rmdir()


class Metrics:
    """``metrics.csv``: appended to, with a first column ``step``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._columns: list[str] = []
        self._file: io.FileIO | None = None

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a row; a metric that was not there before adds a column."""
        row = {
            " ".join(k.split()): float(v) for k, v in metrics.items() if k not in ("step", "epoch")
        }
        if not row:
            return
        if self._file is None or self._file.closed:
            self._open()
        new = [name for name in row if name not in self._columns]
        if new:
            self._add_columns(new)
        values = [repr(row[name]) if name in row else "" for name in self._columns]
        self._write(",".join([str(step), *values]) + "\n")
        self.rows += 1

    def _write(self, line: str) -> None:
        # Unbuffered: nothing waits here that a kill could take or a full disk leave half done.
        assert self._file is not None
        rest = line.encode()
        with writing(self.path):
            while (written := self._file.write(rest)) < len(rest):
                rest = rest[written:]

    def _open(self) -> None:
        if self.path.exists() and self.path.stat().st_size:
            text = self._text()
            whole = text[: text.rfind("\n") + 1]  # a killed fit can leave half a line
            if whole != text:
                replace(self.path, whole)
            self._columns = cells(whole.split("\n", 1)[0])[1:]
            self.rows = max(0, whole.count("\n") - 1)
        with writing(self.path):
            self._file = self.path.open("ab", buffering=0)

    def _add_columns(self, new: list[str]) -> None:
        assert self._file is not None
        self._file.close()
        _, *rows = self._text().splitlines() or ["step"]
        self._columns += new
        lines = [line(["step", *self._columns]), *(row + "," * len(new) for row in rows)]
        replace(self.path, "\n".join(lines) + "\n")
        with writing(self.path):
            self._file = self.path.open("ab", buffering=0)

    def cut_after(self, step: int, most: int | None = None) -> None:
        """Move rows after ``step`` or the first ``most`` to ``metrics.after_<step>.<i>.csv``.

        Of the rows at ``step`` itself the one with the training loss goes too, since it is
        measured again; what was validated there stays.
        """
        self.close()
        if not self.path.exists():
            return
        text = self._text()
        if "\n" not in text:
            return  # not even a whole header: the next row writes one
        header, *rows = text[: text.rfind("\n")].split("\n")
        names = cells(header)
        try:
            late = [
                later(dict(zip(names, cells(row), strict=True)), step)
                or (most is not None and number >= most)
                for number, row in enumerate(rows)
            ]
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{self.path} is not a table of metrics ({error}); mend it, or move it away"
            ) from error
        self.rows = len(rows) - sum(late)
        if not any(late):
            return
        aside = first_free(self.path.with_name(f"metrics.after_{step}.csv"))
        replace(aside, "\n".join([header, *compress(rows, late)]) + "\n")
        kept = compress(rows, [not gone for gone in late])
        replace(self.path, "\n".join([header, *kept]) + "\n")
        self._columns = []

    def _text(self) -> str:
        try:
            return read_bytes(self.path, MOST_BYTES).decode()
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{self.path} is not a table of metrics: {error}") from error

    def close(self) -> None:
        """Close the file; the next row opens it again."""
        if self._file is not None and not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


def cells(row: str) -> list[str]:
    """The cells of one line of a table."""
    return next(csv.reader([row]), [])


def line(row: Iterable[str]) -> str:
    """One line of a table, quoted where it has to be, without its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


def later(row: Mapping[str, str], step: int) -> bool:
    """Whether a row is measured again by a fit that continues at ``step``."""
    return int(row["step"]) > step or (int(row["step"]) == step and bool(row.get("loss")))


def read_metrics(path: Path) -> dict[str, dict[str, list[float]]]:
    """Columns of a ``metrics.csv``: for each metric its ``step`` and ``value`` lists.

    Raises:
        UserError: The file is not a table of numbers.
    """
    if not path.exists():
        return {}
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is damaged: it has more than {MOST_BYTES:,} bytes; move it away")
    columns: dict[str, dict[str, list[float]]] = {}
    try:
        with path.open(encoding="utf-8") as file:
            # A killed fit can leave half a line.
            table = csv.DictReader(line for line in file if line.endswith("\n"))
            if "step" not in (table.fieldnames or ["step"]):
                raise ValueError("it has no column 'step'")
            for row in table:
                for name, value in row.items():
                    if name not in ("step", None) and value:
                        column = columns.setdefault(name, {"step": [], "value": []})
                        column["step"].append(step_number(row["step"]))
                        column["value"].append(float(value))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        words = " ".join(str(error).split())
        raise UserError(f"{path} is not a table of metrics: {words[:200]}") from error
    return columns


def step_number(text: str) -> int:
    """A number of steps; -1 where a value belongs to none.

    Raises:
        ValueError: It is none, or no fit has as many.
    """
    step = int(text)
    if not -1 <= step < 2**53:
        raise ValueError(f"{text[:40]!r} is no number of steps")
    return step


def next_version(parent: Path) -> int:
    """One more than the highest ``version_<i>`` in a folder."""
    found = [re.fullmatch(r"version_(\d+)", p.name) for p in parent.iterdir()]
    return 1 + max((int(m[1]) for m in found if m), default=-1)


def run_logger(trainer: pl.Trainer) -> RunLogger | None:
    """The trainer's RunLogger, if it has one."""
    return next((log for log in trainer.loggers if isinstance(log, RunLogger)), None)


def run_folder(trainer: pl.Trainer) -> Path:
    """Where this fit's files go: the RunLogger's folder, else the trainer's ``log_dir``.

    To be called by every process of a distributed fit; only the first writes.

    Raises:
        UserError: The trainer has no logger, so there is no folder of this fit's own.
    """
    logger = run_logger(trainer)
    if logger is not None:
        return logger.folder
    if not trainer.loggers:
        raise UserError(
            "trainer.logger is off, so the run has no folder; leave it on "
            "(from Python: Trainer(logger=toyml.logger.RunLogger()))"
        )
    return Path(trainer.log_dir or trainer.default_root_dir)
