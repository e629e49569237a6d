r"""The curvature that a run's optimizer feels, its limits, and claims about the two.

SGD descends the loss plus its weight decay,

.. math:: L(\theta) + \tfrac12 \sum_i \lambda_i \theta_i^2,

and feels the Hessian of that sum. It is stable along a direction as long as the curvature there is
below a limit that its settings give.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toyml import measures, theory
from toyml.claims.claim import Claim, Equals, NotApplicable, deterministic, plain_trainer, snapshot
from toyml.measures.curvature import EXACT_PARAMETERS
from toyml.run import Run, network
from toyml.tasks import Supervised

LANCZOS_STEPS = 200
"""Vectors that Lanczos iteration may keep for each snapshot."""

BASIS_NUMBERS = 2**23
"""How many numbers of such vectors are kept at once."""


class Limits(NamedTuple):
    """The largest curvature under which SGD is stable.

    Attributes:
        values: At each step asked for [t].
        formula: The limit in words, such as ``"2 / lr"``.
    """

    values: NDArray[np.float64]
    formula: str


def curvatures(run: Run, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Eigenvalues of the Hessian of loss plus weight decay, over all training rows, in float64.

    Weight decay outside the gradient (AdamW) is no part of it.

    Args:
        run: The run.
        indices: Positions in the trajectory [t].

    Returns:
        [t, p], ascending; of a net of more than 200 parameters only the largest, [t, 1]. NaN where
        the Hessian is not finite.

    Raises:
        NotApplicable: A large net whose weight decay spares some parameters.
    """
    deterministic(run)
    chosen = np.asarray(indices)
    decay = decays(run)
    values = np.full((len(chosen), len(decay) if len(decay) <= EXACT_PARAMETERS else 1), np.nan)
    # A loss may refuse what a training that diverged has left.
    finite = np.isfinite(run.trajectory.parameters.flat[chosen]).all(1)
    if finite.any():
        values[finite] = finite_curvatures(run, chosen[finite], decay).numpy()
    return values


def finite_curvatures(run: Run, indices: NDArray[np.int64], decay: Tensor) -> Tensor:
    """The eigenvalues at snapshots of finite parameters, [t, p] or [t, 1]."""
    stack = {name: p.double() for name, p in run.trajectory.points(indices).items()}
    x, y = run.rows()
    uniform = bool((decay == decay[0]).all())
    if len(decay) > EXACT_PARAMETERS:
        if not uniform:
            raise NotApplicable("weight decay spares some of more than 200 parameters")
        return (largest_curvatures(run, stack, x, y) + decay[0])[:, None]
    if uniform:
        return measures.hessian_spectrum(run.net, run.loss, stack, x, y) + decay[0]
    return spectrum(hessians(run, stack, x, y) + torch.diag(decay))


def largest_curvatures(run: Run, stack: measures.Parameters, x: Tensor, y: Tensor) -> Tensor:
    """The largest eigenvalue at every snapshot [t], by Lanczos iteration.

    Raises:
        NotApplicable: It did not converge.
    """
    t, p = measures.flatten(stack).shape
    at_once = max(1, BASIS_NUMBERS // (LANCZOS_STEPS * p))
    pieces = []
    for start in range(0, t, at_once):
        some = {name: values[start : start + at_once] for name, values in stack.items()}
        try:
            pieces.append(measures.sharpness(run.net, run.loss, some, x, y))
        except ArithmeticError as error:
            raise NotApplicable(str(error)) from error
    return torch.cat(pieces)


def hessians(run: Run, stack: measures.Parameters, x: Tensor, y: Tensor) -> Tensor:
    """Hessians of the loss at all snapshots [t, p, p]: one product for each unit vector."""
    t, p = measures.flatten(stack).shape
    repeated = {name: values.repeat_interleave(p, 0) for name, values in stack.items()}
    vectors = torch.eye(p, dtype=x.dtype).repeat(t, 1)
    rows = measures.hessian_vector_products(run.net, run.loss, repeated, vectors, x, y)
    return rows.reshape(t, p, p)


def spectrum(matrices: Tensor) -> Tensor:
    """Eigenvalues [t, p] of symmetric matrices [t, p, p]; NaN of those that are not finite."""
    lost = ~matrices.isfinite().flatten(1).all(1)
    values: Tensor = torch.linalg.eigvalsh(torch.where(lost[:, None, None], 0.0, matrices))
    return torch.where(lost[:, None], torch.nan, values)


def decays(run: Run) -> Tensor:
    """Weight decay of each scalar parameter that acts through the gradient, [p] in float64."""
    shapes = run.trajectory.shapes
    amounts = dict.fromkeys(shapes, 0.0)
    if isinstance(run.task, Supervised):
        twin, optimizer, _ = optimization(run.task)
        names = {id(p): name for name, p in network(twin).named_parameters()}
        for group in optimizer.param_groups:
            outside = isinstance(optimizer, torch.optim.AdamW)
            if not (outside or group.get("decoupled_weight_decay", False)):
                for parameter in group["params"]:
                    amounts[names[id(parameter)]] = float(group.get("weight_decay", 0.0))
    return torch.cat(
        [
            torch.full((math.prod(s),), amounts[name], dtype=torch.float64)
            for name, s in shapes.items()
        ]
    )


def optimization(task: Supervised) -> tuple[Supervised, torch.optim.Optimizer, Any]:
    """A twin of the task with an optimizer and a scheduler (or ``None``) of its own.

    The task's own parameters are not handed to anything that could step them.
    """
    twin = Supervised(
        copy.deepcopy(task.net),
        task.loss,
        task.optimizer,
        lr_scheduler=task.lr_scheduler,
        decay_bias=task.decay_bias,
    )
    twin.zero_grad()
    configured = twin.configure_optimizers()
    if isinstance(configured, dict):
        return twin, configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    return twin, configured, None


def limits(run: Run, steps: NDArray[np.int64]) -> Limits:
    r"""The largest curvature under which the run's SGD is stable, at each step.

    .. math:: \frac{2(1 + \mu)}{(1 - \tau)\,\eta}, \qquad\text{Nesterov:}\quad
       \frac{2(1 + \mu)}{(1 + 2\mu)\,\eta}

    with the learning rate η and the momentum μ of the update that follows the step; τ the
    dampening.

    Args:
        run: The run.
        steps: Numbers of updates done [t], increasing.

    Raises:
        NotApplicable: Not SGD, or settings for which there is no such limit.
    """
    if not isinstance(run.task, Supervised):
        raise NotApplicable(f"{type(run.task).__name__} is not supervised training")
    plain_trainer(run)
    rates, momenta, group = schedule(run.task, steps)
    nesterov, dampening = bool(group["nesterov"]), float(group["dampening"])
    try:
        values = [
            theory.sharpness_limit(float(lr), float(mu), nesterov, dampening) if lr else np.inf
            for lr, mu in zip(rates, momenta, strict=True)
        ]
    except ValueError as error:
        raise NotApplicable(str(error)) from error
    return Limits(np.array(values), limit_formula(float(momenta.max()), nesterov, dampening))


def limit_formula(momentum: float, nesterov: bool, dampening: float) -> str:
    """The limit's formula in the symbols of the settings.

    Example:
        >>> limit_formula(0.0, False, 0.0), limit_formula(0.9, True, 0.0)
        ('2 / lr', '2 (1 + m) / ((1 + 2 m) lr)')
    """
    if not momentum:
        return "2 / lr"
    if nesterov:
        return "2 (1 + m) / ((1 + 2 m) lr)"
    return "2 (1 + m) / ((1 - d) lr)" if dampening else "2 (1 + m) / lr"


def schedule(
    task: Supervised, steps: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, Any]]:
    """Learning rate [t] and momentum [t] of the update after each step; the other settings.

    Raises:
        NotApplicable: Not SGD, settings that differ among parameters, ascent, or a schedule that
            follows the loss.
    """
    _, optimizer, scheduler = optimization(task)
    if type(optimizer) is not torch.optim.SGD:
        raise NotApplicable(f"no limit on the sharpness is known for {type(optimizer).__name__}")
    group = optimizer.param_groups[0]
    for name in ("lr", "momentum", "dampening", "nesterov", "maximize"):
        if any(other[name] != group[name] for other in optimizer.param_groups):
            raise NotApplicable(f"{name} differs among the parameters")
    if group["maximize"]:
        raise NotApplicable("with maximize the training climbs")
    rates, momenta = np.full(len(steps), float(group["lr"])), np.empty(len(steps))
    momenta[:] = group["momentum"]
    if scheduler is not None:
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise NotApplicable("the learning rate follows the loss")
        done = 0
        optimizer.step()  # without gradients: it moves nothing, and schedulers ask for it
        for i, step in enumerate(steps):
            while done < step:
                scheduler.step()
                done += 1
            rates[i], momenta[i] = float(group["lr"]), float(group["momentum"])
    return rates, momenta, group


class SharpnessAt(Equals):
    """The largest eigenvalue of the Hessian of loss plus weight decay after a number of steps.

    Args:
        statement: The claim in words.
        predicted: The predicted eigenvalue.
        tolerance: Largest allowed distance.
        step: Number of updates done; ``null`` is the last step.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        predicted: float,
        tolerance: float,
        step: int | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step = step

    def measure(self, run: Run) -> float:
        """Differentiate the loss twice at the recorded parameters."""
        return float(curvatures(run, [snapshot(run, self.step)])[0, -1])


class StableAt(Claim):
    """The curvature after a number of steps is below the limit of the optimizer in use.

    Args:
        statement: The claim in words.
        step: Number of updates done; ``null`` is the last step.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int | None = None,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        self.step = step

    @property
    def predicted(self) -> str:
        """Below it."""
        return "below the limit"

    def measure(self, run: Run) -> str:
        """Compare the two at that snapshot."""
        place = snapshot(run, self.step)
        limit = limits(run, run.trajectory.steps[[place]]).values[0]
        sharpness = float(curvatures(run, [place])[0, -1])
        if sharpness < limit:
            return "below the limit"
        return f"{sharpness:.6g}, and the limit is {limit:.6g}"


def kinks(net: nn.Module, loss: nn.Module) -> str:
    """What the Hessian does not see of a loss or net that is only piecewise smooth; "" if it is.

    Second derivatives are taken where they exist; jumps of the gradient count as nothing.
    """
    words = []
    if isinstance(loss, nn.L1Loss):
        words.append("L1's gradient jumps where a residual changes its sign")
    elif isinstance(loss, nn.HuberLoss | nn.SmoothL1Loss):
        words.append(f"{type(loss).__name__} is curved only for rows with a small residual")
    bent = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Threshold)
    found = {type(m).__name__ for m in net.modules() if isinstance(m, bent)}
    if found:
        words.append(f"{' and '.join(sorted(found))} bends where a unit switches")
    if not words:
        return ""
    return f"{'; '.join(words)}: the Hessian is that of the pieces, and jumps count as nothing."
