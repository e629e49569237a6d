"""One experiment from many seeds: the fits, and the table of what became of them."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toyml.compiled import NotCompilable, compile_training
from toyml.config import Config
from toyml.configured import instantiate
from toyml.errors import UserError
from toyml.files import replace
from toyml.measures.sides import side_errors
from toyml.run import lookup

FILE = "seeds.csv"
Columns = dict[str, NDArray[np.float64]]


class SeedTable:
    """Outcomes by setting and seed, kept as ``seeds.csv`` in the run folder.

    Whoever trains the seeds, one after the other or all in one program, hands them over as this.

    Args:
        settings: For each setting's name its columns, each [r]: ``seed``, ``steps``, the final
            ``loss``, and what else was measured (NaN where it says nothing).

    Raises:
        ValueError: Columns of different names or lengths.
    """

    def __init__(self, settings: Mapping[str, Columns]) -> None:
        names = {tuple(columns) for columns in settings.values()}
        lengths = {len(c) for columns in settings.values() for c in columns.values()}
        if len(names) != 1 or not lengths or 0 in lengths:
            raise ValueError(f"settings have columns {sorted(names)}; give all of them the same")
        for name, columns in settings.items():
            if len({len(column) for column in columns.values()}) != 1:
                raise ValueError(f"columns of setting {name!r} differ in length")
        self.settings = dict(settings)

    def column(self, setting: str, name: str) -> NDArray[np.float64]:
        """One column [r] of a setting.

        Raises:
            KeyError: There is none; the message lists those that are.
        """
        if setting not in self.settings:
            raise KeyError(f"no setting {setting!r} (there are {', '.join(self.settings)})")
        if name not in self.settings[setting]:
            raise KeyError(f"no column {name!r} (there are {', '.join(self.settings[setting])})")
        return self.settings[setting][name]

    def save(self, folder: Path) -> None:
        """Write the table into a run folder, whole or not at all."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = list(next(iter(self.settings.values())))
        writer.writerow(["setting", *names])
        for setting, columns in self.settings.items():
            for row in zip(*columns.values(), strict=True):
                writer.writerow([setting, *(repr(float(value)) for value in row)])
        replace(folder / FILE, text.getvalue())

    @classmethod
    def load(cls, folder: Path) -> SeedTable | None:
        """The table of a run folder; ``None`` where there is none.

        Raises:
            UserError: The file is there but is not such a table.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            first, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
            settings = dict.fromkeys(row[0] for row in rows)
            values = {
                s: np.array([row[1:] for row in rows if row[0] == s], float) for s in settings
            }
            return cls({s: dict(zip(first[1:], v.T, strict=True)) for s, v in values.items()})
        except (ValueError, IndexError) as error:
            raise UserError(f"{path} is not a table over seeds: {error}; delete it") from error


def train_seeds(
    config: Config,
    overrides: Mapping[str, Any],
    seeds: Sequence[int],
    noted: Sequence[int] = (),
    trust: bool = False,
) -> Columns:
    """Train one setting of an experiment from several seeds, each as ``fit`` would.

    The seed is that of the initial weights; the data stay. A fit is one call of the compiled
    kernel, or the plain loop where the setting has no compiled form. Only full-batch training
    without a scheduler is done here.

    Args:
        config: A complete config, as in a run folder's ``config.yaml``.
        overrides: What the setting changes, by dotted key (``model.net.widths: [2, 5, 1]``).
        seeds: Seeds, each as ``seed_everything``.
        noted: Steps at which the loss is noted, in columns ``loss_<step>``.
        trust: Build whatever class the config names.

    Returns:
        ``seed``, ``steps``, ``loss``, ``loss_<step>`` ..., ``accuracy`` (at probability 1/2; NaN
        where targets are not 0 and 1), ``left`` and ``right`` (relative squared errors of the two
        halves; NaN for more than one input), each [r].

    Raises:
        UserError: The setting trains in mini-batches or with a scheduler, or cannot be built.
    """
    changed = override(config, overrides)
    steps = int(lookup(changed, "trainer.max_steps", -1))
    late = [step for step in noted if not 0 <= step < steps]
    if late or steps < 1:
        raise UserError(f"steps {late or steps} cannot be noted in a fit of {steps} steps")
    if lookup(changed, "data.batch_size") or lookup(changed, "model.lr_scheduler"):
        raise UserError("seeds are trained with full batches and no lr_scheduler; unset these")
    double = str(lookup(changed, "trainer.precision")) == "64-true"
    dtype = torch.float64 if double else torch.float32
    data = instantiate(changed, ["data"], "the config", trust)["data"]
    x, y = (a.to(dtype) for a in data.arrays())
    rows = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(seed)
            task = instantiate(changed, ["model"], "the config", trust)["model"].to(dtype)
            losses = train(task, x, y, steps)
            rows.append([seed, steps, *(losses[s] for s in (steps, *noted)), *outcome(task, x, y)])
    names = ["seed", "steps", "loss", *(f"loss_{s}" for s in noted), "accuracy", "left", "right"]
    return dict(zip(names, np.array(rows, dtype=np.float64).T, strict=True))


def train(task: Any, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """Train a task's net in place; the loss before every update and after the last [steps + 1].

    A fit that diverges has NaN from there on.
    """
    net, loss = task.net, task.loss
    optimizer = task.configure_optimizers()
    try:
        losses = compile_training(net, loss, optimizer, len(x)).run(x, y, steps).losses.tolist()
    except NotCompilable:
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            value = loss(net(x), y)
            losses.append(value.item())
            if not np.isfinite(losses[-1]):
                break
            value.backward()
            optimizer.step()
    with torch.no_grad():
        last = float(loss(net(x), y)) if len(losses) == steps else float("nan")
    return losses + [last] * (steps + 1 - len(losses))


def outcome(task: Any, x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Accuracy, and relative errors of the left and the right half."""
    with torch.no_grad():
        output = task.net(x)
        prediction = task.prediction(output)
    labels = bool(((y == 0) | (y == 1)).all()) and output.shape == y.shape
    nan = float("nan")
    accuracy = float(((prediction > 0.5) == (y > 0.5)).double().mean()) if labels else nan
    if labels or x.shape[1] != 1 or y.shape[1] != 1:
        return accuracy, nan, nan
    left, right = side_errors(output[None], x, y)[0].tolist()
    return accuracy, left, right


def override(config: Config, overrides: Mapping[str, Any]) -> Config:
    """A copy of a config with values changed by dotted key; ``init_args`` may be left out.

    Raises:
        UserError: A key that is not in the config.

    Example:
        >>> override({"data": {"class_path": "A", "init_args": {"n": 1}}}, {"data.n": 2})
        {'data': {'class_path': 'A', 'init_args': {'n': 2}}}
    """
    changed = copy.deepcopy(config)
    for key, value in overrides.items():
        *path, last = key.split(".")
        place: Any = changed
        for part in [*path, last]:
            if isinstance(place, dict) and part not in place and "init_args" in place:
                place = place["init_args"]
            if not isinstance(place, dict) or part not in place:
                raise UserError(f"the config has no {key!r} to override")
            if part is last:
                place[part] = copy.deepcopy(value)
            else:
                place = place[part]
    return changed
