"""Supervised learning: a net, a loss, an optimizer."""

from __future__ import annotations

import functools
import math
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from toyml import engine
from toyml.engine import schedule
from toyml.errors import UserError
from toyml.measures.forward import evaluating

# Losses whose integer targets [n] name a class instead of standing beside the outputs [n, k].
BY_INDEX = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)


class Supervised(pl.LightningModule):
    r"""Minimise the mean loss of a net over a data set.

    One step is :math:`\theta_{s+1} = \theta_s - \mathrm{update}(\nabla L(\theta_s))` with
    :math:`L` the loss module's own reduction (the mean, by default). The logged ``loss`` of step s
    is :math:`L(\theta_s)`, before the update: step 0 is the initial loss.

    Args:
        net: Any module that maps x [n, d] to an output [n, k].
        loss: Any loss module called as ``loss(output, y)``. After ``BCEWithLogitsLoss`` the
            prediction is the sigmoid of the output, after ``CrossEntropyLoss`` its softmax,
            otherwise the output itself.
        optimizer: Called with the parameters; in a config any ``torch.optim`` class.
        lr_scheduler: Called with the optimizer; stepped once per optimizer step.
        decay_bias: Whether ``weight_decay`` also applies to biases. PyTorch's optimizers decay
            every parameter (``true``); textbooks usually spare the bias (``false``).
        metrics: torchmetrics by name, computed on (prediction, y) wherever the loss is logged.
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
        self._logged = -1
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
            scheduler = {"scheduler": scheduler, "interval": "step", "monitor": "loss"}
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
        """Refuse an output that the loss would silently broadcast against the targets."""
        batch = getattr(self.trainer.datamodule, "example", None)  # type: ignore[attr-defined]
        if batch is None:
            return
        x, y = batch
        parameter = next(self.net.parameters(), x)
        with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(self.net):
            try:
                output = self.net(x.to(parameter))
            except RuntimeError as error:
                raise UserError(
                    f"the net does not take inputs of shape {list(x.shape)} "
                    f"({error}); give its first layer {x.shape[1]} inputs"
                ) from error
        self._check_shapes(output, y)
        self._check_loss(output, y.to(output))

    def _check_loss(self, output: Tensor, y: Tensor) -> None:
        """Refuse what is no loss for these targets, before anything is written."""
        name = type(self.loss).__name__
        try:
            with torch.no_grad():
                value = self.loss(output, y)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise UserError(
                f"{name} does not take an output {list(output.shape)} and targets {list(y.shape)} "
                f"({error}); choose another model.loss or output"
            ) from error
        if not isinstance(value, Tensor) or value.dim() != 0:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UserError(
                f"{name} gives {shape} where one number is needed; use a loss with reduction=mean"
            )
        if isinstance(self.loss, nn.CrossEntropyLoss) and output.shape[-1] == 1:
            raise UserError(
                "CrossEntropyLoss on one output is 0 whatever the weights are; use "
                "BCEWithLogitsLoss, or one output per class"
            )

    def _check_shapes(self, output: Tensor, y: Tensor) -> None:
        by_index = isinstance(self.loss, BY_INDEX) and not y.is_floating_point()
        if not by_index and output.shape != y.shape:
            raise UserError(
                f"the net's output has shape {list(output.shape)} but the targets have "
                f"{list(y.shape)}; {type(self.loss).__name__} would broadcast them to a "
                f"wrong loss: make the last layer {y.shape[-1]} wide or reshape the targets"
            )

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
        self._logged = -1
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

    def prediction(self, output: Tensor) -> Tensor:
        """What the output says: probabilities where the loss works on logits."""
        if isinstance(self.loss, nn.BCEWithLogitsLoss):
            return torch.sigmoid(output)
        if isinstance(self.loss, nn.CrossEntropyLoss):
            return torch.softmax(output, dim=-1)
        return output

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """A block of steps, or the loss of one ordinary batch."""
        if isinstance(batch, engine.Block):
            training = self.training_blocks()
            assert training is not None
            outputs = training.run(batch)
            self.log("loss", outputs["losses"][-1], prog_bar=True, logger=False, batch_size=1)
            return outputs
        x, y = batch
        output = self(x)
        self._check_shapes(output, y)
        try:
            loss = self.loss(output, y)
        except RuntimeError:
            # BCELoss refuses a prediction that is no number; others return NaN.
            if bool(output.isfinite().all()):
                raise
            loss = (output * math.nan).sum()
        # Under DDP the mean over the processes is the loss of the whole batch; every process takes
        # part here and in the metrics, or the others would wait for it for ever.
        mean = self.trainer.strategy.reduce(loss.detach(), reduce_op="mean")
        step = self.trainer.global_step
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        value = float(mean)
        if not math.isfinite(value):
            engine.Training(self).raise_diverged(step, value)
        if every and step % every == 0 and step != self._logged:
            # With accumulated gradients a step has several batches; the first one is logged.
            self._logged = step
            self.log_row(step, value, output.detach(), y)
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=len(x))
        return loss

    training_step.takes_blocks = True  # type: ignore[attr-defined]

    def on_train_end(self) -> None:
        """Log the loss and the metrics of the last parameters, which no training step has seen."""
        rows = getattr(self.trainer.datamodule, "rows_for_fit", None)  # type: ignore[attr-defined]
        if rows is None or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        x, y = (a.to(self.device) for a in rows())
        with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(self.net):
            output = self.net(x)
            self.log_row(self.trainer.global_step, float(self.loss(output, y)), output, y)

    def schedule(self, loss: Tensor) -> None:
        """Step the learning-rate scheduler after an update inside a block."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss.detach())
        elif scheduler is not None:
            scheduler.step()  # type: ignore[union-attr]

    def log_row(self, step: int, loss: float, output: Tensor, y: Tensor) -> None:
        """Write the loss and the metrics at ``step`` to every logger."""
        row = {"loss": loss, **self.measure(output, y)}
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step=step)

    def measure(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Metrics of one output, by name."""
        if not self.metrics:
            return {}
        prediction = self.prediction(output)
        values = {}
        for name, metric in self.metrics.items():
            assert isinstance(metric, Metric)
            metric.reset()
            metric.update(prediction, y if prediction.shape == y.shape else y.squeeze(-1))
            values[name] = float(metric.compute())
        return values

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log ``val_loss`` and the metrics on held-out data."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log ``test_loss`` and the metrics."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Predictions [n, k]."""
        return self.prediction(self(batch[0]))

    def _evaluate(self, batch: Any, stage: str) -> None:
        x, y = batch
        output = self(x)
        self._check_shapes(output, y)
        values = {"loss": float(self.loss(output, y)), **self.measure(output, y)}
        values = {f"{stage}_{name}": value for name, value in values.items()}
        fitting = self.trainer.state.fn == "fit"
        if fitting and not self.trainer.sanity_checking:
            # Lightning would count blocks, not steps, on this axis.
            for logger in self.trainer.loggers:
                logger.log_metrics(values, step=self.trainer.global_step)
        self.log_dict(values, prog_bar=True, batch_size=len(x), logger=not fitting)
