"""A run folder, opened for reading."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toyml import engine, measures
from toyml.config import Config, read_config
from toyml.errors import UserError
from toyml.files import locked, near_path, replace
from toyml.logger import read_metrics
from toyml.summary import finite, read_summary
from toyml.trajectory import Trajectory
from toyml.trust import see_files


class Run:
    """Everything a fit left behind.

    Nothing is imported or instantiated before it is asked for; reading the config, the
    trajectory and the metrics runs no code from the folder.

    Args:
        folder: The run folder, ``runs/<experiment>/version_<i>``.
        task: The live task, where the run is looked at from inside its own fit.
        datamodule: The live data, likewise.
        trust: Whether whatever class the run's config names may be built, and links in the folder
            may be followed (see :mod:`toyml.trust`). A run with a live task is its caller's own.

    Raises:
        UserError: The folder is not a run, or holds a link that leads out of it.
    """

    def __init__(
        self,
        folder: str | Path,
        task: pl.LightningModule | None = None,
        datamodule: pl.LightningDataModule | None = None,
        trust: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.trust = trust or task is not None
        self._check()
        if not self.trust:
            see_files(self.folder)
        self._task, self._datamodule = task, datamodule
        self._live = datamodule is not None  # its setup is done
        self._held: tuple[Tensor, Tensor] | None = None
        self._lost: tuple[str, ...] = ()
        self.verdicts: list[Mapping[str, Any]] = []  # what the judges of one pass have found

    def _check(self) -> None:
        folder = self.folder
        if not folder.is_dir():
            meant = near_path(folder)
            way = f"did you mean {meant}?" if meant else f"give a run folder such as {_example()}"
            raise UserError(f"{folder} is not a folder; {way}")
        if not (folder / "trajectory").is_dir():
            raise UserError(
                f"{folder} is not a run: it holds no trajectory; give a folder such as {_example()}"
            )

    @classmethod
    def load(cls, folder: str | Path, trust: bool = False) -> Run:
        """Open a run folder; ``trust`` one that names classes of its own only if you know it."""
        return cls(folder, trust=trust)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.status})"

    # -- files -------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.folder.resolve().parent.name

    @cached_property
    def config(self) -> Config:
        """The complete config; empty for a fit started from Python."""
        path = self.folder / "config.yaml"
        return read_config(path) if path.exists() else {}

    @cached_property
    def trajectory(self) -> Trajectory:
        """The recorded snapshots."""
        return Trajectory(self.folder / "trajectory")

    @cached_property
    def metrics(self) -> dict[str, dict[str, list[float]]]:
        """Logged values by name: their ``step`` and ``value`` lists."""
        return read_metrics(self.folder / "metrics.csv")

    @property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` says now."""
        return read_summary(self.folder / "summary.json")

    def update_summary(self, **values: Any) -> None:
        """Change keys of ``summary.json``; the file is replaced whole.

        A report may be made while the fit goes on: neither takes back what the other has changed.
        """
        with locked(self.folder):
            merged = {**self.summary, **values}
            text = json.dumps(finite(merged), indent=1, allow_nan=False)
            replace(self.folder / "summary.json", text + "\n")

    @property
    def finished(self) -> bool:
        """Whether the fit came to its end, and its last step is there."""
        summary, steps = self.summary, self.trajectory.steps
        whole = len(steps) > 0 and steps[-1] == summary.get("steps", steps[-1])
        return summary.get("status") == "finished" and bool(whole)

    @property
    def status(self) -> str:
        """Finished, or how far an unfinished fit came, in words."""
        if self.finished:
            return "finished"
        status = self.summary.get("status")
        steps = self.trajectory.steps
        step = int(steps[-1]) if len(steps) else 0
        return f"{'diverged' if status == 'diverged' else 'unfinished'} at step {step}"

    def setting(self, key: str, default: Any = None) -> Any:
        """A value of the config by dotted key, as on the command line (``model.optimizer.lr``)."""
        return lookup(self.config, key, default)

    # -- objects -----------------------------------------------------------------------------

    @property
    def task(self) -> pl.LightningModule:
        """The task, with the parameters of the last snapshot."""
        if self._task is None:
            self._instantiate()
        assert self._task is not None
        return self._task

    @property
    def datamodule(self) -> pl.LightningDataModule:
        """The data."""
        if self._datamodule is None:
            self._instantiate()
        assert self._datamodule is not None
        return self._datamodule

    def _instantiate(self) -> None:
        from toyml.configured import instantiate

        if not self.config:
            raise UserError(f"{self.folder} has no config.yaml to build the task and data from")
        if not len(self.trajectory):
            raise UserError(f"{self.folder} holds no snapshot; nothing was recorded there yet")
        source = str(self.folder / "config.yaml")
        built = instantiate(self.config, ("model", "data"), source, self.trust)
        task, self._datamodule = built["model"], built["data"]
        dtype = next(iter(self.trajectory.points([-1]).values())).dtype
        task.to(dtype)
        net, last = network(task), self.trajectory.select([-1])
        found = self.trajectory.constants | {name: values[0] for name, values in last.items()}
        with torch.no_grad():
            for name, held in (*net.named_parameters(), *net.named_buffers()):
                if name not in found and not isinstance(held, nn.Parameter):
                    self._lost += (name,)  # recorded before buffers were
                    continue
                if name not in found or found[name].shape != held.shape:
                    raise UserError(
                        f"{self.folder}: the trajectory does not hold the config's {name} "
                        f"{list(held.shape)}; one of the two was changed"
                    )
                held.copy_(found[name])
        self._task = task

    @property
    def net(self) -> nn.Module:
        """The module whose parameters the trajectory holds.

        Raises:
            UserError: It needs running statistics, and the run was recorded without them.
        """
        net = network(self.task)
        if self._lost:
            changed = [n for n in measures.behaviour(net, self.data[0]).buffers if n in self._lost]
            self._lost = tuple(changed)
        if self._lost:
            raise UserError(
                f"the run was recorded without {', '.join(self._lost)}, and the net's output "
                "depends on them; fit it again to see what it says"
            )
        return net

    @property
    def loss(self) -> nn.Module:
        """The training loss."""
        loss = getattr(self.task, "loss", None)
        if not isinstance(loss, nn.Module):
            raise UserError(f"{type(self.task).__name__} has no loss module to evaluate")
        return loss

    @cached_property
    def data(self) -> tuple[Tensor, Tensor]:
        """Training rows x [n, d] and targets in the precision of the trajectory.

        Targets are in the form that the loss takes: [n, k], or numbers of classes [n], int64.
        """
        return self.rows(torch.from_numpy(self.trajectory.parameters.flat[:1].copy()).dtype)

    def rows(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """The same in another precision.

        Raises:
            UserError: The data module hands over no pairs of tensors, or targets that are none of
                the loss's.
        """
        if self._held is None:
            data = self.datamodule
            if not self._live and not hasattr(data, "arrays"):
                data.prepare_data()
                data.setup("fit")
            try:
                x, y = engine.all_rows(data)
                loss = getattr(self.task, "loss", None)
                self._held = x, measures.loss_targets(loss, y) if loss is not None else y
            except ValueError as error:
                raise UserError(f"{type(data).__name__}: {error}") from error
        x, y = (rows.to(dtype) if rows.is_floating_point() else rows for rows in self._held)
        return x, y

    @cached_property
    def meaning(self) -> measures.Meaning:
        """What the net's outputs mean: classes, labels or values, and where they are undecided."""
        found = measures.meaning(self.loss, self.data[1])
        own: Any = getattr(self.task, "prediction", None)
        if own is None or getattr(own, "by_loss", False):
            return found
        # A task of one's own says what its outputs become; what is undecided is in those units.
        level = None if found.undecided is None else found.middle
        return dataclasses.replace(found, prediction=own, undecided=level, quantity="prediction")

    @cached_property
    def behaviour(self) -> measures.Behaviour:
        """What the net's output depends on besides its parameters and inputs."""
        return measures.behaviour(self.net, self.data[0])

    def losses(self, indices: Sequence[int] | NDArray[np.int64] | slice) -> NDArray[np.float64]:
        """The loss over all training rows in evaluation mode at snapshots [t].

        This is the one meaning of ``loss`` in figures, pages, claims and tables.

        Args:
            indices: Positions in the trajectory.

        Raises:
            UserError: There is no loss module, or there are no rows.
            ValueError: Net, rows and loss do not belong together.
        """
        states = self.trajectory.select(indices)
        values = measures.losses(self.net, self.loss, states, *self.data)
        return values.double().numpy()


def network(task: pl.LightningModule) -> nn.Module:
    """What is recorded: the task's ``net`` if it holds every parameter, else the whole task."""
    net = getattr(task, "net", None)
    if isinstance(net, nn.Module):
        own = {id(p) for p in net.parameters()}
        if all(id(p) in own for p in task.parameters()):
            return net
    return task


def lookup(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """A value by dotted key; ``init_args`` may be left out and list items are numbers.

    Example:
        >>> lookup({"model": {"class_path": "A", "init_args": {"lr": 0.1}}}, "model.lr")
        0.1
    """
    value: Any = config
    for part in key.split("."):
        if isinstance(value, Mapping) and part not in value and "init_args" in value:
            value = value["init_args"]
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return default
    return value


def _example() -> str:
    found = sorted(path.parent for path in Path("runs").glob("*/version_*/trajectory"))
    return str(found[-1]) if found else "runs/perceptron/version_0"
