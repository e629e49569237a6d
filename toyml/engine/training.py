"""The steps of one fit: eager, or in a compiled kernel."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from toyml.compiled import NotCompilable, compile_training
from toyml.engine.block import Block
from toyml.engine.chain import differentiate
from toyml.engine.route import StepObserver, block_end, count_steps
from toyml.engine.update import Update
from toyml.errors import DivergedError

if TYPE_CHECKING:
    from toyml.compiled import Kernel

COMPILE_FROM = 100_000
"""A fit of at least this many steps is compiled unless the task says otherwise."""


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
        self._done = 0

    def run(self, block: Block) -> dict[str, Any]:
        """Perform the block's optimizer steps; see :func:`block_end` for where it stops."""
        trainer = self.task.trainer
        first = trainer.global_step
        last = block_end(trainer, first, block.steps)
        observers = [c for c in trainer.callbacks if isinstance(c, StepObserver)]
        kernel = self._kernel(block, observers)
        start = time.perf_counter()
        run = self._run_eager if kernel is None else self._run_compiled
        self._done = 0
        try:
            done, losses = run(block, first, last, observers)
        finally:
            # Also after Ctrl-C in the middle of a block: the checkpoint counts the steps done.
            self.seconds += time.perf_counter() - start
            count_steps(trainer, self._done)
        if done < last - first:
            self.raise_diverged(first + done, losses[-1])
        return {"losses": losses, "first_step": first}

    # -- eager -------------------------------------------------------------------------------

    def _run_eager(
        self, block: Block, first: int, last: int, observers: list[StepObserver]
    ) -> tuple[int, list[float]]:
        task = self.task
        optimizer = task.optimizers(use_pl_optimizer=False)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        evaluate = differentiate(task.net, task.loss, parameters)
        update = Update(optimizer, parameters)
        scheduled = task.lr_scheduler is not None
        publish = any(o.needs_gradients for o in observers)
        due: dict[int, list[StepObserver]] = {}
        for observer in observers:
            for step in observer.wanted(first + 1, last).tolist():
                due.setdefault(step, []).append(observer)
        log_every = task.trainer.log_every_n_steps or last + 1
        losses: list[float] = []
        gradients: Sequence[Tensor | None] = []
        step = first
        with torch.no_grad():
            for x, y in block.batches(first, last):
                loss, output, gradients = evaluate(x, y)
                value = loss.item()
                losses.append(value)
                if not math.isfinite(value):
                    break
                if step % log_every == 0:
                    task.log_row(step, value, output, y)
                update(gradients)
                if scheduled:
                    task.schedule(loss)
                step += 1
                self._done = step - first
                if step in due:
                    if publish:
                        update.publish(gradients)
                    for observer in due[step]:
                        observer.observe(step, task)
        if gradients:
            update.publish(gradients)
        return step - first, losses

    # -- compiled ----------------------------------------------------------------------------

    def _run_compiled(
        self, block: Block, first: int, last: int, observers: list[StepObserver]
    ) -> tuple[int, list[float]]:
        task, kernel = self.task, self.kernel
        assert kernel is not None
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


def outputs_at(net: nn.Module, row: Tensor, x: Tensor) -> Tensor:
    """Output of the net at the flat parameters ``row`` [p], the net itself left alone."""
    parameters, i = {}, 0
    for name, parameter in net.named_parameters():
        parameters[name] = row[i : i + parameter.numel()].view_as(parameter)
        i += parameter.numel()
    with torch.no_grad():
        return torch.func.functional_call(net, parameters, (x,))  # type: ignore[no-any-return]
