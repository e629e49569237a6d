"""What an optimizer does, read off it: SGD or Adam, and each group's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import toyml.optim as own
from toyml.errors import UserError
from toyml.optim.adam import Adaptive
from toyml.optim.setting import Known, is_zero
from toyml.optim.sgd import Descent

SGDS = (torch.optim.SGD, own.SGD)
ADAMS = (torch.optim.Adam, torch.optim.AdamW, own.Adam, own.AdamW)
COUPLING = {
    "LBFGS": "searches along one line for all replicas",
    "Adafactor": "scales by norms over all replicas",
    "Muon": "orthogonalizes matrices over all replicas",
}
"""Optimizers of torch.optim that do not treat every number by itself, and what they do."""


@dataclass(frozen=True)
class Rule:
    """SGD or Adam(W) with the settings of each parameter group.

    Attributes:
        adam: Adam or AdamW instead of SGD.
        groups: Settings by their names in ``param_groups``, each a number or float64 [R].
        parameters: The stacked parameters [R, ...] of each group.
    """

    adam: bool
    groups: list[dict[str, Any]]
    parameters: list[list[Tensor]]

    @property
    def update(self) -> type[Descent] | type[Adaptive]:
        """The class that performs an update."""
        return Adaptive if self.adam else Descent

    def state_names(self, group: int) -> tuple[str, ...]:
        """Tensors per parameter that the optimizer keeps for a group, under torch's names."""
        if self.adam:
            return ("exp_avg", "exp_avg_sq")
        return () if is_zero(self.groups[group]["momentum"]) else ("momentum_buffer",)


def read_rule(optimizer: torch.optim.Optimizer) -> Rule | None:
    """The rule of an SGD or Adam(W) of torch.optim or toyml.optim; ``None`` for anything else."""
    kind = type(optimizer)
    hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    flags = ("amsgrad", "capturable", "differentiable")
    if (
        kind not in (*SGDS, *ADAMS)
        or hooked
        or any(group.get(flag) for group in optimizer.param_groups for flag in flags)
    ):
        return None
    adam = kind in ADAMS
    numbers = ("lr", "weight_decay", *(("eps",) if adam else ("momentum", "dampening")))
    groups = []
    for group in optimizer.param_groups:
        read: dict[str, Any] = {name: _known(group[name]) for name in numbers}
        read["maximize"] = group["maximize"]
        if adam:
            read["betas"] = tuple(map(_known, group["betas"]))
            default = isinstance(optimizer, torch.optim.AdamW)
            read["decoupled_weight_decay"] = group.get("decoupled_weight_decay", default)
        else:
            read["nesterov"] = group["nesterov"]
        groups.append(read)
    return Rule(adam, groups, [list(group["params"]) for group in optimizer.param_groups])


def _known(value: Any) -> Known:
    if isinstance(value, Tensor) and value.numel() > 1:
        return value.to(torch.float64)
    return float(value)


def narrowed(group: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """A group's settings for replicas start to stop - 1."""

    def cut(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(cut, value))
        return value[start:stop] if isinstance(value, Tensor) else value

    return {name: cut(value) for name, value in group.items()}


def refuse_coupling(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer that lets one replica see another.

    Raises:
        UserError: It does.
    """
    for kind in type(optimizer).__mro__:
        if kind.__name__ in COUPLING:
            raise UserError(
                f"optimizer {kind.__name__} {COUPLING[kind.__name__]}; train replicas with one "
                "that treats every number by itself, such as SGD, Adam or RMSprop"
            )
