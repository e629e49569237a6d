"""The sharpness at a sweep's best end, and the learning rates that it allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toyml.configured import instantiate
from toyml.errors import UserError
from toyml.measures import sharpness
from toyml.run import lookup, network
from toyml.sweep.folder import Sweep
from toyml.sweep.keys import Config, override, word
from toyml.sweep.outcome import CONVERGED
from toyml.sweep.plan import Vary
from toyml.theory import stability_limit

LR = "model.optimizer.lr"
NUMBERS = ("momentum", "dampening", "weight_decay")


@dataclass(frozen=True)
class LimitLine:
    """Where theory has the limit of a map.

    Attributes:
        x: Along its horizontal axis [g].
        y: Along its vertical axis [g].
        over: Whether the learning rate is along the horizontal axis.
        sharpness: Largest eigenvalue of the Hessian at the best end.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    over: bool
    sharpness: float

    @property
    def words(self) -> str:
        """For the legend."""
        return f"stability limit, sharpness {self.sharpness:.4g}"

    def diverges(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether the learning rate of each pair [r] is at or above the limit."""
        rate, other = (x, y) if self.over else (y, x)
        limits, along = (self.x, self.y) if self.over else (self.y, self.x)
        return rate >= np.interp(other, along, limits)


def best_end(sweep: Sweep) -> tuple[Config, dict[str, Tensor]]:
    """The converged training with the least loss: its cell's config, and its last parameters.

    Returns:
        The config, and [1, ...] by name in float64.

    Raises:
        UserError: None converged, or the net is too large for its parameters to be kept.
    """
    details = sweep.details
    converged = sweep.table["outcome"] == CONVERGED
    if "end" not in details.columns or not converged.any():
        raise UserError("no converged training whose last parameters were kept")
    best = details.filter(converged).sort("loss")[0]
    if best["end"][0] is None:
        raise UserError("the net that ended best is too large for its parameters to be kept")
    changes = {
        key: next(v for v in values if best[key][0] in (v, word(v)))
        for key, values in sweep.varied.items()
        if not Vary(key, tuple(values)).by_replica
    }
    config = override(sweep.config, changes)
    net = network(instantiate(config, ["model"], "the sweep's config", sweep.trust)["model"])
    flat = torch.tensor([best["end"][0].to_list()], dtype=torch.float64)
    return config, parameters_of(net, flat)


def parameters_of(net: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Parameters [r, ...] by name from rows [r, p] in the order of ``net.named_parameters()``."""
    named = list(net.named_parameters())
    pieces = torch.split(flat, [p.numel() for _, p in named], dim=1)
    return {n: v.reshape(-1, *p.shape) for (n, p), v in zip(named, pieces, strict=True)}


def end_sharpness(sweep: Sweep) -> float:
    """Largest eigenvalue of the Hessian at the best end.

    Raises:
        UserError: There is no such end.
    """
    config, parameters = best_end(sweep)
    built = instantiate(config, ["model", "data"], "the sweep's config", sweep.trust)
    task = built["model"].double()
    x, y = built["data"].arrays()
    return float(sharpness(network(task), task.loss, parameters, x, y)[0])


def highest_sharpness(sweep: Sweep) -> float | None:
    """The sharpness from which on the sweep's SGD leaves a minimum; ``None`` for other optimizers.

    The learning rate's own limit read the other way round: SGD with learning rate η is stable
    where η is below :func:`~toyml.theory.stability_limit`, which is inversely proportional to the
    sharpness (less weight decay).
    """
    kind = str(lookup(sweep.config, "model.optimizer.class_path"))
    if not kind.endswith("SGD") or any(k.startswith("model.optimizer.") for k in sweep.varied):
        return None
    fixed = {n: float(lookup(sweep.config, f"model.optimizer.{n}") or 0.0) for n in NUMBERS}
    decay = fixed.pop("weight_decay")
    nesterov = bool(lookup(sweep.config, "model.optimizer.nesterov"))
    rate = float(lookup(sweep.config, LR))
    return stability_limit(1.0, nesterov=nesterov, **fixed) / rate - decay


def limit_line(
    sweep: Sweep, x: str, y: str, xs: Sequence[float], ys: Sequence[float]
) -> LimitLine | None:
    """The learning rate from which on SGD diverges at the minimum, over another of its numbers.

    ``None`` where the map is of other settings, or the minimum is not known.
    """
    other = y if x == LR else x
    kind = str(lookup(sweep.config, "model.optimizer.class_path"))
    number = other.removeprefix("model.optimizer.")
    if LR not in (x, y) or number not in NUMBERS or not kind.endswith("SGD"):
        return None
    try:
        curvature = end_sharpness(sweep)
    except UserError:
        return None
    values = ys if other == y else xs
    along = np.linspace(min(values), max(values), 200)
    fixed = {n: float(lookup(sweep.config, f"model.optimizer.{n}") or 0.0) for n in NUMBERS}
    nesterov = bool(lookup(sweep.config, "model.optimizer.nesterov"))
    settings = [{**fixed, number: float(value)} for value in along]
    limits = np.array([stability_limit(curvature, nesterov=nesterov, **s) for s in settings])
    if limits.min() > max(xs if x == LR else ys):
        return None  # beyond the map
    over = x == LR
    across, up = (limits, along) if over else (along, limits)
    return LimitLine(across, up, over, curvature)
