"""Net, loss and metrics tried on all rows, before anything is trained or written."""

from __future__ import annotations

import copy
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from toyml.errors import UserError
from toyml.measures.forward import evaluating
from toyml.measures.meaning import BY_CLASS, loss_targets

if TYPE_CHECKING:
    from toyml.tasks.supervised import Supervised

ROWS_AT_ONCE = 2**16
"""Rows that the net sees at once where all are looked at."""

ANYTHING = (RuntimeError, ValueError, TypeError, IndexError, AttributeError)
"""What a net, loss or metric may say of values that it does not take."""


def targets(loss: nn.Module, y: Tensor) -> Tensor:
    """Targets in the form that a loss takes (:func:`toyml.measures.loss_targets`).

    Raises:
        UserError: They are no classes, and the loss takes classes.
    """
    try:
        return loss_targets(loss, y)
    except ValueError as error:
        raise UserError(str(error)) from error


def try_rows(task: Supervised, x: Tensor, y: Tensor) -> None:
    """See that a task can be trained on rows.

    Args:
        task: The task; nothing of it is changed.
        x: Inputs [n, ...], where and as the net takes them.
        y: Targets in the form that the loss takes.

    Raises:
        UserError: The net, the loss or a metric refuses some of them.
    """
    for name, rows in (("inputs", x), ("targets", y)):
        lost = ~rows.isfinite().flatten(1).all(1) if rows.ndim > 1 else ~rows.isfinite()
        if lost.any():
            first = int(lost.nonzero()[0])
            odd = rows[first][~rows[first].isfinite()].flatten()[0].item()
            raise UserError(
                f"row {first} of the {name} holds {odd} ({int(lost.sum()):,} of {len(rows):,} rows "
                "do); leave such rows out, or fill them in"
            )
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(task.net):
        try:
            output = torch.cat([task(piece) for piece in x.split(ROWS_AT_ONCE)])  # type: ignore[no-untyped-call]
        except ANYTHING as error:
            own = next(task.net.parameters(), x)
            way = f"give its first layer {x.shape[-1]} inputs, or reshape them"
            if x.dtype != own.dtype and "dtype" in str(error):
                way = f"hand over inputs of type {kind_of(own)}, such as x.float()"
            raise UserError(
                f"the net does not take inputs of shape {list(x.shape)} and type {kind_of(x)} "
                f"({words(error)}); {way}"
            ) from error
        check_shapes(task.loss, output, y)
        if isinstance(task.loss, nn.BCELoss):
            check_probabilities(task.net, output, x)
        check_loss(task.loss, output, y)
        check_metrics(task, output, y)


def check_shapes(loss: nn.Module, output: Tensor, y: Tensor) -> None:
    """Refuse an output that the loss would silently broadcast against the targets."""
    name = type(loss).__name__
    if isinstance(loss, nn.CrossEntropyLoss) and output.shape[-1] == 1:
        raise UserError(
            "CrossEntropyLoss on one output is 0 whatever the weights are; use "
            "BCEWithLogitsLoss, or one output per class"
        )
    if y.ndim == 1 and not y.is_floating_point() and output.ndim > 1:
        classes, most = output.shape[1], int(y.max()) if len(y) else 0
        ignored = getattr(loss, "ignore_index", None)
        if isinstance(loss, tuple(BY_CLASS)) and len(output) == len(y):
            wrong = y[((y < 0) | (y >= classes)) & (y != ignored)]
            if len(wrong):
                way = f"make the last layer {max(most, 1) + 1} wide"
                if int(wrong[0]) < 0:
                    way = "number the classes from 0 on"
                raise UserError(
                    f"a target is class {int(wrong[0])}, and the net has {classes} outputs for "
                    f"classes 0 to {classes - 1}; {way}"
                )
            return
    if output.shape == y.shape:
        return
    if y.ndim == 1:
        way = "reshape the targets to [n, 1] (y[:, None])"
    elif output.ndim == 2 and y.ndim == 2 and len(output) == len(y):
        way = f"make the last layer {y.shape[-1]} wide or reshape the targets"
    else:
        way = "reshape the output or the targets"
    if isinstance(loss, tuple(BY_CLASS)):
        way = "give one output per class, and targets that are class numbers or one-hot rows"
    raise UserError(
        f"the net's output has shape {list(output.shape)} but the targets have "
        f"{list(y.shape)}; {name} would broadcast them to a wrong loss: {way}"
    )


def check_probabilities(net: nn.Module, output: Tensor, x: Tensor) -> None:
    """Refuse BCELoss on a net whose outputs can leave 0 to 1, now or after some steps."""
    larger = copy.deepcopy(net)
    for p in larger.parameters():
        p.copy_(10 * torch.randn(p.shape).to(p))
    outputs = [output]
    with suppress(*ANYTHING):  # a net may refuse parameters that it never reaches
        outputs.append(larger(x[:ROWS_AT_ONCE]))
    for found in outputs:
        outside = found[(found < 0) | (found > 1)]
        if len(outside):
            raise UserError(
                "BCELoss takes probabilities, and this net can put out "
                f"{float(outside[0]):.3g}; end it with torch.nn.Sigmoid, or take "
                "torch.nn.BCEWithLogitsLoss"
            )


def check_loss(loss: nn.Module, output: Tensor, y: Tensor) -> None:
    """Refuse what is no loss for these targets."""
    name = type(loss).__name__
    try:
        value = loss(output, y)
    except ANYTHING as error:
        raise UserError(
            f"{name} does not take an output {list(output.shape)} and targets {list(y.shape)} "
            f"of type {kind_of(y)} ({words(error)}); choose another "
            "model.loss, output or type (y.float())"
        ) from error
    if not isinstance(value, Tensor) or value.dim() != 0:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(
            f"{name} gives {shape} where one number is needed; use a loss with reduction=mean"
        )
    if not value.is_floating_point():
        raise UserError(f"{name} of targets {y.dtype} is {value.dtype}; hand over y.float()")


def check_metrics(task: Supervised, output: Tensor, y: Tensor) -> None:
    """Refuse a metric that does not take these targets, or gives no single number."""
    for name, metric in task.metrics.items():
        assert isinstance(metric, Metric)
        kind = type(metric).__name__
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about values that a fit has not reached yet
                value = task.measured(metric, output, y)
                metric.reset()
        except ANYTHING as error:
            raise UserError(
                f"metric {name!r} ({kind}) does not take predictions {list(output.shape)} and "
                f"targets {list(y.shape)} from {float(y.min()):g} to {float(y.max()):g} "
                f"({words(error)}); choose another in model.metrics"
            ) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UserError(
                f"metric {name!r} ({kind}) gives {shape} where one number is needed; set its "
                "average"
            )


def kind_of(values: Tensor) -> str:
    """The type of a tensor's numbers.

    Example:
        >>> kind_of(torch.zeros(1))
        'float32'
    """
    return str(values.dtype).removeprefix("torch.")


def words(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())
