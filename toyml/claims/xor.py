"""Claims about XOR by a hand-written script and by PyTorch, and about what sets them apart."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toyml import measures, reference
from toyml.claims.claim import Claim, Equals, NotApplicable, snapshot
from toyml.claims.parity import reference_net
from toyml.engine.chain import differentiate
from toyml.engine.update import Update
from toyml.models import MLP
from toyml.reference.xor import INPUTS, TARGETS
from toyml.run import Run

HIDDEN, SEED, LR, STEPS = 5, 0, 0.3, 5000
"""What both sides of the question have in common."""

Curve = NDArray[np.floating[Any]]


@lru_cache(maxsize=8)
def script(uniform: bool = True) -> reference.HandWritten:
    """The question's script: no biases, a gradient without 2/N.

    Args:
        uniform: Its own start, uniform in [0, 1); otherwise PyTorch's.
    """
    start = reference.uniform_start(HIDDEN, SEED) if uniform else pytorch_start()
    return reference.hand_written(*start, lr=LR, steps=STEPS)


def pytorch_start() -> tuple[reference.Array, reference.Array]:
    """Weights that PyTorch draws for the net without biases, [h, 2] and [1, h]."""
    net = fresh(biases=False)
    weights = [p.detach().numpy() for p in net.parameters()]
    return weights[0], weights[1]


def fresh(biases: bool) -> MLP:
    """The net as PyTorch starts it: float32 draws, computed with in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return MLP([2, HIDDEN, 1], nn.Sigmoid(), nn.Sigmoid(), bias=biases).double()


@lru_cache(maxsize=16)
def rung(biases: bool = True, uniform: bool = False, factor: float = 1.0) -> Curve:
    """Mean squared errors of PyTorch with any of the differences switched.

    Args:
        biases: Whether the layers have biases; the script's have none.
        uniform: The script's initial weights instead of PyTorch's; biases stay PyTorch's.
        factor: Of the learning rate; N/2 = 2 makes up for the script's missing 2/N.

    Returns:
        The error before each update and after the last [steps + 1].
    """
    net = fresh(biases)
    if uniform:
        start = reference.uniform_start(HIDDEN, SEED)
        with torch.no_grad():
            for name, values in zip(("hidden1", "output"), start, strict=True):
                net.get_parameter(f"{name}.weight").copy_(torch.from_numpy(values))
    parameters: list[torch.Tensor] = list(net.parameters())
    evaluate = differentiate(net, nn.MSELoss(), parameters)
    update = Update(torch.optim.SGD(parameters, lr=LR * factor), parameters)
    x, y = torch.from_numpy(INPUTS), torch.from_numpy(TARGETS)
    errors = np.empty(STEPS + 1)
    with torch.no_grad():
        for step in range(STEPS + 1):
            loss, _, gradients = evaluate(x, y)
            errors[step] = loss.item()
            update(gradients)
    return errors


def first_below(errors: Curve, level: float) -> int:
    """The first step at which a curve is below a level.

    Raises:
        NotApplicable: It never is.

    Example:
        >>> first_below(np.array([3.0, 2.0, 1.0]), 2.0)
        2
    """
    found = np.flatnonzero(errors < level)
    if not len(found):
        raise NotApplicable(f"the error never falls below {level:g}; its least is {errors.min():g}")
    return int(found[0])


class ScriptPrintsAt(Equals):
    """What the script prints as its loss at a step.

    Args:
        statement: The claim in words.
        step: Number of updates done.
        predicted: The printed value.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A step that the script does not reach.
    """

    def __init__(
        self,
        statement: str,
        step: int,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step = script_step(step)

    def measure(self, run: Run) -> float:
        """Run the script."""
        return float(script().signal[self.step])


class ScriptErrorAt(ScriptPrintsAt):
    """The script's mean squared error at a step, which it does not print.

    Args:
        statement: The claim in words.
        step: Number of updates done.
        predicted: The error.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A step that the script does not reach.
    """

    def measure(self, run: Run) -> float:
        """Run the script."""
        return float(script().mse[self.step])


class ScriptTurnsNegative(Equals):
    """The first step at which the script prints a negative loss.

    Args:
        statement: The claim in words.
        predicted: The step.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        predicted: float,
        tolerance: float = 0.0,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)

    def measure(self, run: Run) -> float:
        """Run the script."""
        return float(first_below(script().signal, 0.0))


class ScriptLowestAt(ScriptTurnsNegative):
    """The step at which the script prints its lowest loss.

    Args:
        statement: The claim in words.
        predicted: The step.
        tolerance: Largest allowed distance.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def measure(self, run: Run) -> float:
        """Run the script."""
        return float(script().signal.argmin())


class RungLossAt(Equals):
    """The mean squared error of PyTorch at a step, with any of the differences switched.

    Args:
        statement: The claim in words.
        step: Number of updates done.
        predicted: The error.
        tolerance: Largest allowed distance.
        biases: Whether the layers have biases.
        uniform: The script's initial weights instead of PyTorch's.
        factor: Of the learning rate 0.3.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A step beyond the last.
    """

    def __init__(
        self,
        statement: str,
        step: int,
        predicted: float,
        tolerance: float,
        biases: bool = True,
        uniform: bool = False,
        factor: float = 1.0,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step, self.settings = script_step(step), (biases, uniform, factor)

    def measure(self, run: Run) -> float:
        """Train that rung of the ladder."""
        return float(rung(*self.settings)[self.step])


class LearnedAt(Equals):
    """The first step with an error below a level, with any of the differences switched.

    Args:
        statement: The claim in words.
        predicted: The step.
        tolerance: Largest allowed distance.
        biases: Whether the layers have biases.
        uniform: The script's initial weights instead of PyTorch's.
        factor: Of the learning rate 0.3.
        error: The level; 0.25 is the error of always answering one half.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        predicted: float,
        tolerance: float = 0.0,
        biases: bool = True,
        uniform: bool = False,
        factor: float = 1.0,
        error: float = 0.1,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.settings, self.error = (biases, uniform, factor), error

    def measure(self, run: Run) -> float:
        """Train that rung of the ladder."""
        return float(first_below(rung(*self.settings), self.error))


class LargestEffect(Claim):
    """Which difference, switched alone, changes most how long PyTorch takes to learn.

    The effect of a difference is the factor by which the first step with an error below the level
    moves, in either direction.

    Args:
        statement: The claim in words.
        predicted: One of "biases", "start", "rate".
        error: The level.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: Another name.
    """

    def __init__(
        self,
        statement: str,
        predicted: str,
        error: float = 0.1,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        if predicted not in ("biases", "start", "rate"):
            raise ValueError(f"predicted is {predicted!r}; give biases, start or rate")
        self._predicted, self.error = predicted, error

    @property
    def predicted(self) -> str:
        """Its name."""
        return self._predicted

    def measure(self, run: Run) -> str:
        """Compare the three; the greatest effect comes first."""
        base = first_below(rung(), self.error)
        times = {
            "biases": first_below(rung(biases=False), self.error) / base,
            "start": first_below(rung(uniform=True), self.error) / base,
            "rate": first_below(rung(factor=2.0), self.error) / base,
        }
        order = sorted(times, key=lambda name: -abs(np.log(times[name])))
        return ", ".join(f"{name} ×{times[name]:.2f}" for name in order)

    def agrees(self, measured: float | str) -> bool:
        """Whether it comes first."""
        return str(measured).startswith(self.predicted)


class LadderParity(Equals):
    """Largest distance of the two errors, script and PyTorch, when every difference is undone.

    PyTorch without biases, at twice the learning rate, from the script's start; or the script
    from PyTorch's.

    Args:
        statement: The claim in words.
        tolerance: Largest allowed distance, over all 5,001 steps.
        uniform: Both from the script's initial weights; otherwise both from PyTorch's.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        tolerance: float,
        uniform: bool = True,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, 0.0, tolerance, given, source)
        self.uniform = uniform

    def measure(self, run: Run) -> float:
        """Train both."""
        errors = rung(biases=False, uniform=self.uniform, factor=len(INPUTS) / 2)
        return float(np.abs(errors - script(self.uniform).mse).max())


class FollowsScript(Equals):
    """Largest distance of the run's error from that of the script started with its weights.

    The script's learning rate is the run's times 2/N, which its gradient lacks.

    Args:
        statement: The claim in words.
        tolerance: Largest allowed distance, over all recorded steps.
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
        """Run the script from the run's start."""
        snapshot(run, 0)
        net = reference_net(run)
        if net.biases is not None or len(net.weights) != 2:
            raise NotApplicable("the script has two layers without biases")
        x, y = run.data
        if not np.array_equal(x.numpy(), INPUTS) or not np.array_equal(y.numpy(), TARGETS):
            raise NotApplicable("the script knows the four rows of XOR only")
        lr = run.setting("model.optimizer.lr")
        if lr is None:
            raise NotApplicable("the run has no config with a learning rate")
        steps = run.trajectory.steps
        hidden, output = net.weights
        other = reference.hand_written(hidden, output, float(lr) * 2 / len(x), int(steps[-1]))
        errors = measures.losses(run.net, nn.MSELoss(), run.trajectory.select(), x, y)
        return float(np.abs(errors.numpy() - other.mse[steps]).max())


class GradientFactor(Equals):
    """How many times PyTorch's gradient the script's is, at the run's start on N rows.

    The script differentiates half the sum of squares, PyTorch its mean: N/2.

    Args:
        statement: The claim in words.
        predicted: The factor.
        tolerance: Largest allowed distance.
        rows: N; the run's rows are repeated in order until there are as many.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: No row.
    """

    def __init__(
        self,
        statement: str,
        predicted: float,
        tolerance: float = 1e-12,
        rows: int = 4,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        if rows < 1:
            raise ValueError(f"rows is {rows}; a gradient needs at least 1")
        self.rows = rows

    def measure(self, run: Run) -> float:
        """Differentiate both: the script's by hand, PyTorch's by autograd."""
        start = run.trajectory.select([snapshot(run, 0)])
        order = torch.arange(self.rows) % len(run.data[0])
        x, y = (each[order] for each in run.data)
        net = reference_net(run)
        by_hand = np.concatenate(
            [g.ravel() for g in net.gradients(x.numpy(), y.numpy(), reference.HalfSum())]
        )
        mean = measures.gradients(run.net, nn.MSELoss(), start, x, y)
        by_torch = np.concatenate([g[0].numpy().ravel() for g in mean.values()])
        factors = by_hand @ by_torch / (by_torch @ by_torch)
        if np.abs(by_hand - factors * by_torch).max() > 1e-9 * np.abs(by_hand).max():
            raise NotApplicable("the two gradients do not point the same way")
        return float(factors)


def script_step(step: int) -> int:
    """A step that the script reaches.

    Raises:
        ValueError: It does not.
    """
    if not 0 <= step <= STEPS:
        raise ValueError(f"step is {step}; the script has steps 0 to {STEPS}")
    return step
