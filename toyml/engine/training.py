"""The steps of one fit: eager, or in a compiled kernel."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor, nn

from toyml.compiled import NotCompilable, compile_training
from toyml.engine.block import Block
from toyml.engine.chain import differentiate
from toyml.engine.interruption import Interruption, hold_back
from toyml.engine.route import (
    StepObserver,
    at_its_end,
    block_end,
    count_steps,
    watched_between_blocks,
)
from toyml.engine.update import Update
from toyml.errors import DivergedError
from toyml.measures import outputs, snapshot, unflatten

if TYPE_CHECKING:
    from toyml.compiled import Kernel

COMPILE_FROM = 100_000
"""A fit of at least this many steps is compiled unless the task says otherwise."""

LONGER = 20
"""How many blocks the kernel does as one, where nobody looks between them."""

KEPT = 4_000_000
"""Most numbers that one call of the kernel keeps before they reach the file."""

SUPERVISED = "toyml.tasks.supervised"


class Training:
    """One fit's engine: what does not change from block to block.

    Attributes:
        compiled_note: One line about the compiled route: used, or why not; "" when not asked.
        seconds: Wall time spent inside blocks, without compilation.
        sees_all: Whether the loss of a step is the one of all rows in evaluation mode.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.kernel: Kernel | None = None
        self.compiled_note = ""
        self.seconds = 0.0
        self._optimizer: torch.optim.Optimizer | None = None
        self._observers: list[StepObserver] = []
        self._steps = self._at_once = self._done = 0
        self._measured, self._asked = True, False
        self._block: Block | None = None
        self.sees_all = True

    def run(self, block: Block) -> dict[str, Any]:
        """Perform the block's optimizer steps; see :func:`block_end` for where it stops.

        Raises:
            DivergedError: The loss became NaN or infinite.
            KeyboardInterrupt: Ctrl-C (SIGTERM too where the command line holds it back); the step
                that was under way is complete, and counted.
        """
        trainer = self.task.trainer
        first = trainer.global_step
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt
        if block is not self._block:
            block.y, self._block = self.task.targets(block.y), block
        if self._optimizer is not self.task.optimizers(use_pl_optimizer=False):
            self._begin(block)
        last = block_end(trainer, first, self._steps)
        start = time.perf_counter()
        run = self._run_eager if self.kernel is None else self._run_compiled
        self._done = 0
        with hold_back(signal.SIGINT) as held:
            try:
                losses = run(block, first, last, held)
            finally:
                # Also when an observer fails in the middle of a block: what is done is counted.
                self.seconds += time.perf_counter() - start
                count_steps(trainer, self._done)
        if losses and not math.isfinite(losses[-1]):
            self.raise_diverged(first + self._done, losses[-1])
        if held.asked and trainer.global_step < last:
            raise KeyboardInterrupt
        # What belongs to the end of a block (validation, the end of an epoch) is done before.
        self._asked = held.asked and not at_its_end(trainer)
        return {"losses": losses, "first_step": first}

    def _begin(self, block: Block) -> None:
        """Look once at what stays the same for the whole fit."""
        self._optimizer = self.task.optimizers(use_pl_optimizer=False)
        self._observers = [c for c in self.task.trainer.callbacks if isinstance(c, StepObserver)]
        behaviour = self.task.behaviour
        self.sees_all = block.full and behaviour is not None and not behaviour.on
        self._measured = looks_at_outputs(self.task) or not self.sees_all
        self.kernel = self._kernel(block)
        if self.kernel is None:
            self._steps = block.steps
        else:
            self._steps, self._at_once = self._lengths(block)

    # -- eager -------------------------------------------------------------------------------

    def _run_eager(self, block: Block, first: int, last: int, held: Interruption) -> list[float]:
        task = self.task
        optimizer = task.optimizers(use_pl_optimizer=False)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        update = Update(optimizer, parameters)
        evaluate = differentiate(task.net, task.loss, parameters, update.gradients)
        scheduled = task.lr_scheduler is not None
        publish = any(o.needs_gradients for o in self._observers)
        due: dict[int, list[StepObserver]] = {}
        for observer in self._observers:
            for step in observer.wanted(first + 1, last).tolist():
                due.setdefault(step, []).append(observer)
        log_every = task.trainer.log_every_n_steps or last + 1
        losses: list[float] = []
        gradients: Sequence[Tensor | None] = []
        step = first
        try:
            with torch.no_grad():
                for x, y in block.batches(first, last):
                    if held.asked:
                        break
                    logged = step % log_every == 0
                    # Before the step's own forward pass, which may change running statistics.
                    row = {} if self.sees_all or not logged else task.evaluate()
                    try:
                        loss, output, gradients = evaluate(x, y)
                    except RuntimeError:
                        # BCELoss refuses a prediction that is no number; others return NaN.
                        if all(bool(p.isfinite().all()) for p in parameters):
                            raise
                        losses.append(math.nan)
                        break
                    value = loss.item()
                    losses.append(value)
                    if not math.isfinite(value):
                        break
                    if logged:
                        if self.sees_all:
                            row = {"loss": value, **task.measure(output, y)}
                        else:
                            row["batch_loss"] = value
                        task.log_row(step, row)
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
        finally:
            update.finish()
        if gradients:
            update.publish(gradients)
        return losses

    # -- compiled ----------------------------------------------------------------------------

    def _run_compiled(self, block: Block, first: int, last: int, held: Interruption) -> list[float]:
        losses: list[float] = []
        while first < last and not held.asked:
            stop = min(first + self._at_once, last)
            found = self._run_kernel(block, first, stop)
            losses += found
            first = stop
            if not math.isfinite(found[-1]):
                break
        return losses

    def _run_kernel(self, block: Block, first: int, last: int) -> list[float]:
        task, kernel = self.task, self.kernel
        assert kernel is not None
        log_every = task.trainer.log_every_n_steps or last + 1
        logged: NDArray[np.int64] = np.arange(first + -first % log_every, last, log_every)
        asked = [o.wanted(first + 1, last) for o in self._observers]
        measured = logged[logged > first] if self._measured else logged[:0]
        wanted = np.unique(np.concatenate([*asked, measured]).astype(np.int64))
        start = torch.cat([p.detach().reshape(-1) for p in task.net.parameters()])
        result = kernel.run(
            block.x,
            block.y,
            last - first,
            torch.from_numpy(wanted - first),
            block.rows(first, last),
        )
        self._done += result.steps_done
        rows = result.snapshots.numpy()
        wanted = wanted[: len(rows)]
        for observer, steps in zip(self._observers, asked, strict=True):
            chosen = np.isin(wanted, steps)
            observer.observe_rows(wanted[chosen], rows[chosen])
        losses: list[float] = result.losses.tolist()
        seen = [s for s in logged.tolist() if s < first + len(losses)]
        values = {s: losses[s - first] for s in seen if math.isfinite(losses[s - first])}
        states = [
            start if step == first else result.snapshots[np.searchsorted(wanted, step)]
            for step in (values if self._measured else ())
        ]
        self._log(block, values, states)
        return losses

    def _log(self, block: Block, losses: dict[int, float], states: list[Tensor]) -> None:
        """Log steps of the kernel: losses by step, and where they matter parameters [p] before."""
        task = self.task
        rows = [{"loss" if self.sees_all else "batch_loss": value} for value in losses.values()]
        if states:
            # One evaluation of all rows for all states.
            stack = unflatten(torch.stack(states), snapshot(task.net))
            for row, output in zip(rows, outputs(task.net, stack, block.x), strict=True):
                if not self.sees_all:
                    row["loss"] = float(task.loss(output, block.y))
                row |= task.measure(output, block.y)
        for step, row in zip(losses, rows, strict=True):
            task.log_row(step, row)

    def _lengths(self, block: Block) -> tuple[int, int]:
        """Steps of a block for the kernel, and how many of them one call does.

        To the kernel Lightning's millisecond per block is long, so where nobody looks between
        blocks it does several as one. Numbers kept (4 million) and multiplications done
        (400 million) bound a call: memory stays flat and Ctrl-C is heard also for a large net.
        """
        p = sum(parameter.numel() for parameter in self.task.net.parameters())
        kept, n = p + (block.batch_size or 0), block.batch_size or len(block.x)
        most = max(1, min(KEPT // kept, 400_000_000 // (n * p)))
        watched = watched_between_blocks(self.task)
        blocks = 1 if watched else max(1, min(LONGER, most // block.steps))
        return block.steps * blocks, most

    def _kernel(self, block: Block) -> Kernel | None:
        task = self.task
        asked = task.compiled
        if asked is None:
            # A continued fit stays on its route: the two agree to rounding, not bit for bit.
            asked = task.was_compiled
        if asked is None:
            asked = task.trainer.max_steps >= COMPILE_FROM
        if not asked:
            return None
        kernel = None
        try:
            if task.lr_schedulers() is not None:
                raise NotCompilable("an lr_scheduler changes the learning rate at every step")
            if any(o.needs_gradients for o in self._observers):
                raise NotCompilable("gradients or optimizer state are recorded")
            kernel = compile_training(
                task.net,
                task.loss,
                task.optimizers(use_pl_optimizer=False),
                len(block.x),
                block.batch_size,
            )
            how = "from the cache" if kernel.cached else f"{kernel.compile_seconds:.1f} s"
            self.compiled_note = f"compiled route: C kernel ({how})"
        except NotCompilable as reason:
            self.compiled_note = f"eager route: {reason}"
        rank_zero_info(f"toyml: {self.compiled_note}")
        return kernel

    def raise_diverged(self, step: int, value: float) -> None:
        """Stop with the step number and what to try.

        Raises:
            DivergedError: Always.
        """
        group = self.task.optimizers(use_pl_optimizer=False).param_groups[0]
        lr = float(group["lr"]) if "lr" in group else None
        rate = "" if lr is None else f" with lr {lr:g}"
        if not step:
            raise DivergedError(
                f"the loss is {value} at step 0, before any update: look at the initial weights, "
                "the targets and the loss",
                step,
            )
        raise DivergedError(
            f"the loss is {value} at step {step}{rate}; every snapshot before is kept"
            f"{what_to_try(self.task.net, self.task.loss, lr)}",
            step,
        )


def what_to_try(net: nn.Module, loss: nn.Module, lr: float | None) -> str:
    """The end of a sentence on a loss that is not finite: what is not so yet and may help.

    Args:
        net: What was trained.
        loss: The loss.
        lr: The learning rate; ``None`` where the optimizer has none.

    Example:
        >>> what_to_try(nn.Linear(1, 1).double(), nn.MSELoss(), 3.0)
        '. Try an lr below 3 (--model.optimizer.lr 0.3)'
        >>> what_to_try(nn.Linear(1, 1).double(), nn.MSELoss(), None)
        ''
    """
    tries = [] if lr is None else [f"an lr below {lr:g} (--model.optimizer.lr {lr / 10:g})"]
    if all(parameter.dtype != torch.float64 for parameter in net.parameters()):
        tries.append("--trainer.precision 64-true")
    if isinstance(loss, nn.BCELoss):
        tries.append("BCEWithLogitsLoss on a net without its sigmoid")
    return f". Try {', or '.join(tries)}" if tries else ""


def looks_at_outputs(task: Any) -> bool:
    """Whether logging needs the net's output: for metrics, or because the task logs otherwise."""
    own = [type(task).log_row.__module__, type(task).measure.__module__]
    return bool(task.metrics) or own != [SUPERVISED] * 2
