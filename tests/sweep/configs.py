"""Small configs to sweep, and tables of sweeps that were never trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from toyml.sweep.conduct import finish
from toyml.sweep.folder import Sweep, claim, save_part
from toyml.sweep.plan import Plan, Vary


def config(steps: int = 30, **init: Any) -> dict[str, Any]:
    """XOR with a 2-3-1 net in float64; keywords replace settings of the model."""
    net = {
        "class_path": "toyml.models.MLP",
        "init_args": {
            "widths": [2, 3, 1],
            "activation": "torch.nn.Sigmoid",
            "output_activation": "torch.nn.Sigmoid",
        },
    }
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5, "momentum": 0.0}}
    model = {"net": net, "loss": "torch.nn.BCELoss", "optimizer": optimizer, **init}
    return {
        "seed_everything": 0,
        "threads": 1,
        "model": {"class_path": "toyml.tasks.Supervised", "init_args": model},
        "data": {"class_path": "toyml.data.Xor", "init_args": {"repeats": 1, "batch_size": None}},
        "trainer": {"max_steps": steps, "precision": "64-true", "accelerator": "cpu"},
    }


def written(
    folder: Path,
    columns: Mapping[str, Sequence[Any]],
    vary: Mapping[str, Sequence[Any]] | None = None,
    **section: Any,
) -> Sweep:
    """A finished sweep whose rows are these: at least ``loss``, and columns of varied keys."""
    r = len(columns["loss"])
    loss = np.asarray(columns["loss"], dtype=float)
    trace = np.stack([np.where(np.isfinite(loss), loss + 1, 1.0), loss, loss], axis=1)
    rows: dict[str, Any] = {
        "replica": np.arange(r),
        "part": np.zeros(r, dtype=int),
        "seed": np.arange(r),
        "steps": np.full(r, 100),
        "first_loss": trace[:, 0],
        "diverged_at": np.where(np.isfinite(loss), -1, 7),
        "trace_steps": [[0, 50, 100]] * r,
        "trace": trace.tolist(),
    }
    threshold = (section.get("outcomes") or {}).get("converged")
    threshold = np.nan if threshold is None else threshold
    rows |= {"threshold": np.full(r, threshold), "threshold_at": np.where(loss < threshold, 50, -1)}
    rows |= columns
    asked = config()
    asked["sweep"] = {"vary": {k: list(v) for k, v in (vary or {}).items()}, **section}
    plan = Plan((0,), tuple(Vary(k, tuple(v)) for k, v in (vary or {}).items()))
    place = claim(folder, "written", yaml.safe_dump(asked), plan)
    save_part(place, 0, pl.DataFrame(rows))
    sweep = Sweep(place, trust=True)
    finish(sweep, plan)
    return sweep
