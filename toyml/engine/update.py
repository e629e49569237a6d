"""``optimizer.step()`` without Python around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Update:
    """``optimizer.step()`` for gradients in hand, bit-equal and without Python around it.

    SGD and Adam(W) on the CPU are written with ``torch._foreach_*`` operations, which run the
    very kernels of torch's single-tensor loop, over the optimizer's own state tensors; any other
    optimizer or setting gets its own ``step``.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: list[Tensor]) -> None:
        self.optimizer, self.parameters = optimizer, parameters
        self._groups: list[Callable[[list[Tensor]], None]] | None = None
        if _is_plain(optimizer):
            rule = _sgd if type(optimizer) is torch.optim.SGD else _adam
            self._groups = [rule(optimizer, group) for group in optimizer.param_groups]
            # What optimizer.step would have set; lr schedulers warn when it is missing.
            optimizer._opt_called = True  # type: ignore[attr-defined]

    def __call__(self, gradients: Sequence[Tensor | None]) -> None:
        """Apply one update."""
        if self._groups is None or any(g is None for g in gradients):
            self.publish(gradients)
            self.optimizer.step()
            return
        i = 0
        for group, apply in zip(self.optimizer.param_groups, self._groups, strict=True):
            n = len(group["params"])
            apply(list(gradients[i : i + n]))  # type: ignore[arg-type]
            i += n

    def publish(self, gradients: Sequence[Tensor | None]) -> None:
        """Leave the gradients where the plain loop leaves them: in ``.grad``."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient


def _is_plain(optimizer: torch.optim.Optimizer) -> bool:
    """Whether torch would run its single-tensor SGD or Adam(W) loop on the CPU."""
    kinds = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
    flags = ("maximize", "foreach", "fused", "amsgrad", "capturable", "differentiable")
    hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    return (
        type(optimizer) in kinds
        and not hooked
        and not any(group.get(flag) for group in optimizer.param_groups for flag in flags)
        and all(isinstance(group["lr"], float | int) for group in optimizer.param_groups)
        and all(p.device.type == "cpu" for g in optimizer.param_groups for p in g["params"])
    )


def _sgd(
    optimizer: torch.optim.Optimizer, group: dict[str, Any]
) -> Callable[[list[Tensor]], None]:
    parameters = group["params"]
    decay, momentum = group["weight_decay"], group["momentum"]
    undamped, nesterov = 1 - group["dampening"], group["nesterov"]
    buffers = [optimizer.state[p].get("momentum_buffer") for p in parameters] if momentum else []

    def apply(gradients: list[Tensor]) -> None:
        nonlocal buffers
        if decay:
            gradients = torch._foreach_add(gradients, parameters, alpha=decay)
        if momentum:
            if buffers[0] is None:
                # The first step is not dampened: the buffer starts as the gradient itself.
                buffers = [g.clone() for g in gradients]
                for parameter, buffer in zip(parameters, buffers, strict=True):
                    optimizer.state[parameter]["momentum_buffer"] = buffer
            else:
                torch._foreach_mul_(buffers, momentum)
                torch._foreach_add_(buffers, gradients, alpha=undamped)
            if nesterov:
                gradients = torch._foreach_add(gradients, buffers, alpha=momentum)
            else:
                gradients = buffers
        torch._foreach_add_(parameters, gradients, alpha=-group["lr"])

    return apply


def _adam(
    optimizer: torch.optim.Optimizer, group: dict[str, Any]
) -> Callable[[list[Tensor]], None]:
    parameters = group["params"]
    beta1, beta2 = group["betas"]
    eps, decay = group["eps"], group["weight_decay"]
    decoupled = group.get("decoupled_weight_decay", False)
    for p in parameters:
        if not optimizer.state[p]:
            optimizer.state[p] = {
                "step": torch.tensor(0.0, dtype=torch.get_default_dtype()),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
    states = [optimizer.state[p] for p in parameters]
    means, squares = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
    counts = [s["step"] for s in states]

    def apply(gradients: list[Tensor]) -> None:
        torch._foreach_add_(counts, 1)
        step, lr = counts[0].item(), group["lr"]
        if decay:
            if decoupled:
                torch._foreach_mul_(parameters, 1 - lr * decay)
            else:
                gradients = torch._foreach_add(gradients, parameters, alpha=decay)
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        size, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
        denominators = torch._foreach_sqrt(squares)
        torch._foreach_div_(denominators, root)
        torch._foreach_add_(denominators, eps)
        torch._foreach_addcdiv_(parameters, means, denominators, value=-size)

    return apply
