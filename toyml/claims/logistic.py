"""Claims about logistic regression by gradient descent: its limit, its minimum, its swings."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toyml import measures, theory
from toyml.claims.claim import (
    START,
    Equals,
    NotApplicable,
    labelled,
    plain_trainer,
    snapshot,
    supervised,
)
from toyml.run import Run

ROUNDING = 1e-7
"""Deviations below this, squared, are lost in the rounding of float64."""


class Logistic(NamedTuple):
    """Mean logistic loss of one affine map, with weight decay λ as PyTorch means it.

    Attributes:
        x: Rows [n, d], float64.
        y: Labels 0 or 1 [n].
        weight_decay: λ, 0 for none.
        decay_bias: Whether the bias is decayed.
    """

    x: Tensor
    y: Tensor
    weight_decay: float
    decay_bias: bool

    @property
    def signed_rows(self) -> Tensor:
        """Rows s_i (x_i, 1) [n, d + 1]: their products with (w, b) are the margins."""
        return (2 * self.y - 1)[:, None] * torch.cat([self.x, self.x.new_ones(len(self.x), 1)], 1)

    def minimum(self) -> Tensor:
        """The one minimiser (w..., b) [d + 1].

        Raises:
            NotApplicable: There is none, or more than one.
        """
        if not self.weight_decay:
            raise NotApplicable("without weight decay separable points have no minimum")
        try:
            w, b = theory.regularized_logistic(self.x, self.y, self.weight_decay, self.decay_bias)
        except ValueError as error:
            raise NotApplicable(str(error)) from error
        return torch.cat([w, b.reshape(1)])

    def hessian(self, point: Tensor) -> Tensor:
        """Second derivatives at (w..., b), the decay's λ included, [d + 1, d + 1]."""
        return theory.logistic_hessian(
            self.x, self.y, point[:-1], point[-1], self.weight_decay, self.decay_bias
        )


class Swing(NamedTuple):
    r"""The training around the minimum, along the direction that takes longest.

    .. math:: v \cdot (\theta_{t+1} - \theta^*) \approx (1 - \eta h)\, v \cdot (\theta_t - \theta^*)

    with h an eigenvalue of the Hessian at the minimum and v its eigenvector: of those that the
    margins see, the pair whose factor is largest in magnitude.

    Attributes:
        minimum: The minimiser (w..., b) [d + 1].
        sharpness: Largest eigenvalue.
        direction: v [d + 1].
        curvature: h.
        factor: 1 - η h.
        deviation: v·(θ_t - θ*) at every snapshot [t].
        matched: Index of the snapshot that fixes the amplitude: late, but not yet rounding.
    """

    minimum: Tensor
    sharpness: float
    direction: Tensor
    curvature: float
    factor: float
    deviation: NDArray[np.float64]
    matched: int


def logistic(run: Run) -> Logistic:
    """The run as a logistic regression.

    Raises:
        NotApplicable: Another net or loss, several outputs, no bias, or decoupled weight decay.
    """
    leaves = [m for m in run.net.modules() if not list(m.children())]
    layers = [m for m in leaves if not isinstance(m, nn.Identity)]
    sigmoid = [nn.Sigmoid] if isinstance(run.loss, nn.BCELoss) else []
    kinds = [type(layer) for layer in layers]
    if kinds != [nn.Linear, *sigmoid] or layers[0].bias is None or layers[0].out_features != 1:
        raise NotApplicable("the net is not one affine map with a bias and one output")
    loss = run.loss
    if not isinstance(loss, nn.BCELoss | nn.BCEWithLogitsLoss):
        raise NotApplicable(f"{type(loss).__name__} is not the logistic loss")
    if loss.reduction != "mean" or any(True for _ in loss.buffers()):
        raise NotApplicable("the loss is not the plain mean over the rows")
    x, y = (rows.double() for rows in labelled(run))
    if sorted(set(y.flatten().tolist())) != [0.0, 1.0]:
        raise NotApplicable("the labels are not 0 and 1")
    optimizer = optimizer_of(run)
    group = optimizer.param_groups[0]
    decay = float(group.get("weight_decay", 0.0))
    decoupled = group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW))
    if decay and decoupled:
        raise NotApplicable(f"{type(optimizer).__name__} decays outside the gradient")
    return Logistic(x, y[:, 0], decay, supervised(run).decay_bias)


def optimizer_of(run: Run) -> torch.optim.Optimizer:
    """A new optimizer with the run's settings.

    Raises:
        NotApplicable: The updates are not those of loss and optimizer alone.
    """
    task = supervised(run)
    return task.optimizer(task.net.parameters())


def full_batch(run: Run) -> None:
    """Refuse mini-batches, whose steps follow another gradient each time.

    Raises:
        NotApplicable: The batches are smaller than the data.
    """
    size = getattr(run.datamodule, "batch_size", None)
    if size is not None and size < len(run.data[0]):
        raise NotApplicable(f"batches of {size} rows do not follow the gradient of all")


def descent_rate(run: Run) -> float:
    """The constant learning rate of full-batch gradient descent.

    Raises:
        NotApplicable: Another optimizer, momentum, a schedule, clipping, or mini-batches.
    """
    optimizer = optimizer_of(run)
    if type(optimizer) is not torch.optim.SGD:
        raise NotApplicable(f"{type(optimizer).__name__} is not gradient descent")
    group = optimizer.param_groups[0]
    if group["momentum"] or group["maximize"]:
        raise NotApplicable(f"momentum {group['momentum']} (or maximize) is not plain descent")
    if getattr(run.task, "lr_scheduler", None) is not None:
        raise NotApplicable("an lr_scheduler changes the learning rate")
    plain_trainer(run)
    full_batch(run)
    return float(group["lr"])


def parameters(run: Run) -> NDArray[np.float64]:
    """All (w..., b) of the run [t, d + 1], float64."""
    return np.asarray(run.trajectory.parameters.flat, dtype=np.float64)


def swing(run: Run) -> Swing:
    """How the run swings around its minimum.

    Raises:
        NotApplicable: No minimum, or another training than full-batch gradient descent.
    """
    model, lr = logistic(run), descent_rate(run)
    minimum = model.minimum()
    values, vectors = torch.linalg.eigh(model.hessian(minimum))
    factors = 1 - lr * values
    seen = (model.signed_rows @ vectors).abs().amax(0) > 1e-9
    mode = int(torch.where(seen, factors.abs(), -1.0).argmax())
    direction = vectors[:, mode]
    deviation = (parameters(run) - minimum.numpy()) @ direction.numpy()
    clear = np.flatnonzero(np.abs(deviation) > ROUNDING)
    return Swing(
        minimum=minimum,
        sharpness=float(values[-1]),
        direction=direction,
        curvature=float(values[mode]),
        factor=float(factors[mode]),
        deviation=deviation,
        matched=int(clear[-1]) if len(clear) else 0,
    )


def descent_law(run: Run) -> tuple[float, float, float]:
    r"""The law of the angle of plain descent on separable points of the plane.

    .. math:: \text{angle}(t) = \text{limit} + \arctan\frac{C}{\ln t + a}

    follows from :math:`w(t) = \hat w \ln t + \tilde w` (Soudry et al. 2018, theorem 4) with
    :math:`C = \hat w \times \tilde w / \|\hat w\|^2` and
    :math:`a = \hat w \cdot \tilde w / \|\hat w\|^2`.

    Returns:
        The limit as the direction's angle to the first axis, C, both in degrees, and a.

    Raises:
        NotApplicable: Weight decay, another training, or points without such a law.
    """
    model, lr = logistic(run), descent_rate(run)
    if model.weight_decay:
        raise NotApplicable(f"weight decay {model.weight_decay:g} stops the weights from growing")
    start = torch.from_numpy(parameters(run)[0].copy())
    try:
        w, _ = theory.max_margin_augmented(model.x, model.y)
        rest, _ = theory.residual(model.x, model.y, lr, start[:-1], start[-1])
        constant = theory.log_t_constant(model.x, model.y, lr, start[:-1], start[-1])
    except ValueError as error:
        raise NotApplicable(str(error)) from error
    limit = float(theory.angle(w, w.new_tensor([1.0, 0.0])))
    return limit, constant, float(w @ rest / w.dot(w))


class MinimumReached(Equals):
    """Distance of all parameters from the exact minimum with weight decay.

    The minimum is computed for the run's own points, λ and treatment of the bias. A run that by
    theory had no time to come within the tolerance is not judged.

    Args:
        statement: The claim in words.
        tolerance: Largest allowed distance.
        predicted: The predicted distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        tolerance: float,
        predicted: float = 0.0,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)

    def measure(self, run: Run) -> float:
        """Newton's method against the last parameters."""
        model, lr = logistic(run), descent_rate(run)
        minimum = model.minimum()
        slowest = float((1 - lr * torch.linalg.eigvalsh(model.hessian(minimum))).abs().max())
        if slowest >= 1:
            raise NotApplicable(f"lr {lr:g} is above 2 / sharpness: descent does not settle")
        last = int(run.trajectory.steps[-1])
        # The start and the way through the curved part of the loss get a factor of 1000.
        needed = math.ceil(math.log(self.tolerance / 1000) / math.log(slowest))
        if last < needed:
            raise NotApplicable(f"needs about {needed:,} steps to settle; the run has {last:,}")
        return float(np.linalg.norm(parameters(run)[-1] - minimum.numpy()))


class LogisticSharpness(Equals):
    """Largest Hessian eigenvalue after a number of steps, the weight decay's λ included.

    Args:
        statement: The claim in words.
        step: Number of updates done; ``null`` is the last step.
        predicted: The predicted eigenvalue.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int | None,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step = step

    def measure(self, run: Run) -> float:
        """Differentiate the run's own loss twice, and add the decay's part."""
        i = snapshot(run, self.step)
        model = logistic(run)
        x, y = run.rows()
        end = {name: p[0].double() for name, p in run.trajectory.points([i]).items()}
        curvature = measures.hessian(run.net, run.loss, end, x, y)
        decay = curvature.new_full((len(curvature),), model.weight_decay)
        decay[-1] *= model.decay_bias
        return float(torch.linalg.eigvalsh(curvature + torch.diag(decay))[-1])


class LargestRate(Equals):
    """The learning rate up to which gradient descent settles at the minimum, 2 / sharpness.

    Args:
        statement: The claim in words.
        predicted: The predicted rate.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (*START, "model.optimizer.lr", "trainer.max_steps")

    def measure(self, run: Run) -> float:
        """From the Hessian at the exact minimum."""
        return 2 / swing(run).sharpness


class SwingFactor(Equals):
    """What a step multiplies the deviation from the minimum by, along the slowest direction.

    Theory says 1 - lr · curvature: below 0 the training swings from side to side, below -1 it
    never settles.

    Args:
        statement: The claim in words.
        predicted: The predicted factor.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def measure(self, run: Run) -> float:
        """Divide two consecutive deviations, late but above rounding."""
        found = swing(run)
        steps, i = run.trajectory.steps, found.matched
        if i + 1 == len(steps) or i < 1 or steps[i] - steps[i - 1] != 1:
            raise NotApplicable("needs consecutive steps until the minimum is reached")
        return float(found.deviation[i] / found.deviation[i - 1])


class DecayThreshold(Equals):
    """The weight decay from which on the exact minimum misclassifies a point.

    Args:
        statement: The claim in words.
        predicted: The predicted λ*.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (
        *START,
        "model.optimizer.lr",
        "model.optimizer.weight_decay",
        "trainer.max_steps",
    )

    def measure(self, run: Run) -> float:
        """In closed form for two points with the bias decayed, by root finding otherwise."""
        return decay_threshold(logistic(run))


class LimitAngle(Equals):
    """Angle between the limit of plain gradient descent and the maximum-margin line's normal.

    For two points the maximum-margin line is the perpendicular bisector.

    Args:
        statement: The claim in words.
        predicted: The predicted angle in degrees, positive counter-clockwise.
        tolerance: Largest allowed distance in degrees.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (*START, "model.optimizer.lr", "trainer.max_steps")

    def measure(self, run: Run) -> float:
        """From the two exact lines of the run's points."""
        model = logistic(run)
        if model.x.shape[1] != 2:
            raise NotApplicable(
                f"an angle needs points of the plane, not {model.x.shape[1]} inputs"
            )
        try:
            limit, _ = theory.max_margin_augmented(model.x, model.y)
            return float(theory.angle(limit, theory.max_margin(model.x, model.y)[0]))
        except ValueError as error:
            raise NotApplicable(str(error)) from error


class LimitDistance(Equals):
    """Distance of the nearest point to the limit line of plain gradient descent.

    Args:
        statement: The claim in words.
        predicted: The predicted distance.
        tolerance: Largest allowed distance to it.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = (*START, "model.optimizer.lr", "trainer.max_steps")

    def measure(self, run: Run) -> float:
        """From the exact line of the run's points."""
        model = logistic(run)
        try:
            w, b = theory.max_margin_augmented(model.x, model.y)
        except ValueError as error:
            raise NotApplicable(str(error)) from error
        return float(theory.distances(w, b, model.x, model.y).min())


class LogTConstant(Equals):
    """The constant C of the law |angle - limit| ~ C / ln t, from the run's start and rate.

    Args:
        statement: The claim in words.
        predicted: The predicted C in degrees.
        tolerance: Largest allowed distance in degrees.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    theory = True
    independent_of = ("model.optimizer.lr", "trainer.max_steps")

    def measure(self, run: Run) -> float:
        """In closed form (Soudry et al. 2018, theorem 4)."""
        return descent_law(run)[1]


class MarginLogRatio(Equals):
    """Difference of the functional margins of two rows at the end of a long run.

    Both grow like ln t; their difference tends to the logarithm of a ratio of multipliers.

    Args:
        statement: The claim in words.
        first: Number of the row whose margin counts positive, from 0.
        second: Number of the other row.
        from_step: Fewest steps for the limit to be visible.
        predicted: The predicted difference.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        first: int,
        second: int,
        from_step: int,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.first, self.second, self.from_step = first, second, from_step

    def measure(self, run: Run) -> float:
        """Compute both margins at the last step."""
        rows, last = logistic(run).signed_rows.numpy(), int(run.trajectory.steps[-1])
        if last < self.from_step:
            raise NotApplicable(f"needs {self.from_step} steps; the run has {last}")
        if not 0 <= min(self.first, self.second) <= max(self.first, self.second) < len(rows):
            raise NotApplicable(f"rows {self.first} and {self.second} of {len(rows)}")
        return float((rows[self.first] - rows[self.second]) @ parameters(run)[-1])


def decay_threshold(model: Logistic) -> float:
    """λ* of the points, infinity where weak and strong decay separate them alike.

    Raises:
        NotApplicable: Points that weak decay does not separate.
    """
    try:
        if len(model.x) == 2 and model.decay_bias:
            return theory.two_point_threshold(model.x, model.y)
        return theory.misclassification_threshold(model.x, model.y, model.decay_bias)
    except ValueError as error:
        raise NotApplicable(str(error)) from error
