"""Claims about XOR by a hand-written script and by PyTorch, and about what sets them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toyml import measures, reference
from toyml.claims.claim import Claim, Equals, NotApplicable, labelled, snapshot
from toyml.claims.logistic import descent_rate, optimizer_of
from toyml.claims.parity import reference_net
from toyml.claims.replay import updates
from toyml.models import MLP
from toyml.reference.xor import INPUTS, TARGETS
from toyml.run import Run
from toyml.tasks import Supervised

Curve = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Common:
    """What script and PyTorch have in common; by default as in the question.

    Args:
        hidden: Number of hidden units.
        seed: Of the initial weights, NumPy's or PyTorch's.
        lr: Learning rate.
        steps: Number of updates.

    Raises:
        ValueError: A setting out of range.
    """

    hidden: int = 5
    seed: int = 0
    lr: float = 0.3
    steps: int = 5000

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"hidden is {self.hidden}; at least one unit is needed")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; NumPy takes 0 to 2^32 - 1")
        if not 0 <= self.lr < np.inf:
            raise ValueError(f"lr is {self.lr}; it has to be 0 or more")
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}; it has to be 0 or more")


@dataclass(frozen=True)
class Switched:
    """PyTorch with any of its differences from the script switched; by default with none.

    Args:
        biases: Whether the layers have biases; the script's have none.
        uniform: The script's initial weights instead of PyTorch's; biases stay PyTorch's.
        factor: Of the learning rate; N/2 = 2 makes up for the script's missing 2/N.
    """

    biases: bool = True
    uniform: bool = False
    factor: float = 1.0


def common(run: Run) -> Common:
    """The settings of a run of XOR that script and PyTorch have in common.

    Raises:
        NotApplicable: The run trains something else, or otherwise, or its seed is not known.
    """
    net, lr = sigmoid_layers(run)
    seed = run.setting("seed_everything")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise NotApplicable("the run has no config that names its seed")
    return Common(net.weights[0].shape[0], seed, lr, int(run.trajectory.steps[-1]))


def sigmoid_layers(run: Run) -> tuple[reference.MLP, float]:
    """The net in NumPy, with the run's initial parameters, and the learning rate.

    Raises:
        NotApplicable: The run is not plain descent of the mean squared error of two sigmoid layers
            on the four rows of XOR.
    """
    snapshot(run, 0)
    net = reference_net(run)
    if len(net.weights) != 2 or {type(a) for a in net.activations} != {reference.Sigmoid}:
        raise NotApplicable("the script has two layers of sigmoid units")
    x, y = labelled(run)
    if not np.array_equal(x.numpy(), INPUTS) or not np.array_equal(y.numpy(), TARGETS):
        raise NotApplicable("the script knows the four rows of XOR only")
    if type(run.loss) is not nn.MSELoss or run.loss.reduction != "mean":
        raise NotApplicable(f"{type(run.loss).__name__} is not the mean squared error")
    lr = descent_rate(run)
    if optimizer_of(run).param_groups[0]["weight_decay"]:
        raise NotApplicable("the script has no weight decay")
    return net, lr


@lru_cache(maxsize=8)
def script(common: Common, uniform: bool = True) -> reference.HandWritten:
    """The question's script: no biases, a gradient without 2/N.

    Args:
        common: Its settings.
        uniform: Its own start, uniform in [0, 1); otherwise PyTorch's.
    """
    start = reference.uniform_start(common.hidden, common.seed)
    if not uniform:
        first, second = (p.detach().numpy() for p in fresh(common, biases=False).parameters())
        start = first, second
    return reference.hand_written(*start, lr=common.lr, steps=common.steps)


def fresh(common: Common, biases: bool) -> MLP:
    """The net as PyTorch starts it: float32 draws, computed with in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(common.seed)
        return MLP([2, common.hidden, 1], nn.Sigmoid(), nn.Sigmoid(), bias=biases).double()


@lru_cache(maxsize=16)
def rung(common: Common, switched: Switched = Switched()) -> Curve:
    """Mean squared errors of PyTorch with any of the differences switched.

    Args:
        common: What it shares with the script.
        switched: The differences.

    Returns:
        The error before each update and after the last [steps + 1].
    """
    net = fresh(common, switched.biases)
    if switched.uniform:
        start = reference.uniform_start(common.hidden, common.seed)
        with torch.no_grad():
            for name, values in zip(("hidden1", "output"), start, strict=True):
                net.get_parameter(f"{name}.weight").copy_(torch.from_numpy(values))
    descent = partial(torch.optim.SGD, lr=common.lr * switched.factor)
    task = Supervised(net, nn.MSELoss(), descent)
    x, y = torch.from_numpy(INPUTS), torch.from_numpy(TARGETS)
    errors = list(updates(task, repeat((x, y), common.steps)))
    with torch.no_grad():
        return np.array([*errors, task.loss(net(x), y).item()])


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
        hidden: The script's number of hidden units.
        seed: Its seed.
        lr: Its learning rate.
        steps: Its number of updates.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A step that the script does not reach, or a setting out of range.
    """

    def __init__(
        self,
        statement: str,
        step: int,
        predicted: float,
        tolerance: float,
        hidden: int = 5,
        seed: int = 0,
        lr: float = 0.3,
        steps: int = 5000,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step, self.script = step, Common(hidden, seed, lr, steps)
        if not 0 <= step <= steps:
            raise ValueError(f"step is {step}; the script has steps 0 to {steps}")

    def measure(self, run: Run) -> float:
        """Run the script."""
        return float(script(self.script).signal[self.step])


class ScriptErrorAt(ScriptPrintsAt):
    """The script's mean squared error at a step, which it does not print.

    Args:
        statement: The claim in words.
        step: Number of updates done.
        predicted: The error.
        tolerance: Largest allowed distance.
        hidden: The script's number of hidden units.
        seed: Its seed.
        lr: Its learning rate.
        steps: Its number of updates.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A step that the script does not reach, or a setting out of range.
    """

    def measure(self, run: Run) -> float:
        """Run the script."""
        return float(script(self.script).mse[self.step])


class ScriptTurnsNegative(Equals):
    """The first step at which the script prints a negative loss.

    Args:
        statement: The claim in words.
        predicted: The step.
        tolerance: Largest allowed distance.
        hidden: The script's number of hidden units.
        seed: Its seed.
        lr: Its learning rate.
        steps: Its number of updates.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A setting out of range.
    """

    def __init__(
        self,
        statement: str,
        predicted: float,
        tolerance: float = 0.0,
        hidden: int = 5,
        seed: int = 0,
        lr: float = 0.3,
        steps: int = 5000,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.script = Common(hidden, seed, lr, steps)

    def measure(self, run: Run) -> float:
        """Run the script."""
        return float(first_below(script(self.script).signal, 0.0))


class ScriptLowestAt(ScriptTurnsNegative):
    """The step at which the script prints its lowest loss.

    Args:
        statement: The claim in words.
        predicted: The step.
        tolerance: Largest allowed distance.
        hidden: The script's number of hidden units.
        seed: Its seed.
        lr: Its learning rate.
        steps: Its number of updates.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A setting out of range.
    """

    def measure(self, run: Run) -> float:
        """Run the script."""
        return float(script(self.script).signal.argmin())


class RungLossAt(Equals):
    """The mean squared error of PyTorch at a step, with any of the differences switched.

    Width, seed, learning rate and number of steps are the run's.

    Args:
        statement: The claim in words.
        step: Number of updates done.
        predicted: The error.
        tolerance: Largest allowed distance.
        biases: Whether the layers have biases.
        uniform: The script's initial weights instead of PyTorch's.
        factor: Of the run's learning rate.
        given: Settings that the claim presupposes.
        source: Who says so.
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
        self.step, self.switched = step, Switched(biases, uniform, factor)

    def measure(self, run: Run) -> float:
        """Train that rung of the ladder."""
        settings = common(run)
        if not 0 <= self.step <= settings.steps:
            raise NotApplicable(f"needs step {self.step}; the run has {settings.steps} steps")
        return float(rung(settings, self.switched)[self.step])


class LearnedAt(Equals):
    """The first step with an error below a level, with any of the differences switched.

    Width, seed, learning rate and number of steps are the run's.

    Args:
        statement: The claim in words.
        predicted: The step.
        tolerance: Largest allowed distance.
        biases: Whether the layers have biases.
        uniform: The script's initial weights instead of PyTorch's.
        factor: Of the run's learning rate.
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
        self.switched, self.error = Switched(biases, uniform, factor), error

    def measure(self, run: Run) -> float:
        """Train that rung of the ladder."""
        return float(first_below(rung(common(run), self.switched), self.error))


class LargestEffect(Claim):
    """Which difference, switched alone, changes most how long PyTorch takes to learn.

    The effect of a difference is the factor by which the first step with an error below the level
    moves, in either direction. Width, seed, learning rate and number of steps are the run's.

    Args:
        statement: The claim in words.
        differences: What is switched, by name (``biases: {biases: false}``).
        predicted: The name of the one with the largest effect.
        error: The level.
        given: Settings that the claim presupposes.
        source: Who says so.

    Raises:
        ValueError: A name that is not among the differences.
    """

    def __init__(
        self,
        statement: str,
        differences: Mapping[str, Switched],
        predicted: str,
        error: float = 0.1,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        if predicted not in differences:
            names = ", ".join(differences) or "none"
            raise ValueError(f"predicted is {predicted!r}; name one of the differences ({names})")
        self.differences, self._predicted, self.error = dict(differences), predicted, error

    @property
    def predicted(self) -> str:
        """Its name."""
        return self._predicted

    def measure(self, run: Run) -> str:
        """Compare them; the greatest effect comes first."""
        settings = common(run)
        base = first_below(rung(settings), self.error)
        times = {
            name: first_below(rung(settings, switched), self.error) / base
            for name, switched in self.differences.items()
        }
        order = sorted(times, key=lambda name: -abs(np.log(times[name])))
        return ", ".join(f"{name} ×{times[name]:.2f}" for name in order)

    def agrees(self, measured: float | str) -> bool:
        """Whether it comes first."""
        return str(measured).startswith(f"{self.predicted} ×")


class LadderParity(Equals):
    """Largest distance of the two errors, script and PyTorch, when every difference is undone.

    PyTorch without biases, at twice the learning rate, from the script's start; or the script
    from PyTorch's. Width, seed, learning rate and number of steps are the run's.

    Args:
        statement: The claim in words.
        tolerance: Largest allowed distance, over all steps.
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
        self.switched = Switched(biases=False, uniform=uniform, factor=len(INPUTS) / 2)

    def measure(self, run: Run) -> float:
        """Train both."""
        settings = common(run)
        by_hand = script(settings, self.switched.uniform).mse
        return float(np.abs(rung(settings, self.switched) - by_hand).max())


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
        net, lr = sigmoid_layers(run)
        if net.biases is not None:
            raise NotApplicable("the script's layers have no biases")
        x, y = run.data
        steps = run.trajectory.steps
        hidden, output = net.weights
        other = reference.hand_written(hidden, output, lr * 2 / len(x), int(steps[-1]))
        errors = measures.losses(run.net, nn.MSELoss(), run.trajectory.points(), x, y)
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
        start = run.trajectory.points([snapshot(run, 0)])
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
