"""Claims about the line w·x + b = 0 of a linear model in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from toyml import theory
from toyml.claims.claim import Claim, Equals, NotApplicable, labelled, snapshot
from toyml.run import Run


def line(run: Run) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal w [t, 2] and offset b [t] of the line, at every snapshot.

    Raises:
        NotApplicable: The net is not one affine map from the plane to a number.
    """
    shapes = run.trajectory.shapes
    weights = [name for name, shape in shapes.items() if shape == (1, 2)]
    biases = [name for name, shape in shapes.items() if shape == (1,)]
    if len(weights) != 1 or len(biases) > 1 or len(shapes) != len(weights) + len(biases):
        raise NotApplicable("the net is not one affine map from the plane to a number")
    w = np.asarray(run.trajectory.parameters[weights[0]][:, 0], dtype=np.float64)
    if not biases:
        return w, np.zeros(len(w))
    return w, np.asarray(run.trajectory.parameters[biases[0]][:, 0], dtype=np.float64)


def points(run: Run) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows x [n, 2] and signs of their labels [n], -1 and 1."""
    x, y = labelled(run)
    signs = np.where(y[:, 0].numpy() > run.meaning.middle, 1.0, -1.0)
    return x.double().numpy(), signs


def signed_angle(w: NDArray[np.float64], reference: Sequence[float]) -> NDArray[np.float64]:
    """Angle from the reference [2] to each w [t, 2] in degrees, positive counter-clockwise.

    Example:
        >>> signed_angle(np.array([[0.0, 1.0]]), [1.0, 0.0])
        array([90.])
    """
    (a, b), (u, v) = reference, w.T
    return np.asarray(np.degrees(np.arctan2(a * v - b * u, a * u + b * v)))


class AngleAt(Equals):
    """Signed angle of the normal w against a reference direction after a number of steps.

    Args:
        statement: The claim in words.
        step: Number of updates done; ``null`` is the last step.
        reference: Direction [2] the angle is measured from.
        predicted: The predicted angle in degrees, positive counter-clockwise.
        tolerance: Largest allowed distance in degrees.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int | None,
        reference: Sequence[float],
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.step, self.reference = step, reference

    def measure(self, run: Run) -> float:
        """Compute it from the recorded line."""
        w, _ = line(run)
        i = snapshot(run, self.step)
        return float(signed_angle(w[i : i + 1], self.reference)[0])


class AngleLaw(Equals):
    """The constant C of the law angle - limit ~ C / ln t, estimated at the end of the run.

    With e(t) = angle(t) - limit, a normal that grows like w ln t + v obeys
    cot e = (ln t + a) / C; C is read off the slope over the last half of the steps, which is
    free of the slowly vanishing term that C = e ln t would carry.

    Args:
        statement: The claim in words.
        limit: The limit angle in degrees.
        reference: Direction [2] the angle is measured from.
        from_step: Fewest steps for the law to be visible.
        predicted: The predicted C in degrees.
        tolerance: Largest allowed distance in degrees.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        limit: float,
        reference: Sequence[float],
        from_step: int,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.limit, self.reference, self.from_step = limit, reference, from_step

    def measure(self, run: Run) -> float:
        """Fit the slope of cot e against ln t."""
        w, _ = line(run)
        steps = run.trajectory.steps
        if steps[-1] < self.from_step:
            raise NotApplicable(f"needs {self.from_step} steps; the run has {steps[-1]}")
        late = run.trajectory.thinned_log(2000)
        late = late[steps[late] >= max(steps[-1] // 2, 1)]
        error = signed_angle(w[late], self.reference) - self.limit
        try:
            return theory.fit_log_t(torch.from_numpy(steps[late]), torch.from_numpy(error))[0]
        except ValueError as why:
            raise NotApplicable(str(why)) from why


class MisclassifiedSteps(Claim):
    """Steps after which some point lies on the wrong side of the line.

    Args:
        statement: The claim in words.
        steps: Exactly the steps, among those in ``start..until``, with a misclassified point.
        start: First step looked at.
        until: Last step looked at.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        steps: Sequence[int],
        start: int,
        until: int,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        self.steps, self.start, self.until = list(steps), start, until

    @property
    def predicted(self) -> str:
        """The steps, as words."""
        return ", ".join(map(str, self.steps)) or "none"

    def measure(self, run: Run) -> str:
        """Look at every recorded step of the range."""
        first, last = snapshot(run, self.start), snapshot(run, self.until)
        if last - first != self.until - self.start:
            raise NotApplicable("needs every step of the range recorded")
        found = margins(run)[first : last + 1]
        wrong = run.trajectory.steps[first : last + 1][(found <= 0).any(axis=1)]
        return ", ".join(map(str, wrong)) or "none"


class Separates(Claim):
    """Whether the line has every point on its own side.

    Args:
        statement: The claim in words.
        step: Number of updates done; ``null`` is the last step.
        wrong: How many points are predicted to lie on the wrong side.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        step: int | None = None,
        wrong: int = 0,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        self.step, self.wrong = step, wrong

    @property
    def predicted(self) -> str:
        """How many, in words."""
        return wrong_words(self.wrong)

    def measure(self, run: Run) -> str:
        """Count the points whose margin is not positive."""
        i = snapshot(run, self.step)
        return wrong_words(int((margins(run)[i] <= 0).sum()))


class MarginAt(Equals):
    """Functional margin s (w·x + b) of one point, s = ±1 its class; not a distance.

    Args:
        statement: The claim in words.
        row: Number of the point, from 0.
        step: Number of updates done; ``null`` is the last step.
        predicted: The predicted margin.
        tolerance: Largest allowed distance to it.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        row: int,
        step: int | None,
        predicted: float,
        tolerance: float,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, predicted, tolerance, given, source)
        self.row, self.step = row, step

    def measure(self, run: Run) -> float:
        """Compute it from the recorded line."""
        i = snapshot(run, self.step)
        found = margins(run)[i]
        if not 0 <= self.row < len(found):
            raise NotApplicable(f"there are {len(found)} points, numbered from 0; no {self.row}")
        return float(found[self.row])


class DistanceGrows(Claim):
    """The smaller distance of the points to the line never falls from a step on.

    Args:
        statement: The claim in words.
        start: First step of the comparison.
        given: Settings that the claim presupposes.
        source: Who says so.
    """

    def __init__(
        self,
        statement: str,
        start: int,
        given: dict[str, Any] | None = None,
        source: str = "",
    ) -> None:
        super().__init__(statement, given, source)
        self.start = start

    @property
    def predicted(self) -> str:
        """It grows."""
        return "grows"

    def measure(self, run: Run) -> str:
        """Compare all consecutive snapshots."""
        first = snapshot(run, self.start)
        distance = smaller_distance(run)[first:]
        if len(distance) < 2:
            raise NotApplicable(f"needs more than step {self.start}")
        falls = np.flatnonzero(np.diff(distance) < 0)
        if len(falls):
            return f"falls after step {run.trajectory.steps[first + falls[0]]}"
        return "grows"


class SmallerDistance(Equals):
    """The smaller signed distance of the points to the line (negative: misclassified).

    Args:
        statement: The claim in words.
        step: Number of updates done; ``null`` is the last step.
        predicted: The predicted distance.
        tolerance: Largest allowed distance to it.
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
        """Compute it from the recorded line."""
        i = snapshot(run, self.step)
        return float(smaller_distance(run)[i])


def margins(run: Run) -> NDArray[np.float64]:
    """Functional margins sign (w·x + b) of all points at every snapshot [t, n]."""
    w, b = line(run)
    x, sign = points(run)
    return np.asarray(sign * (w @ x.T + b[:, None]))


def smaller_distance(run: Run) -> NDArray[np.float64]:
    """Min over points of sign (w·x + b) / |w|, at every snapshot [t]."""
    w, _ = line(run)
    return np.asarray((margins(run) / np.linalg.norm(w, axis=1)[:, None]).min(axis=1))


def wrong_words(count: int) -> str:
    """How many points are on the wrong side, in words."""
    return "separates" if count == 0 else f"{count} on the wrong side"
