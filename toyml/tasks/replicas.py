"""R independent copies of one training problem, trained together."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.func import functional_call

from toyml import engine
from toyml.engine.route import block_end, count_steps
from toyml.errors import UserError
from toyml.measures.behaviour import behaviour
from toyml.measures.forward import evaluating
from toyml.replicas import Replicated, Training, seeded_parameters
from toyml.replicas.eager import evaluation
from toyml.replicas.mapped import step_bytes
from toyml.replicas.rules import refuse_coupling
from toyml.tasks.trial import targets


class Replicas(pl.LightningModule):
    r"""Train R copies of a net from R seeds, or from R starting points, in one fit.

    Replica i is the fit that :class:`~toyml.tasks.Supervised` makes under seed ``first_seed + i``:
    the same initial parameters to the bit, the same rows at every step, the same updates up to
    rounding. Its parameters are ``net``'s under their own names with a leading axis [R, ...]; so
    they stand in the trajectory. Settings of the optimizer may differ per replica:
    ``toyml.optim.SGD``, ``Adam`` and ``AdamW`` take lists of R numbers.

    Logged are, of the losses over all rows that are finite, the median ``loss`` and the quantiles
    ``loss_10`` and ``loss_90``, and ``diverged``, the number of the others.

    Args:
        net: Makes one net; in a config a class with its ``init_args``, as for ``Supervised``.
        loss: Any loss module called as ``loss(output, y)``.
        optimizer: Called with the stacked parameters; any that treats every number by itself.
        replicas: R.
        first_seed: Seed of replica 0.
        initial: Initial values [R, ...] by parameter name, nested lists or tensors, instead of
            those drawn; names left out are drawn.
        decay_bias: Whether ``weight_decay`` also applies to biases.
        compiled: Run steps in C; ``null`` does so wherever it can be done.
        memory: Bytes that may be used at once besides parameters and optimizer state.

    Raises:
        ValueError: No replica, initial values that do not fit, an optimizer that refuses its
            settings or couples replicas.

    Example:
        >>> from functools import partial
        >>> task = Replicas(
        ...     lambda: nn.Linear(2, 1), nn.MSELoss(), partial(torch.optim.SGD, lr=0.1), replicas=3
        ... )
        >>> task(torch.zeros(5, 2)).shape
        torch.Size([3, 5, 1])
    """

    def __init__(
        self,
        net: Callable[[], nn.Module],
        loss: nn.Module,
        optimizer: OptimizerCallable,
        replicas: int = 100,
        first_seed: int = 0,
        initial: dict[str, Any] | None = None,
        decay_bias: bool = True,
        compiled: bool | None = None,
        memory: int = 2**30,
    ) -> None:
        super().__init__()
        if replicas < 1 or first_seed < 0 or memory < 1:
            raise UserError(
                f"replicas {replicas}, first_seed {first_seed}, memory {memory}: at least 1 "
                "replica, a seed from 0 on and some memory are needed"
            )
        seeds = range(first_seed, first_seed + replicas)
        drawn = seeded_parameters(net, seeds)
        with torch.random.fork_rng(devices=[]):
            template = net()
        self.net = Replicated(template, {**drawn, **given_values(initial or {}, drawn)})
        self.loss, self.optimizer = loss, optimizer
        self.decay_bias, self.compiled, self.memory = decay_bias, compiled, memory
        # Built once here so that a wrong setting is an error before anything is written.
        self._build_optimizer()
        self._training: tuple[pl.Trainer, Training] | None = None
        self._diverged: Tensor | None = None
        self._whole = True  # whether a step sees all rows as they are evaluated

    @property  # type: ignore[misc]  # the base class can also be told; here it follows
    def automatic_optimization(self) -> bool:
        """False; but where a fit is going to be refused, Lightning need not be the first."""
        return self._trainer is None or engine.obstacle(self) is not None

    # -- set-up ------------------------------------------------------------------------------

    def _build_optimizer(self) -> torch.optim.Optimizer:
        named = list(self.net.named_parameters())
        parameters: Any = [p for _, p in named]
        if not self.decay_bias:
            spared = [p for name, p in named if name.split(".")[-1].startswith("bias")]
            decayed = [p for name, p in named if not name.split(".")[-1].startswith("bias")]
            groups: list[dict[str, Any]] = [
                {"params": decayed},
                {"params": spared, "weight_decay": 0.0},
            ]
            parameters = [group for group in groups if group["params"]]
        try:
            optimizer = self.optimizer(parameters)
        except ValueError as error:
            raise UserError(f"optimizer: {error}") from error
        refuse_coupling(optimizer)
        if not self.decay_bias and "weight_decay" not in optimizer.defaults:
            raise UserError(
                f"decay_bias is false but {type(optimizer).__name__} has no weight_decay; "
                "leave decay_bias at true"
            )
        return optimizer

    def configure_optimizers(self) -> Any:
        """The optimizer of all replicas."""
        return self._build_optimizer()

    def setup(self, stage: str) -> None:
        """Refuse what cannot be trained as replicas, before anything is written."""
        if stage == "fit":
            self.training_blocks()
        batch = getattr(self.trainer.datamodule, "example", None)  # type: ignore[attr-defined]
        if batch is None:
            return
        parameter = next(self.net.parameters())
        x, y = batch
        x, y = (a.to(parameter) if a.is_floating_point() else a for a in (x, self.targets(y)))
        with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(self.net.template):
            try:
                functional_call(self.net.template, self.net.replica(0), (x,))
            except RuntimeError as error:
                raise UserError(
                    f"the net does not take inputs of shape {list(x.shape)} "
                    f"({error}); give its first layer {x.shape[1]} inputs"
                ) from error
        step_bytes(self.net, self.loss, engine.Block(x, y, 1, None, False, 0))

    def training_blocks(self) -> Replicas:
        """This task, where the current fit can hand it blocks.

        Raises:
            UserError: Something would look at replicas one step at a time, or at all together.
        """
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping):
                raise UserError(
                    "EarlyStopping would stop all replicas when one number of theirs says so; "
                    "take it out of trainer.callbacks"
                )
            if getattr(callback, "needs_gradients", False):
                raise UserError(
                    "gradients and optimizer state of replicas are not recorded; leave them out "
                    "of the Recorder"
                )
        reason = engine.obstacle(self)
        if reason is not None:
            raise UserError(f"replicas cannot be trained: {reason}; unset it, or fit one seed")
        return self

    # -- steps -------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of all replicas [R, n, k]."""
        outputs: Tensor = self.net(x)
        return outputs

    forward.takes_blocks = True  # type: ignore[attr-defined]

    @property
    def route(self) -> str:
        """How the steps of the current fit are run, in words."""
        return "not started" if self._training is None else self._training[1].route

    @property
    def diverged(self) -> Tensor:
        """First step whose loss was not finite [R]; -1 for replicas that never diverged."""
        if self._training is None:
            return torch.full((self.net.replicas,), -1)
        return self._training[1].diverged

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """A block of steps for all replicas.

        Raises:
            KeyboardInterrupt: Ctrl-C; all replicas are at the same step, and it is counted.
        """
        trainer, training = self.trainer, self._started(batch)
        last = block_end(trainer, trainer.global_step, batch.steps)
        with engine.hold_back(signal.SIGINT) as held:
            while trainer.global_step < last and not held.asked:
                self._run_portion(training, trainer.global_step, last)
        if held.asked and (trainer.global_step < last or not engine.at_its_end(trainer)):
            raise KeyboardInterrupt
        losses = training.losses()
        self.log("loss", losses.nanmedian(), prog_bar=True, logger=False, batch_size=1)
        return {"losses": losses}

    def _run_portion(self, training: Training, first: int, last: int) -> None:
        """As many of the steps as may be kept at once, looked at, logged and counted."""
        trainer: Any = self.trainer
        observers = [c for c in trainer.callbacks if isinstance(c, engine.StepObserver)]
        asked = [observer.wanted(first + 1, last) for observer in observers]
        recorded = np.unique(np.concatenate([*asked, np.zeros(0, np.int64)]).astype(np.int64))
        every = trainer.log_every_n_steps or last + 1
        due = list(range(first + -first % every, last, every))
        whole = self._whole
        if not whole and due:
            # A step sees its batch alone: all rows are looked at before it, as for one net.
            if due[0] == first:
                self.log_row(first, training.losses())
            last = next((step for step in due if step > first), last)
        stop = training.portion(first, last, recorded.tolist())
        recorded = recorded[recorded <= stop]
        noted = [step for step in due if step < stop] if whole else []
        seen = training.run(first, stop, noted, recorded.tolist())
        count_steps(trainer, stop - first)
        if len(recorded):
            flat = [s.reshape(len(recorded), -1) for s in seen.snapshots.values()]
            rows = torch.cat(flat, 1).cpu().numpy()
            for observer, steps in zip(observers, asked, strict=True):
                chosen = np.isin(recorded, steps)
                observer.observe_rows(recorded[chosen], rows[chosen])
        for step, losses in zip(noted, seen.losses, strict=True):
            self.log_row(step, losses)

    training_step.takes_blocks = True  # type: ignore[attr-defined]

    def _started(self, block: engine.Block) -> Training:
        """The training of the current fit; made when its optimizer and device are known."""
        if self._training is None or self._training[0] is not self.trainer:
            optimizer: Any = self.optimizers(use_pl_optimizer=False)
            block.y = self.targets(block.y)
            self._whole = block.full and not behaviour(self.net.template, block.x).on
            training = Training(self.net, self.loss, optimizer, block, self.compiled, self.memory)
            if self._diverged is not None:
                training.diverged = self._diverged
            self._training = (self.trainer, training)
            rank_zero_info(f"toyml: {self.net.replicas} replicas, {training.route}")
        return self._training[1]

    def on_train_end(self) -> None:
        """Log the losses of the last parameters."""
        if self._training is not None and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.log_row(self.trainer.global_step, self._training[1].losses())

    def log_row(self, step: int, losses: Tensor) -> None:
        """Write quantiles of the losses [R] at a step to every logger."""
        row = summary(losses)
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step=step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember when replicas diverged."""
        checkpoint["toyml_diverged"] = self.diverged

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the checkpoint's precision before its weights are copied."""
        self._diverged = checkpoint.get("toyml_diverged")
        tensors = [v for k, v in checkpoint["state_dict"].items() if k.startswith("net.")]
        dtypes = {v.dtype for v in tensors if v.is_floating_point()}
        if len(dtypes) == 1:
            self.net.to(dtypes.pop())

    # -- evaluation --------------------------------------------------------------------------

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log quantiles of the losses on held-out data."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log quantiles of the losses."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Outputs [R, n, k]."""
        outputs: Tensor = self(batch[0])
        return outputs

    def targets(self, y: Tensor) -> Tensor:
        """Targets in the form that the loss takes (:func:`toyml.tasks.trial.targets`)."""
        return targets(self.loss, y)

    def _evaluate(self, batch: Any, stage: str) -> None:
        x, y = batch
        y = self.targets(y)
        losses = evaluation(self.net, self.loss)(dict(self.net.named_parameters()), x, y)
        values = {f"{stage}_{name}": value for name, value in summary(losses).items()}
        fitting = self.trainer.state.fn == "fit"
        if fitting and not self.trainer.sanity_checking:
            for logger in self.trainer.loggers:
                logger.log_metrics(values, step=self.trainer.global_step)
        self.log_dict(values, prog_bar=False, batch_size=len(x), logger=not fitting)


def summary(losses: Tensor) -> dict[str, float]:
    """Median and quantiles of the finite losses, and how many are not finite.

    Example:
        >>> summary(torch.tensor([1.0, 3.0, 2.0, float("nan")]))["loss"]
        2.0
    """
    finite = losses.detach().double()[losses.isfinite()]
    if not len(finite):
        finite = finite.new_full((1,), float("nan"))
    low, median, high = np.quantile(finite.cpu().numpy(), [0.1, 0.5, 0.9])
    lost = int((~losses.isfinite()).sum())
    return {
        "loss": float(median),
        "loss_10": float(low),
        "loss_90": float(high),
        "diverged": float(lost),
    }


def given_values(initial: dict[str, Any], drawn: dict[str, Tensor]) -> dict[str, Tensor]:
    """Initial values given by hand, as tensors beside the drawn ones.

    Raises:
        UserError: A name or a shape that does not fit.
    """
    found = {}
    for name, values in initial.items():
        if name not in drawn:
            raise UserError(f"initial value for {name!r}, but there are {', '.join(drawn)}")
        try:
            given = torch.as_tensor(values, dtype=drawn[name].dtype)
        except (ValueError, TypeError) as error:
            raise UserError(f"initial value for {name!r} is no array: {error}") from error
        if given.shape != drawn[name].shape:
            raise UserError(
                f"initial value for {name!r} has shape {list(given.shape)}; with these replicas "
                f"it has to be {list(drawn[name].shape)}"
            )
        found[name] = given
    return found
