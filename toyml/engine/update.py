"""``optimizer.step()`` without Python around it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor


class Update:
    """``optimizer.step()`` for gradients in hand, bit-equal and without Python around it.

    SGD and Adam(W) on the CPU keep gradients and state of a parameter group as one vector each and
    do with one operation what torch's single-tensor loop does once per tensor: elementwise, each
    element meets the same operations in the same order. The optimizer's state holds views of those
    vectors, so checkpoints see what they always see. Any other optimizer gets its own ``step``.

    It is made for one block of steps; :meth:`finish` ends it.

    Args:
        optimizer: The optimizer; its settings are read at every step: schedulers change them.
        parameters: All its parameters, in the order of its groups.

    Attributes:
        gradients: Where to write gradients, in the order of ``parameters``: that spares a copy.
            ``None`` for a parameter whose gradient has to be a tensor of its own.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> None:
        self.optimizer, self.parameters = optimizer, parameters
        self.gradients: list[Tensor | None] = [None] * len(parameters)
        self._rules: list[_SGD | _Adam] = []
        if _is_plain(optimizer):
            rule = _SGD if type(optimizer) is torch.optim.SGD else _Adam
            self._rules = [rule(optimizer, group) for group in optimizer.param_groups]
            self.gradients = [view for rule in self._rules for view in rule.gradient.views]
            # What optimizer.step would have set; lr schedulers warn when it is missing.
            optimizer._opt_called = True  # type: ignore[attr-defined]

    def __call__(self, gradients: Sequence[Tensor | None]) -> None:
        """Apply one update."""
        if self._rules and gradients[0] is not self.gradients[0]:
            self._take(gradients)
        if self._rules:
            for rule in self._rules:
                rule()
        else:
            self.publish(gradients)
            self.optimizer.step()

    def _take(self, gradients: Sequence[Tensor | None]) -> None:
        """Copy gradients computed elsewhere."""
        if any(gradient is None for gradient in gradients):
            # torch skips such a parameter, and its count of steps falls behind the others'.
            self.finish()
            self._rules = []
        else:
            torch._foreach_copy_(self.gradients, gradients)  # type: ignore[arg-type]

    def publish(self, gradients: Sequence[Tensor | None]) -> None:
        """Leave the gradients where the plain loop leaves them: in ``.grad``."""
        for parameter, gradient, ours in zip(
            self.parameters, gradients, self.gradients, strict=True
        ):
            # The next step writes over ours; who looks at .grad may keep it.
            copy = gradient is not None and gradient is ours
            parameter.grad = gradient.clone() if copy else gradient  # type: ignore[union-attr]

    def finish(self) -> None:
        """Leave the optimizer's state complete; updates may follow."""
        for rule in self._rules:
            rule.finish()


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
        and all(_is_even(optimizer, group["params"]) for group in optimizer.param_groups)
    )


def _is_even(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> bool:
    """Whether one vector can stand for a group: one kind of number, and one history."""
    kinds = {(p.device.type, p.dtype) for p in parameters}
    histories = {
        (frozenset(state), float(state.get("step", 0)), state.get("momentum_buffer") is None)
        for state in (optimizer.state.get(p, {}) for p in parameters)
    }
    return len(histories) == 1 and kinds in (
        {("cpu", torch.float32)},
        {("cpu", torch.float64)},
    )


class _Packed:
    """One zero vector, and views of it with the shapes of some tensors.

    Each view starts at a multiple of 64 bytes, as tensors that torch allocates do: BLAS may choose
    by alignment how it sums. The gaps stay zero.
    """

    def __init__(self, like: Sequence[Tensor]) -> None:
        unit = 64 // like[0].element_size()
        sizes = [-(-tensor.numel() // unit) * unit for tensor in like]
        self.vector = like[0].new_zeros(sum(sizes))
        self.views = [
            piece[: tensor.numel()].view(tensor.shape)
            for piece, tensor in zip(torch.split(self.vector, sizes), like, strict=True)
        ]

    def keep(self, states: Sequence[dict[str, Any]], name: str) -> None:
        """Put the views into an optimizer's state, with the values found there."""
        for view, state in zip(self.views, states, strict=True):
            if state.get(name) is not None:
                view.copy_(state[name])
            state[name] = view


@lru_cache(maxsize=64)
def _number(value: float, dtype: torch.dtype) -> Tensor:
    """A number as a tensor without dimensions: an operation takes a microsecond to make one."""
    return torch.tensor(value, dtype=dtype)


class _SGD:
    """SGD of one group: weight decay, momentum with dampening, Nesterov's step, as torch has it."""

    def __init__(self, optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
        self.optimizer, self.group = optimizer, group
        self.parameters = [p.detach() for p in group["params"]]
        self.gradient = _Packed(self.parameters)
        first = optimizer.state.get(group["params"][0], {})
        self._begun = first.get("momentum_buffer") is not None
        if self._begun:
            self._keep_buffer()

    @cached_property
    def _buffer(self) -> _Packed:
        return _Packed(self.parameters)

    @cached_property
    def _scratch(self) -> _Packed:
        return _Packed(self.parameters)

    def __call__(self) -> None:
        """One update."""
        group, found = self.group, self.gradient
        momentum, decay = group["momentum"], group["weight_decay"]
        if decay:
            self._scratch.vector.copy_(found.vector)
            found = self._scratch
            torch._foreach_add_(found.views, self.parameters, alpha=decay)
        if momentum:
            buffer = self._buffer
            if self._begun:
                buffer.vector.mul_(_number(momentum, buffer.vector.dtype))
                buffer.vector.add_(found.vector, alpha=1 - group["dampening"])
            else:
                # The first step is not dampened: the buffer starts as the gradient itself.
                self._keep_buffer()
                buffer.vector.copy_(found.vector)
                self._begun = True
            if group["nesterov"]:
                torch.add(found.vector, buffer.vector, alpha=momentum, out=self._scratch.vector)
            found = self._scratch if group["nesterov"] else buffer
        torch._foreach_add_(self.parameters, found.views, alpha=-group["lr"])

    def _keep_buffer(self) -> None:
        states = [self.optimizer.state[p] for p in self.group["params"]]
        self._buffer.keep(states, "momentum_buffer")

    def finish(self) -> None:
        """Nothing: the buffers are in the state, and torch counts no steps of SGD."""


class _Adam:
    """Adam(W) of one group, operation by operation what torch's single-tensor loop computes."""

    def __init__(self, optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
        self.group = group
        self.parameters = [p.detach() for p in group["params"]]
        self.gradient = _Packed(self.parameters)
        self._mean, self._square = _Packed(self.parameters), _Packed(self.parameters)
        self._root = _Packed(self.parameters)
        self.states = [optimizer.state[p] for p in group["params"]]
        for state in self.states:
            state.setdefault("step", torch.tensor(0.0, dtype=torch.get_default_dtype()))
        self.step = self.states[0]["step"].item()
        self._mean.keep(self.states, "exp_avg")
        self._square.keep(self.states, "exp_avg_sq")

    @cached_property
    def _scratch(self) -> _Packed:
        return _Packed(self.parameters)

    def __call__(self) -> None:
        """One update."""
        group, gradient = self.group, self.gradient.vector
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        if decay and group.get("decoupled_weight_decay", False):
            torch._foreach_mul_(self.parameters, 1 - lr * decay)
        elif decay:
            self._scratch.vector.copy_(gradient)
            gradient = self._scratch.vector
            torch._foreach_add_(self._scratch.views, self.parameters, alpha=decay)
        square, root, dtype = self._square.vector, self._root.vector, gradient.dtype
        self._mean.vector.lerp_(gradient, 1 - beta1)
        square.mul_(_number(beta2, dtype)).addcmul_(gradient, gradient, value=1 - beta2)
        self.step += 1
        torch.sqrt(square, out=root)
        root.div_((1 - beta2**self.step) ** 0.5).add_(_number(group["eps"], dtype))
        size = lr / (1 - beta1**self.step)
        torch._foreach_addcdiv_(self.parameters, self._mean.views, self._root.views, value=-size)

    def finish(self) -> None:
        """Write the number of steps, which is counted here, into the state."""
        for state in self.states:
            state["step"].fill_(self.step)
