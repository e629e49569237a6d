"""Supervised learning: a net, a loss, an optimizer."""

from __future__ import annotations

import functools
import math
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from toyml import engine
from toyml.engine import schedule
from toyml.engine.rows import NoRowsError
from toyml.errors import UserError
from toyml.measures.behaviour import Behaviour, behaviour, generators_kept
from toyml.measures.forward import evaluating
from toyml.measures.meaning import (
    Meaning,
    class_numbers,
    meaning,
    prediction,
)
from toyml.tasks.logged import LossRows
from toyml.tasks.trial import ROWS_AT_ONCE, check_shapes, targets, try_rows


class Supervised(pl.LightningModule):
    r"""Minimise the mean loss of a net over a data set.

    One step is :math:`\theta_{s+1} = \theta_s - \mathrm{update}(\nabla L(\theta_s))` with
    :math:`L` the loss module's own reduction (the mean, by default). Logged are, at step s before
    its update (step 0 is the start):

    - ``loss`` and the metrics: over all training rows, in evaluation mode;
    - ``batch_loss``: what the step itself saw, where that is something else (mini-batches, dropout,
      batch norm, a ``training_step`` of one's own);
    - ``val_loss`` and the metrics with ``val_``: over all held-out rows, once per validation.

    Args:
        net: Any module that maps x [n, d] to an output [n, k].
        loss: Any loss module called as ``loss(output, y)``. :func:`toyml.measures.meaning` says
            what is predicted and where two classes meet. Losses on one output per class take the
            number of the class, [n] or [n, 1], or a row with a single 1 [n, k].
        optimizer: Called with the parameters; in a config any ``torch.optim`` class.
        lr_scheduler: Called with the optimizer; stepped once per optimizer step.
        decay_bias: Whether ``weight_decay`` also applies to biases. PyTorch's optimizers decay
            every parameter (``true``); textbooks usually spare the bias (``false``).
        metrics: torchmetrics by name, computed on (prediction, y) wherever the loss is logged;
            y is the number of the class where there is an output for each.
        compiled: Run steps in a C kernel generated for this net, loss and optimizer. ``null``
            compiles fits of 100,000 steps and more; what cannot be compiled runs eagerly.

    Raises:
        ValueError: The optimizer refuses its settings, a metric shadows ``loss``, or
            ``decay_bias=false`` meets an optimizer without weight decay.

    Example:
        >>> from functools import partial
        >>> task = Supervised(nn.Linear(2, 1), nn.MSELoss(), partial(torch.optim.SGD, lr=0.1))
        >>> task(torch.zeros(3, 2)).shape
        torch.Size([3, 1])
    """

    def __init__(
        self,
        net: nn.Module,
        loss: nn.Module,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None = None,
        decay_bias: bool = True,
        metrics: dict[str, Metric] | None = None,
        compiled: bool | None = None,
    ) -> None:
        super().__init__()
        self.net, self.loss = net, loss
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.decay_bias, self.compiled = decay_bias, compiled
        for name in metrics or {}:
            if name in ("loss", "step", "epoch") or name.startswith("val_"):
                raise UserError(f"metric name {name!r} is taken; choose another in model.metrics")
        try:
            self.metrics = nn.ModuleDict(metrics or {})
        except KeyError as error:
            raise UserError(
                f"metric name not allowed ({error.args[0]}); choose another in model.metrics"
            ) from error
        # Built once here so that a wrong setting is an error before anything is written.
        trial = self._build_optimizer()
        self.needs_closure = isinstance(trial, torch.optim.LBFGS)
        self._rows: tuple[pl.Trainer, tuple[Tensor, Tensor] | None] | None = None
        self._meaning: Meaning | None = None
        self._held_out: list[tuple[Tensor, Tensor]] = []
        self.behaviour: Behaviour | None = None
        self.batch_loss: float | None = None  # of the ordinary step that is under way
        self.found_lr: float | None = None
        self.was_compiled: bool | None = None
        self._training: tuple[pl.Trainer, engine.Training | None, str] | None = None

    # -- the route ---------------------------------------------------------------------------

    @property  # type: ignore[misc]  # the base class can also be told; here it follows
    def automatic_optimization(self) -> bool:
        """Lightning's ordinary loop, where blocks would not be right (see ``engine.obstacle``)."""
        return self._trainer is None or self.training_blocks() is None

    def training_blocks(self) -> engine.Training | None:
        """The engine of the current fit; ``None`` when it takes the ordinary route."""
        if self._training is None or self._training[0] is not self.trainer:
            reason = engine.obstacle(self)
            training = None if reason else engine.Training(self)
            self._training = (self.trainer, training, reason or "")
        return self._training[1]

    @property
    def route(self) -> str:
        """How the steps of the current fit are run, in words."""
        training = self.training_blocks()
        if training is None:
            assert self._training is not None
            return f"Lightning's ordinary loop: {self._training[2]}"
        return training.compiled_note or "eager blocks"

    # -- set-up ------------------------------------------------------------------------------

    def _build_optimizer(self) -> torch.optim.Optimizer:
        if self.decay_bias:
            parameters: Any = self.net.parameters()
        else:
            named = list(self.net.named_parameters())
            spared = [p for name, p in named if name.split(".")[-1].startswith("bias")]
            decayed = [p for name, p in named if not name.split(".")[-1].startswith("bias")]
            parameters = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
            parameters = [group for group in parameters if group["params"]]
        try:
            optimizer = self.optimizer(parameters)
        except ValueError as error:
            raise UserError(f"optimizer: {error}; see the ranges in torch.optim's pages") from error
        for group in optimizer.param_groups:
            for name, value in group.items():
                for each in value if isinstance(value, tuple) else (value,):
                    if isinstance(each, Tensor) and each.dim():
                        words = f"optimizer {name} holds {each.tolist()}"
                        raise UserError(f"{words}; one number has to stand there")
            lr = group.get("lr")
            if isinstance(lr, float | int) and not 0 < lr < math.inf:
                raise UserError(f"optimizer lr is {lr}; it has to be positive (for example 0.1)")
            for name, value in group.items():
                if isinstance(value, float) and not math.isfinite(value):
                    raise UserError(f"optimizer {name} is {value}; it has to be a finite number")
        if not self.decay_bias and "weight_decay" not in optimizer.defaults:
            raise UserError(
                f"decay_bias is false but {type(optimizer).__name__} has no weight_decay; "
                "leave decay_bias at true"
            )
        return optimizer

    def configure_callbacks(self) -> list[pl.Callback]:
        """What logs the rows of a fit on Lightning's ordinary loop."""
        return [LossRows()]

    def configure_optimizers(self) -> Any:
        """The optimizer, and its scheduler stepped once per optimizer step.

        Raises:
            UserError: The scheduler refuses its settings, or ends before the fit does.
        """
        self._see_finder()
        optimizer = self._build_optimizer()
        if self.lr_scheduler is None:
            return optimizer
        if self._trainer is not None:
            schedule.see_that_it_lasts(self.lr_scheduler, self._build_optimizer(), self.steps_asked)
        scheduler: Any = schedule.build(self.lr_scheduler, optimizer)
        if self.automatic_optimization:
            scheduler = {"scheduler": scheduler, "interval": "step", "monitor": "batch_loss"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    @property
    def lr(self) -> float:
        """The optimizer's learning rate; Lightning's LearningRateFinder sets the one it found."""
        return float(self._build_optimizer().param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimizer, self.found_lr = functools.partial(self.optimizer, lr=value), value  # type: ignore[call-arg]

    def _see_finder(self) -> None:
        """Refuse a LearningRateFinder where the rate it finds would not be that of the fit."""
        callbacks = [] if self._trainer is None else self._trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(callback, LearningRateFinder) for callback in callbacks):
            return
        if self.lr_scheduler is not None:
            raise UserError(
                "LearningRateFinder finds one learning rate, and model.lr_scheduler sets others; "
                "leave one of the two out"
            )
        if self.trainer.ckpt_path is not None:
            raise UserError(
                "LearningRateFinder works before the first step, and this fit goes on from a "
                "checkpoint; leave it out (the config.yaml of that run holds the rate it found)"
            )

    @property
    def steps_asked(self) -> float:
        """Updates that the current fit takes at most; infinite where only the clock ends it."""
        trainer = self.trainer
        if self.automatic_optimization or trainer.max_epochs in (None, -1):
            return trainer.estimated_stepping_batches
        passes = trainer.max_epochs * trainer.datamodule.steps_per_pass  # type: ignore[attr-defined]
        return float(min(passes, trainer.max_steps) if trainer.max_steps >= 0 else passes)

    def setup(self, stage: str) -> None:
        """Try net, loss and metrics on all rows, before anything is written.

        Raises:
            UserError: One of them refuses some of the rows.
        """
        self._rows = self._meaning = self.behaviour = None
        data = self._source()
        rows = None if data is None else self._seen(data, held_out=False)
        if rows is None:
            return
        given = not hasattr(data, "arrays")
        x, y = self._try(*rows, given)
        self._meaning = meaning(self.loss, y)
        self.behaviour = behaviour(self.net, x)
        held = (
            getattr(data, "validation", 0)
            if not given
            else is_overridden("val_dataloader", data, pl.LightningDataModule)
        )
        if stage == "fit" and held and (rows := self._seen(data, held_out=True)) is not None:
            self._try(*rows, given)

    def _seen(self, data: Any, held_out: bool) -> tuple[Tensor, Tensor] | None:
        """All rows; ``None`` where only batches can be looked at.

        Raises:
            UserError: A data module of ours draws none.
        """
        try:
            return engine.all_rows(data, held_out)
        except ValueError as error:
            if isinstance(error, NoRowsError) and not held_out:
                raise
            if hasattr(data, "arrays"):
                raise UserError(f"{type(data).__name__}: {error}") from error
            return None

    def fit_rows(self) -> tuple[Tensor, Tensor] | None:
        """All training rows where and as the current fit needs them; ``None`` if not to be had."""
        if self._rows is None or self._rows[0] is not self.trainer:
            data = self._source()
            if hasattr(data, "rows_for_fit"):
                rows = data.rows_for_fit()
            else:
                rows = None if data is None else self._seen(data, held_out=False)
            if rows is not None:
                x, y = self.trainer.precision_plugin.convert_input(rows)
                rows = x.to(self.device), self.targets(y).to(self.device)
            self._rows = (self.trainer, rows)
        return self._rows[1]

    def sees_all(self, batch: Any) -> bool:
        """Whether a step on this batch has the loss that :meth:`evaluate` has."""
        rows = self.fit_rows()
        plain = getattr(type(self).training_step, "takes_blocks", False)
        if rows is None or not plain or self.behaviour is None or self.behaviour.on:
            return False
        full = str(self.trainer.precision) in ("32-true", "64-true")
        return full and len(batch[0]) * self.trainer.world_size >= len(rows[0])

    def evaluate(self) -> dict[str, float]:
        """Loss and metrics of all training rows in evaluation mode; empty where none can be had."""
        rows = self.fit_rows()
        if rows is None:
            return {}
        x, y = rows
        with generators_kept(x.device), torch.no_grad(), evaluating(self.net):
            output = torch.cat([self(piece) for piece in x.split(ROWS_AT_ONCE)])  # type: ignore[no-untyped-call]
            return {"loss": float(self.loss(output, y)), **self.measure(output, y)}

    def _source(self) -> Any:
        """Where the training rows of the current fit come from."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return data if data is not None else self.trainer.fit_loop._data_source.instance

    def _try(self, x: Tensor, y: Tensor, given: bool) -> tuple[Tensor, Tensor]:
        """See that rows can be trained on; ``given`` are those that nobody casts.

        Returns:
            The rows as the net and the loss take them.
        """
        own = next(self.net.parameters(), torch.zeros(()))
        precision = str(self.trainer.precision)
        single = precision.startswith(("32", "bf16-m", "16-m"))
        for name, rows in (("inputs", x), ("targets", y)):
            if given and single and rows.dtype == torch.float64:
                raise UserError(
                    f"the {name} are float64 and the net is float32; hand over .float(), or set "
                    "--trainer.precision 64-true"
                )
        y = self.targets(y)
        if not given or not single:
            x, y = (a.to(own.dtype) if a.is_floating_point() else a for a in (x, y))
        x, y = x.to(own.device), y.to(own.device)
        try_rows(self, x, y)
        return x, y

    def targets(self, y: Tensor) -> Tensor:
        """Targets in the form that the loss takes (:func:`toyml.tasks.trial.targets`)."""
        return targets(self.loss, y)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember by which route and which optimizer the steps were run."""
        training = self.training_blocks()
        checkpoint["toyml_compiled"] = training is not None and training.kernel is not None
        checkpoint["toyml_optimizer"] = self._optimizer_name
        checkpoint["toyml_schedule"] = schedule.asked(self._build_optimizer(), self.lr_scheduler)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the checkpoint's precision before its weights are copied.

        Lightning loads a float64 checkpoint into the float32 net and converts afterwards. Settings
        of this fit beat those in the checkpoint.

        Raises:
            UserError: It was saved from another net, by another optimizer, or on a schedule that
                this fit's cannot go on from.
        """
        self._check_checkpoint(checkpoint)
        fitting = self._trainer is not None and self.trainer.state.fn == "fit"
        if fitting and "optimizer_states" in checkpoint:
            words = schedule.go_on(checkpoint, self._build_optimizer, self.lr_scheduler)
            if words and self.trainer.is_global_zero:
                print(f"toyml: {words}")
        self.was_compiled = checkpoint.get("toyml_compiled")
        tensors = [v for k, v in checkpoint["state_dict"].items() if k.startswith("net.")]
        dtypes = {v.dtype for v in tensors if v.is_floating_point()}
        if len(dtypes) == 1:
            self.net.to(dtypes.pop())

    @property
    def _optimizer_name(self) -> str:
        kind = type(self._build_optimizer())
        return f"{kind.__module__}.{kind.__qualname__}"

    def _check_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved = {name: list(value.shape) for name, value in checkpoint["state_dict"].items()}
        mine = {name: list(value.shape) for name, value in self.state_dict().items()}
        for name in sorted(saved.keys() | mine.keys()):
            if saved.get(name) != mine.get(name):
                was, now = (found.get(name, "absent") for found in (saved, mine))
                raise UserError(
                    f"the checkpoint is of another net: {name} is {was} there and {now} here; "
                    "give the config it was saved with, or start anew without --ckpt_path"
                )
        optimizer = checkpoint.get("toyml_optimizer", self._optimizer_name)
        if optimizer != self._optimizer_name:
            raise UserError(
                f"the checkpoint was saved by {optimizer}, whose state {self._optimizer_name} "
                "cannot go on from; keep the optimizer, or start anew without --ckpt_path"
            )

    # -- steps -------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """The net's output [n, k]."""
        return self.net(x)  # type: ignore[no-any-return]

    forward.takes_blocks = True  # type: ignore[attr-defined]

    def prediction(self, output: Tensor) -> Tensor:
        """What the output says: probabilities where the loss works on logits."""
        return prediction(self.loss, output)

    prediction.by_loss = True  # type: ignore[attr-defined]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """A block of steps, or the loss of one ordinary batch."""
        if isinstance(batch, engine.Block):
            training = self.training_blocks()
            assert training is not None
            outputs = training.run(batch)
            seen = "loss" if training.sees_all else "batch_loss"
            self.log(seen, outputs["losses"][-1], prog_bar=True, logger=False, batch_size=1)
            if not training.sees_all:
                self.log_monitored()
            return outputs
        x, y = batch
        y = self.targets(y)
        output = self(x)
        check_shapes(self.loss, output, y)
        try:
            loss = self.loss(output, y)
        except RuntimeError:
            # BCELoss refuses a prediction that is no number; others return NaN.
            if bool(output.isfinite().all()):
                raise
            loss = (output * math.nan).sum()
        # Under DDP the mean over the processes is the loss of the whole batch; every process takes
        # part here, or the others would wait for it for ever.
        value = float(self.trainer.strategy.reduce(loss.detach(), reduce_op="mean"))
        if self.batch_loss is None:  # the first of several, where gradients are accumulated
            self.batch_loss = value
        if not math.isfinite(value):
            engine.Training(self).raise_diverged(self.trainer.global_step, value)
        self.log("batch_loss", loss.detach(), prog_bar=True, logger=False, batch_size=len(x))
        if self.trainer.is_last_batch:
            self.log_monitored()
        return loss

    training_step.takes_blocks = True  # type: ignore[attr-defined]

    def log_monitored(self) -> None:
        """Give a callback that monitors ``loss``, or a metric, the one of all rows."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        watched = {getattr(callback, "monitor", None) for callback in callbacks}
        if watched & {"loss", *self.metrics}:
            self.log_dict(self.evaluate(), logger=False, batch_size=1)

    def schedule(self, loss: Tensor) -> None:
        """Step the learning-rate scheduler after an update inside a block."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss.detach())
        elif scheduler is not None:
            scheduler.step()  # type: ignore[union-attr]

    def log_row(self, step: int, row: dict[str, float]) -> None:
        """Write what was measured at ``step`` to every logger."""
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step=step)

    def measure(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Metrics of one output, by name."""
        values = {}
        for name, metric in self.metrics.items():
            assert isinstance(metric, Metric)
            values[name] = float(self.measured(metric, output, y))
        return values

    def measured(self, metric: Metric, output: Tensor, y: Tensor) -> Any:
        """One metric of one output."""
        said = self.prediction(output)
        self._meaning = self._meaning or meaning(self.loss, y)
        if self._meaning.kind == "classes":
            y = class_numbers(y)
        elif said.shape != y.shape:
            y = y.squeeze(-1)
        metric.reset()
        metric.update(said, y)
        return metric.compute()

    # -- held-out rows -----------------------------------------------------------------------

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep what the net says about a batch of held-out rows."""
        self._gather(batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """The same for test rows."""
        self._gather(batch)

    def on_validation_epoch_end(self) -> None:
        """Log ``val_loss`` and the metrics over all held-out rows at once."""
        self._evaluate("val")

    def on_test_epoch_end(self) -> None:
        """Log ``test_loss`` and the metrics over all test rows at once."""
        self._evaluate("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Predictions [n, k]."""
        return self.prediction(self(batch[0]))

    def _gather(self, batch: Any) -> None:
        x, y = batch
        y = self.targets(y)
        output = self(x)
        check_shapes(self.loss, output, y)
        self._held_out.append((output, y))

    def _evaluate(self, stage: str) -> None:
        if not self._held_out:
            return
        output, y = (torch.cat(pieces) for pieces in zip(*self._held_out, strict=True))
        self._held_out.clear()
        values = {"loss": float(self.loss(output, y)), **self.measure(output, y)}
        if self.trainer.world_size > 1:
            # Each process has its share of the rows of a loader of one's own.
            mean = self.trainer.strategy.reduce
            values = {n: float(mean(output.new_tensor(v))) for n, v in values.items()}
        values = {f"{stage}_{name}": value for name, value in values.items()}
        fitting = self.trainer.state.fn == "fit"
        if fitting and not self.trainer.sanity_checking:
            # Lightning would count blocks, not steps, on this axis.
            self.log_row(self.trainer.global_step, values)
        self.log_dict(values, prog_bar=True, batch_size=len(y), logger=not fitting)
