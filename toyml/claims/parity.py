"""The run beside the same training written by hand in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toyml import reference
from toyml.claims.claim import (
    Equals,
    NotApplicable,
    deterministic,
    plain_trainer,
    snapshot,
    supervised,
)
from toyml.data import InMemory
from toyml.engine import Block
from toyml.measures.chain import read_chain
from toyml.run import Run
from toyml.tasks import Supervised

ROWS_AT_ONCE = 1024
ROUNDINGS = 450
"""Spacings of numbers at 1 that still count as equal: 1e-13 in float64, 5e-5 in float32."""

ACTIVATIONS: dict[type[nn.Module], Callable[[], reference.Activation]] = {
    nn.Sigmoid: reference.Sigmoid,
    nn.Tanh: reference.Tanh,
    nn.ReLU: reference.ReLU,
}
UNTRANSLATED = ("maximize", "amsgrad", "capturable", "differentiable")


@dataclass(frozen=True)
class Beside:
    """How far a run is from its reference.

    Attributes:
        steps: Every recorded step [t].
        deviations: By tensor, the largest absolute difference of its entries [t].
        largest: The largest of all.
        at_step: Where it was first reached.
        parameter: The scalar it belongs to.
        differs_at: First step with any other bit; ``None`` when there is none.
        parts_at: First step beyond the tolerance; ``None`` when there is none.
        parts_in: The scalar that is farthest off there.
        tolerance: Largest difference that still counts as rounding.
        dtype: Precision of both.
    """

    steps: NDArray[np.int64]
    deviations: dict[str, NDArray[np.float64]]
    largest: float
    at_step: int
    parameter: str
    differs_at: int | None
    parts_at: int | None
    parts_in: str | None
    tolerance: float
    dtype: str

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``: everything but the curves."""
        return {
            "snapshots": len(self.steps),
            "last_step": int(self.steps[-1]),
            "largest": self.largest,
            "at_step": self.at_step,
            "parameter": self.parameter,
            "differs_at": self.differs_at,
            "parts_at": self.parts_at,
            "parts_in": self.parts_in,
            "tolerance": self.tolerance,
            "dtype": self.dtype,
        }


def beside_reference(run: Run, tolerance: float | None = None) -> Beside:
    """Train the reference from the run's start, with its settings, and compare every snapshot.

    Args:
        run: A supervised run of a chain of affine layers with Sigmoid, Tanh or ReLU between them,
            with SGD, Adam or AdamW, on data in memory; in batches as well.
        tolerance: Largest difference that still counts as rounding; by default 450 spacings of
            the numbers at 1, which is 1e-13 in float64.

    Returns:
        Where the two part, and by how much.

    Raises:
        NotApplicable: Something in the run has no counterpart in ``toyml.reference``.
    """
    snapshot(run, 0)
    states = reference_states(run)
    recorded, steps = run.trajectory.parameters.flat, run.trajectory.steps
    spacing = float(np.finfo(recorded.dtype).eps)
    limit = ROUNDINGS * spacing if tolerance is None else tolerance
    gaps = np.empty((len(steps), len(run.trajectory.shapes)))
    starts = np.cumsum([0, *(int(np.prod(s)) for s in run.trajectory.shapes.values())])[:-1]
    worst = np.empty(len(steps), np.int64)
    rows = np.empty((ROWS_AT_ONCE, recorded.shape[1]), recorded.dtype)
    done, state = next(states)
    for first in range(0, len(steps), ROWS_AT_ONCE):
        part = slice(first, min(first + ROWS_AT_ONCE, len(steps)))
        for row, step in zip(rows, steps[part], strict=False):
            while done < step:
                done, state = next(states)
            np.concatenate([each.ravel() for each in state], out=row)
        gap = distance(recorded[part], rows[: part.stop - first])
        gaps[part], worst[part] = np.maximum.reduceat(gap, starts, axis=1), gap.argmax(1)
    return summed_up(run, gaps, worst, limit)


def summed_up(
    run: Run, gaps: NDArray[np.float64], worst: NDArray[np.int64], limit: float
) -> Beside:
    """Name the steps and parameters."""
    steps, name = run.trajectory.steps, run.trajectory.scalar_name
    each = gaps.max(1)
    top = int(each.argmax())
    different, beyond = np.flatnonzero(each > 0), np.flatnonzero(each > limit)
    return Beside(
        steps=steps,
        deviations=dict(zip(run.trajectory.shapes, gaps.T, strict=True)),
        largest=float(each[top]),
        at_step=int(steps[top]),
        parameter=name(worst[top]),
        differs_at=int(steps[different[0]]) if len(different) else None,
        parts_at=int(steps[beyond[0]]) if len(beyond) else None,
        parts_in=name(worst[beyond[0]]) if len(beyond) else None,
        tolerance=limit,
        dtype=str(run.trajectory.parameters.flat.dtype),
    )


def distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Absolute differences; 0 where both are the same, not-a-number included, else inf there.

    Example:
        >>> distance(np.array([1.0, np.inf, np.nan]), np.array([3.0, np.inf, 0.0]))
        array([ 2.,  0., inf])
    """
    with np.errstate(all="ignore"):
        gap = np.abs(a.astype(np.float64) - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))


def reference_states(run: Run) -> Iterator[tuple[int, Sequence[reference.Array]]]:
    """Steps done and parameters of the reference, one pair per step up to the run's last.

    Raises:
        NotApplicable: Something in the run has no counterpart in ``toyml.reference``.
    """
    task, data = supervised(run), run.datamodule
    if not isinstance(data, InMemory):
        raise NotApplicable(f"{type(data).__name__} is no toyml.data module, whose order is known")
    plain_trainer(run)
    deterministic(run)
    if task.lr_scheduler is not None:
        raise NotApplicable("the reference has no lr_scheduler")
    net, loss = reference_net(run), reference_loss(run.loss)
    optimizer = reference_optimizer(task)
    x, y = run.data
    whole = data.batch_size is None or data.batch_size >= len(x)
    size = None if whole else data.batch_size
    last = int(run.trajectory.steps[-1])
    block = Block(x, y, last, size, data.shuffle, data.seed)

    def states() -> Iterator[tuple[int, Sequence[reference.Array]]]:
        yield 0, net.parameters
        with np.errstate(all="ignore"):  # a run that overflows does so in the reference too
            for step, (rows, targets) in enumerate(block.batches(0, last), start=1):
                gradients = net.gradients(rows.numpy(), targets.numpy(), loss)
                optimizer.step(net.parameters, gradients)
                yield step, net.parameters

    return states()


def reference_net(run: Run, step: int = 0) -> reference.MLP:
    """The run's net in NumPy, with the parameters of a recorded step.

    Raises:
        NotApplicable: It is no chain of affine layers, or has another activation.
    """
    chain = read_chain(run.net)
    if chain is None:
        raise NotApplicable(f"the reference has no {type(run.net).__name__}, only affine chains")
    names = [n for layer in chain for n in (layer.weight, layer.bias) if n is not None]
    if names != list(run.trajectory.shapes):
        raise NotApplicable("the reference has no layers that share parameters")
    with_bias = [layer.bias is not None for layer in chain]
    if len(set(with_bias)) > 1:
        raise NotApplicable("the reference has biases in every layer or in none")
    activations: list[reference.Activation] = []
    for layer in chain:
        kinds = [type(a) for a in layer.activations if type(a) is not nn.Identity]
        unknown = [kind.__name__ for kind in kinds if kind not in ACTIVATIONS]
        if unknown:
            raise NotApplicable(f"the reference has no {unknown[0]}; it has Sigmoid, Tanh and ReLU")
        if len(kinds) > 1:
            raise NotApplicable(f"the reference has one activation per layer, not {len(kinds)}")
        activations.append(ACTIVATIONS[kinds[0]]() if kinds else reference.Identity())
    start = {name: p.numpy() for name, p in run.trajectory.at(step).items()}
    biases = [start[layer.bias] for layer in chain if layer.bias is not None]
    return reference.MLP([start[layer.weight] for layer in chain], biases or None, activations)


def reference_loss(loss: nn.Module) -> reference.Loss:
    """The loss in NumPy.

    Raises:
        NotApplicable: It is another one, or not a plain mean.
    """
    name = type(loss).__name__
    if getattr(loss, "reduction", "mean") != "mean":
        raise NotApplicable(f"the reference has means only, {name} is a {loss.reduction}")
    if getattr(loss, "weight", None) is not None or getattr(loss, "pos_weight", None) is not None:
        raise NotApplicable(f"the reference has no weights in {name}")
    if type(loss) is nn.HuberLoss:
        return reference.Huber(float(loss.delta))
    if type(loss) is nn.SmoothL1Loss and loss.beta == 1:
        return reference.Huber()  # the same function where β = δ = 1
    plain: dict[type[nn.Module], Callable[[], reference.Loss]] = {
        nn.MSELoss: reference.MSE,
        nn.L1Loss: reference.L1,
        nn.BCELoss: reference.BCE,
        nn.BCEWithLogitsLoss: reference.BCEWithLogits,
    }
    if type(loss) not in plain:
        raise NotApplicable(f"the reference has no such {name}")
    return plain[type(loss)]()


class Groups:
    """One reference optimizer per parameter group, where groups have settings of their own.

    Args:
        groups: Optimizers, and the places of their parameters in the net's list.
    """

    def __init__(self, groups: Sequence[tuple[reference.Optimizer, Sequence[int]]]) -> None:
        self.groups = groups

    def step(
        self, parameters: Sequence[reference.Array], gradients: Sequence[reference.Array]
    ) -> None:
        """Update the parameters in place."""
        for optimizer, places in self.groups:
            optimizer.step([parameters[i] for i in places], [gradients[i] for i in places])


def reference_optimizer(task: Supervised) -> Groups:
    """The task's optimizer in NumPy.

    Raises:
        NotApplicable: It is another one, or has an option that the reference lacks.
    """
    optimizer = task.configure_optimizers()
    place = {id(p): i for i, p in enumerate(task.net.parameters())}
    return Groups(
        [
            (reference_group(optimizer, group), [place[id(p)] for p in group["params"]])
            for group in optimizer.param_groups
        ]
    )


def reference_group(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> reference.Optimizer:
    """The optimizer of one parameter group."""
    name = type(optimizer).__name__
    for option in UNTRANSLATED:
        if group.get(option):
            raise NotApplicable(f"the reference has no {option} in {name}")
    lr, decay = float(group["lr"]), float(group.get("weight_decay", 0.0))
    if type(optimizer) is torch.optim.SGD:
        momentum, dampening = float(group["momentum"]), float(group["dampening"])
        return reference.SGD(lr, momentum, dampening, decay, bool(group["nesterov"]))
    if type(optimizer) in (torch.optim.Adam, torch.optim.AdamW):
        decoupled = type(optimizer) is torch.optim.AdamW or group.get("decoupled_weight_decay")
        kind = reference.AdamW if decoupled else reference.Adam
        first, second = (float(beta) for beta in group["betas"])
        return kind(lr, (first, second), float(group["eps"]), decay)
    raise NotApplicable(f"the reference has no {name}; it has SGD, Adam and AdamW")


class ParityWithin(Equals):
    """Largest deviation from the NumPy reference over every recorded step and parameter.

    Args:
        statement: The claim in words.
        tolerance: Largest deviation allowed.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, 0.0, tolerance, given, source)

    def measure(self, run: Run) -> float:
        """Take what the ``Parity`` callback found; train the reference where it was not asked."""
        snapshot(run, 0)
        steps, dtype = run.trajectory.steps, run.trajectory.parameters.flat.dtype
        these = {"snapshots": len(steps), "last_step": int(steps[-1]), "dtype": str(dtype)}
        found = run.summary.get("parity") or {}
        if all(found.get(key) == value for key, value in these.items()):
            return float(found["largest"])
        return beside_reference(run).largest
