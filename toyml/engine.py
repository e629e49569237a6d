"""The fast path: many optimizer steps inside one ``training_step``.

At toy size the frame around a step costs more than its arithmetic, so the loader hands over one
resident :class:`Block` that stands for K optimizer steps and :func:`run_block` performs them. The
results are bit-equal to the plain loop

    ``optimizer.zero_grad(); loss_fn(net(x), y).backward(); optimizer.step()``

because the same ATen operations run in the same order; what is left out is Python around them
(module calls, profiler hooks, ``zero_grad``). Where blocks would change the meaning of a setting
(DDP, mixed precision, gradient clipping, callbacks with per-step hooks, ...) :func:`obstacle`
says so and Lightning's ordinary automatic optimization runs instead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch import callbacks as stock
from lightning.pytorch.plugins import DoublePrecision
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from toyml.compiled import NotCompilable, compile_training
from toyml.errors import DivergedError

if TYPE_CHECKING:
    from toyml.compiled import Kernel

COMPILE_FROM = 100_000
"""A fit of at least this many steps is compiled unless the task says otherwise."""

# Hooks that Lightning calls once per optimizer step; a block would call them once per K.
STEP_HOOKS = (
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_start",
    "on_train_batch_end",
)
# Lightning's own callbacks that are right when a batch is a block: they look at the clock, at
# global_step (blocks end where ModelCheckpoint wants to save) or at the end of an epoch.
BLOCKWISE_CALLBACKS = (
    stock.Checkpoint,
    stock.EarlyStopping,
    stock.ProgressBar,
    stock.Timer,
    stock.ModelSummary,
)
MODULE_HOOKS = (
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "optimizer_step",
    "optimizer_zero_grad",
    *STEP_HOOKS,
)


@runtime_checkable
class StepObserver(Protocol):
    """A callback that looks at single steps, also inside a block."""

    needs_gradients: bool

    def wanted(self, first: int, last: int) -> np.ndarray:
        """Steps in ``first..last`` (inclusive) to look at, increasing, int64."""

    def observe(self, step: int, task: pl.LightningModule) -> None:
        """Look at the live parameters after ``step`` updates."""

    def observe_rows(self, steps: np.ndarray, rows: np.ndarray) -> None:
        """The same for several steps at once: ``rows`` [t, p] in parameter order."""


class Block:
    """K optimizer steps on data that is already where it is needed.

    Args:
        x: Inputs [n, d].
        y: Targets [n, k].
        steps: K, the number of optimizer steps the block stands for.
        batch_size: Rows per step; ``None`` is the full batch, one step per pass.
        shuffle: Draw a new order of the rows for every pass.
        seed: Seed of the order; pass e of the data uses ``batch_order(n, seed, e)``.
    """

    def __init__(
        self, x: Tensor, y: Tensor, steps: int, batch_size: int | None, shuffle: bool, seed: int
    ) -> None:
        self.x, self.y, self.steps = x, y, steps
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self._pass: tuple[int, Sequence[Tensor], Sequence[Tensor]] | None = None

    def to(self, device: torch.device, **_: object) -> Block:
        """Move the data; Lightning calls this once per block and it costs nothing when there."""
        self.x, self.y = self.x.to(device), self.y.to(device)
        return self

    @property
    def full(self) -> bool:
        """Whether every step sees all rows in their own order."""
        return self.batch_size is None

    def batches(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of steps ``first`` to ``last - 1`` (the step counts updates done before)."""
        if self.batch_size is None:
            for _ in range(first, last):
                yield self.x, self.y
            return
        per_pass = math.ceil(len(self.x) / self.batch_size)
        for step in range(first, last):
            number, index = divmod(step, per_pass)
            if self._pass is None or self._pass[0] != number:
                x, y = self.x, self.y
                if self.shuffle:
                    order = batch_order(len(x), self.seed, number).to(x.device)
                    x, y = x[order], y[order]
                self._pass = (number, x.split(self.batch_size), y.split(self.batch_size))
            yield self._pass[1][index], self._pass[2][index]

    def rows(self, first: int, last: int) -> Tensor | None:
        """Row indices of those batches, int64; ``None`` for the full batch."""
        if self.batch_size is None:
            return None
        n = len(self.x)
        per_pass = math.ceil(n / self.batch_size)
        passes = range(first // per_pass, (last - 1) // per_pass + 1)
        orders = [
            batch_order(n, self.seed, e) if self.shuffle else torch.arange(n) for e in passes
        ]
        start = (first - passes[0] * per_pass) * self.batch_size
        return torch.cat(orders)[start : start + (last - first) * self.batch_size]


def batch_order(n: int, seed: int, number: int) -> Tensor:
    """Order of the n rows in pass ``number`` (counted from 0) over the data.

    Every pass has a generator of its own, seeded by (seed, number), so that the order of any step
    follows from the step alone: a resumed fit needs no generator state to be bit-equal.
    """
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state) >> 1)
    return torch.randperm(n, generator=generator)


def obstacle(task: pl.LightningModule) -> str | None:
    """Why this fit cannot run in blocks, in words; ``None`` when it can."""
    trainer = task.trainer
    strategy, precision = trainer.strategy, trainer.precision_plugin
    if not getattr(type(task).training_step, "takes_blocks", False):
        return f"{type(task).__name__} has a training_step of its own"
    if not getattr(trainer.datamodule, "hands_over_blocks", False):  # type: ignore[attr-defined]
        return "the data does not come from a toyml.data module"
    if type(strategy) is not SingleDeviceStrategy:
        return f"strategy {type(strategy).__name__} needs Lightning's own backward"
    if type(precision) not in (Precision, DoublePrecision):
        return f"precision {trainer.precision} needs Lightning's own backward"
    for key, neutral in (
        ("gradient_clip_val", (None, 0)),
        ("accumulate_grad_batches", (1,)),
        ("overfit_batches", (0, 0.0)),
    ):
        if getattr(trainer, key) not in neutral:
            return f"trainer.{key} is {getattr(trainer, key)}"
    if not trainer.fast_dev_run and trainer.limit_train_batches not in (1.0, None):  # type: ignore[attr-defined]
        return f"trainer.limit_train_batches is {trainer.limit_train_batches}"
    if getattr(task, "needs_closure", False):
        return "the optimizer evaluates the loss several times per step"
    for hook in MODULE_HOOKS:
        if is_overridden(hook, task, pl.LightningModule):
            return f"{type(task).__name__} overrides {hook}"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, (*BLOCKWISE_CALLBACKS, StepObserver)) or getattr(
            callback, "blockwise", False
        ):
            continue
        for hook in STEP_HOOKS:
            if is_overridden(hook, callback, stock.Callback):
                return f"callback {type(callback).__name__} uses {hook}"
    return None


class Training:
    """One fit's engine: what does not change from block to block.

    Attributes:
        compiled_note: One line about the compiled route: used, or why not; "" when not asked.
        seconds: Wall time spent inside blocks, without compilation.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.kernel: Kernel | None = None
        self.compiled_note = ""
        self.seconds = 0.0
        self._tried = False

    def run(self, block: Block) -> dict[str, Any]:
        """Perform the block's optimizer steps; see :func:`block_end` for where it stops."""
        trainer = self.task.trainer
        first = trainer.global_step
        last = block_end(trainer, first, block.steps)
        observers = [c for c in trainer.callbacks if isinstance(c, StepObserver)]
        kernel = self._kernel(block, observers)
        start = time.perf_counter()
        run = self._run_eager if kernel is None else self._run_compiled
        done, losses = 0, []
        try:
            done, losses = run(block, first, last, observers)
        finally:
            self.seconds += time.perf_counter() - start
            if not losses:
                done = self._done
            count_steps(trainer, done)
        if done < last - first:
            self.raise_diverged(first + done, losses[-1])
        return {"losses": losses, "first_step": first}

    # -- eager -------------------------------------------------------------------------------

    def _run_eager(
        self, block: Block, first: int, last: int, observers: list[StepObserver]
    ) -> tuple[int, list[float]]:
        task = self.task
        self._done = 0
        optimizer = task.optimizers(use_pl_optimizer=False)
        forward, loss_fn = chain(task.net) or task.net, task.loss
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        keep = any(o.needs_gradients for o in observers)
        update = Update(optimizer, parameters)
        schedule = task.schedule
        due = {int(s): [] for o in observers for s in o.wanted(first + 1, last)}
        for observer in observers:
            for step in observer.wanted(first + 1, last):
                due[int(step)].append(observer)
        log_every = task.trainer.log_every_n_steps or 0
        losses: list[float] = []
        step = first
        for x, y in block.batches(first, last):
            output = forward(x)
            loss = loss_fn(output, y)
            value = loss.item()
            losses.append(value)
            if not math.isfinite(value):
                return step - first, losses
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            if log_every and step % log_every == 0:
                task.log_row(step, value, output.detach(), y)
            with torch.no_grad():
                update(gradients)
            schedule(loss)
            step += 1
            self._done = step - first
            if step in due:
                if keep:
                    update.publish(gradients)
                for observer in due[step]:
                    observer.observe(step, task)
        update.publish(gradients)
        return step - first, losses

    # -- compiled ----------------------------------------------------------------------------

    def _run_compiled(
        self, block: Block, first: int, last: int, observers: list[StepObserver]
    ) -> tuple[int, list[float]]:
        task, kernel = self.task, self.kernel
        assert kernel is not None
        self._done = 0
        log_every = task.trainer.log_every_n_steps or 0
        asked = [o.wanted(first + 1, last) for o in observers]
        logged = np.arange(-first % log_every + first, last, log_every) if log_every else []
        wanted = np.unique(np.concatenate([*asked, logged, [first]]).astype(np.int64))
        wanted = wanted[wanted > first]
        start = torch.cat([p.detach().reshape(-1) for p in task.net.parameters()])
        result = kernel.run(
            block.x, block.y, last - first, torch.from_numpy(wanted - first), block.rows(first, last)
        )
        done = result.steps_done
        rows = result.snapshots.numpy()
        wanted = wanted[: len(rows)]
        for observer, steps in zip(observers, asked, strict=True):
            chosen = np.isin(wanted, steps)
            observer.observe_rows(wanted[chosen], rows[chosen])
        losses: list[float] = result.losses.tolist()
        for step in logged:
            if step - first < len(losses) and math.isfinite(losses[step - first]):
                row = start if step == first else result.snapshots[np.searchsorted(wanted, step)]
                x, y = next(block.batches(int(step), int(step) + 1))
                task.log_row(int(step), losses[step - first], outputs_at(task.net, row, x), y)
        self._done = done
        return done, losses

    def _kernel(self, block: Block, observers: list[StepObserver]) -> Kernel | None:
        if self._tried:
            return self.kernel
        self._tried = True
        task = self.task
        remaining = task.trainer.max_steps - task.trainer.global_step
        if task.compiled is False or (task.compiled is None and remaining < COMPILE_FROM):
            return None
        try:
            if task.lr_schedulers() is not None:
                raise NotCompilable("an lr_scheduler changes the learning rate at every step")
            if any(o.needs_gradients for o in observers):
                raise NotCompilable("gradients or optimizer state are recorded")
            self.kernel = compile_training(
                task.net,
                task.loss,
                task.optimizers(use_pl_optimizer=False),
                len(block.x),
                block.batch_size,
            )
        except NotCompilable as reason:
            self.compiled_note = f"eager route: {reason}"
        else:
            how = "from the cache" if self.kernel.cached else f"{self.kernel.compile_seconds:.1f} s"
            self.compiled_note = f"compiled route: C kernel ({how})"
        rank_zero_info(f"toyml: {self.compiled_note}")
        return self.kernel

    def raise_diverged(self, step: int, value: float) -> None:
        """Stop with the step number and what to try.

        Raises:
            DivergedError: Always.
        """
        lr = self.task.optimizers(use_pl_optimizer=False).param_groups[0].get("lr")
        raise DivergedError(
            f"the loss is {value} at step {step} with lr {lr}; every snapshot before is kept. Try a "
            "smaller --model.optimizer.lr, --trainer.precision 64-true, or a loss on logits "
            "(BCEWithLogitsLoss)",
            step,
        )


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


PLAIN: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Sigmoid: torch.sigmoid,
    nn.Tanh: torch.tanh,
    nn.ReLU: torch.relu,
}


def chain(net: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The functions behind ``net(x)`` when it is a chain without hooks, else ``None``.

    Seven microseconds of ``nn.Module.__call__`` per layer become one dispatch each; the tensors
    and the operations are the same.
    """
    functions: list[Callable[[Tensor], Tensor]] = []
    if not _collect(net, functions):
        return None

    def forward(x: Tensor) -> Tensor:
        for function in functions:
            x = function(x)
        return x

    return forward


def _collect(module: nn.Module, functions: list[Callable[[Tensor], Tensor]]) -> bool:
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    if any(hooks):
        return False
    if type(module).forward is nn.Sequential.forward:
        return all(_collect(child, functions) for child in module.children())
    if type(module) is nn.Linear:
        weight, bias = module.weight, module.bias
        functions.append(lambda x: nn.functional.linear(x, weight, bias))
    elif type(module) in PLAIN:
        functions.append(PLAIN[type(module)])
    elif type(module) is not nn.Identity:
        functions.append(module)
    return True


def outputs_at(net: nn.Module, row: Tensor, x: Tensor) -> Tensor:
    """Output of the net at the flat parameters ``row`` [p], the net itself left alone."""
    parameters, i = {}, 0
    for name, parameter in net.named_parameters():
        parameters[name] = row[i : i + parameter.numel()].view_as(parameter)
        i += parameter.numel()
    with torch.no_grad():
        return torch.func.functional_call(net, parameters, (x,))  # type: ignore[no-any-return]


def block_end(trainer: pl.Trainer, first: int, steps: int) -> int:
    """Where a block that starts at ``first`` ends.

    At the next multiple of ``steps``, of every ``ModelCheckpoint(every_n_train_steps=n)`` (which
    saves only when ``global_step % n == 0``), or at ``max_steps``, whichever comes first.
    """
    every = [steps]
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, stock.ModelCheckpoint):
            every.append(callback._every_n_train_steps)
    ends = [first - first % n + n for n in every if n]
    if trainer.max_steps >= 0:
        ends.append(trainer.max_steps)
    return min(ends)


def count_steps(trainer: pl.Trainer, steps: int) -> None:
    """Tell Lightning that ``steps`` updates were done.

    The one private touch of the engine: ``trainer.global_step`` is this counter, and
    ``LightningOptimizer.step``, which would have advanced it, costs 17 microseconds a step.
    """
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
    progress.ready += steps
    progress.completed += steps
