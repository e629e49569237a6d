"""Stochastic gradient descent whose settings may differ per replica."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from toyml.optim.setting import (
    Known,
    Setting,
    Spread,
    add_,
    coefficient,
    is_zero,
    leading,
    plus,
    same_replicas,
    scale_,
    setting,
)


class SGD(Optimizer):
    r"""``torch.optim.SGD`` whose numbers may be one per replica.

    With weight decay :math:`\lambda`, momentum :math:`\mu`, dampening :math:`\tau`, rate
    :math:`\gamma`, as in ``torch.optim.SGD``:

    .. math::
        g \leftarrow \nabla L + \lambda \theta, \quad
        b \leftarrow \mu b + (1 - \tau) g, \quad
        \theta \leftarrow \theta - \gamma b

    The first b is g itself, undampened; with Nesterov's look-ahead the step is along
    :math:`g + \mu b`. Where a replica's momentum is 0 its step is along g.

    Args:
        params: Parameters or groups of them; with settings per replica their first axis is R.
        lr: Rate, at least 0.
        momentum: Momentum, at least 0.
        dampening: Dampening of the momentum.
        weight_decay: The L2 penalty's factor, at least 0.
        nesterov: Look ahead; needs momentum everywhere and no dampening.
        maximize: Ascend instead.

    Raises:
        ValueError: A setting out of range or of the wrong length.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(2, 1))
        >>> p.grad = torch.ones(2, 1)
        >>> SGD([p], lr=[0.1, 0.5]).step()
        >>> p.detach().flatten()
        tensor([0.9000, 0.5000])
    """

    def __init__(
        self,
        params: Any,
        lr: Setting = 1e-3,
        momentum: Setting = 0.0,
        dampening: Setting = 0.0,
        weight_decay: Setting = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, its settings checked."""
        group = {**self.defaults, **param_group}
        known = {
            "lr": setting("lr", group["lr"]),
            "momentum": setting("momentum", group["momentum"]),
            "dampening": setting("dampening", group["dampening"], least=-float("inf")),
            "weight_decay": setting("weight_decay", group["weight_decay"]),
        }
        if group["nesterov"]:
            momentum = torch.as_tensor(known["momentum"])
            if not (momentum > 0).all() or not is_zero(known["dampening"]):
                raise ValueError("nesterov needs a momentum above 0 and no dampening, everywhere")
        super().add_param_group({**param_group, **known})
        same_replicas(known, self.param_groups[-1]["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Apply one update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moving = not is_zero(group["momentum"])
            found = [p for p in group["params"] if p.grad is not None]
            begun = [p for p in found if "momentum_buffer" in self.state[p]]
            fresh = [p for p in found if "momentum_buffer" not in self.state[p]]
            for parameters in (begun, fresh):
                if not parameters:
                    continue
                if moving and parameters is fresh:
                    for p in fresh:
                        self.state[p]["momentum_buffer"] = torch.empty_like(p)
                buffers = [self.state[p]["momentum_buffer"] for p in parameters if moving]
                update = Descent(parameters, group, leading)
                update([p.grad for p in parameters], buffers, parameters is begun)
        return loss


class Descent:
    """SGD's update of some tensors, for settings that stay as they are.

    Args:
        parameters: What is updated, in place.
        group: Settings by their names in ``param_groups``.
        spread: How settings [R] lie over a parameter.
    """

    def __init__(
        self, parameters: Sequence[Tensor], group: Mapping[str, Any], spread: Spread
    ) -> None:
        self.parameters = [p.detach() for p in parameters]
        self.nesterov, self.maximize = group["nesterov"], group["maximize"]
        momentum: Known = group["momentum"]
        keep: Known = 1 - group["dampening"]
        if isinstance(momentum, Tensor):
            # Without momentum there is no dampening either: the step is along the gradient.
            keep = torch.where(momentum == 0, 1.0, torch.as_tensor(keep, dtype=torch.float64))
        self.moving = not is_zero(momentum)
        self.decays = not is_zero(group["weight_decay"])
        self._rate = coefficient(-group["lr"], self.parameters, spread)
        self._momentum = coefficient(momentum, self.parameters, spread)
        self._keep = coefficient(keep, self.parameters, spread)
        self._decay = coefficient(group["weight_decay"], self.parameters, spread)

    def __call__(self, gradients: Sequence[Tensor], buffers: Sequence[Tensor], begun: bool) -> None:
        """One update.

        Args:
            gradients: One per parameter; they are left as they are.
            buffers: Momentum buffers, one per parameter; none without momentum.
            begun: Whether the buffers hold something yet.
        """
        found, buffers = list(gradients), list(buffers)
        if self.maximize:
            found = list(torch._foreach_neg(found))
        if self.decays:
            found = plus(found, self.parameters, self._decay)
        if self.moving:
            if begun:
                scale_(buffers, self._momentum)
                add_(buffers, found, self._keep)
            else:
                torch._foreach_copy_(buffers, found)
            found = plus(found, buffers, self._momentum) if self.nesterov else buffers
        add_(self.parameters, found, self._rate)
