"""Adam and AdamW whose settings may differ per replica."""

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


class Adam(Optimizer):
    r"""``torch.optim.Adam`` whose numbers may be one per replica.

    .. math::
        g \leftarrow \nabla L + \lambda \theta, \quad
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        \theta \leftarrow \theta - \frac{\gamma}{1 - \beta_1^t}
            \frac{m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Kingma and Ba (2015), algorithm 1, with PyTorch's place for the epsilon.

    Args:
        params: Parameters or groups of them; with settings per replica their first axis is R.
        lr: Rate, at least 0.
        betas: The two decay rates of the means, each in [0, 1), each a number or one per replica.
        eps: Added to the root, at least 0.
        weight_decay: The L2 penalty's factor, at least 0.
        maximize: Ascend instead.

    Raises:
        ValueError: A setting out of range or of the wrong length.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(2, 1))
        >>> p.grad = torch.ones(2, 1)
        >>> Adam([p], lr=[0.1, 0.5]).step()
        >>> p.detach().flatten()
        tensor([0.9000, 0.5000])
    """

    decoupled = False

    def __init__(
        self,
        params: Any,
        lr: Setting = 1e-3,
        betas: tuple[Setting, Setting] = (0.9, 0.999),
        eps: Setting = 1e-8,
        weight_decay: Setting = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "decoupled_weight_decay": self.decoupled,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, its settings checked."""
        group = {**self.defaults, **param_group}
        beta1, beta2 = (setting(f"betas[{i}]", b, below=1.0) for i, b in enumerate(group["betas"]))
        known = {
            "lr": setting("lr", group["lr"]),
            "eps": setting("eps", group["eps"]),
            "weight_decay": setting("weight_decay", group["weight_decay"]),
        }
        super().add_param_group({**param_group, **known, "betas": (beta1, beta2)})
        known = {**known, "betas[0]": beta1, "betas[1]": beta2}
        same_replicas(known, self.param_groups[-1]["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Apply one update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_age: dict[float, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"] = torch.zeros_like(p)
                    state["exp_avg_sq"] = torch.zeros_like(p)
                state["step"] += 1
                by_age.setdefault(float(state["step"]), []).append(p)
            for step, parameters in by_age.items():
                states = [self.state[p] for p in parameters]
                Adaptive(parameters, group, leading)(
                    [p.grad for p in parameters if p.grad is not None],
                    [state["exp_avg"] for state in states],
                    [state["exp_avg_sq"] for state in states],
                    step,
                )
        return loss


class AdamW(Adam):
    r"""``torch.optim.AdamW`` whose numbers may be one per replica.

    As :class:`Adam`, but the decay is no part of the gradient: :math:`\theta \leftarrow (1 -
    \gamma \lambda) \theta` before the step. Loshchilov and Hutter (2019), algorithm 2.

    Args:
        params: Parameters or groups of them; with settings per replica their first axis is R.
        lr: Rate, at least 0.
        betas: The two decay rates of the means, each in [0, 1), each a number or one per replica.
        eps: Added to the root, at least 0.
        weight_decay: How fast weights shrink, at least 0.
        maximize: Ascend instead.

    Raises:
        ValueError: A setting out of range or of the wrong length.
    """

    decoupled = True

    def __init__(
        self,
        params: Any,
        lr: Setting = 1e-3,
        betas: tuple[Setting, Setting] = (0.9, 0.999),
        eps: Setting = 1e-8,
        weight_decay: Setting = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)


class Adaptive:
    """Adam's update of some tensors, for settings that stay as they are.

    Args:
        parameters: What is updated, in place.
        group: Settings by their names in ``param_groups``.
        spread: How settings [R] lie over a parameter.
    """

    def __init__(
        self, parameters: Sequence[Tensor], group: Mapping[str, Any], spread: Spread
    ) -> None:
        self.parameters, self._spread = [p.detach() for p in parameters], spread
        self.maximize = group["maximize"]
        self._lr, (self._beta1, self._beta2) = group["lr"], group["betas"]
        decay: Known = group["weight_decay"]
        self.decays = not is_zero(decay)
        self.decoupled = group["decoupled_weight_decay"]
        self._decay = self._along(1 - self._lr * decay if self.decoupled else decay)
        self._fresh = self._along(1 - self._beta1)
        self._share, self._fresh_square = self._along(self._beta2), self._along(1 - self._beta2)
        self._eps = self._along(group["eps"])

    def _along(self, value: Known) -> Any:
        return coefficient(value, self.parameters, self._spread)

    def __call__(
        self,
        gradients: Sequence[Tensor],
        means: Sequence[Tensor],
        squares: Sequence[Tensor],
        step: float,
    ) -> None:
        """One update.

        Args:
            gradients: One per parameter; they are left as they are.
            means: Running means m, one per parameter.
            squares: Running means v, one per parameter.
            step: Number of this update, from 1.
        """
        found, means, squares = list(gradients), list(means), list(squares)
        if self.maximize:
            found = list(torch._foreach_neg(found))
        if self.decays and self.decoupled:
            scale_(self.parameters, self._decay)
        elif self.decays:
            found = plus(found, self.parameters, self._decay)
        torch._foreach_lerp_(means, found, self._fresh)
        if isinstance(self._share, list):
            torch._foreach_lerp_(squares, torch._foreach_mul(found, found), self._fresh_square)
        else:
            torch._foreach_mul_(squares, self._share)
            torch._foreach_addcmul_(squares, found, found, value=self._fresh_square)
        roots = list(torch._foreach_sqrt(squares))
        scale_(roots, self._along((1 - self._beta2**step) ** -0.5))
        torch._foreach_add_(roots, self._eps)
        size = -self._lr / (1 - self._beta1**step)
        if isinstance(size, Tensor):
            moved = list(torch._foreach_div(means, roots))
            add_(self.parameters, moved, self._along(size))
        else:
            torch._foreach_addcdiv_(self.parameters, means, roots, value=size)
