"""Ways to lay a plane through the parameter space of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from toyml import measures
from toyml.claims import NotApplicable
from toyml.claims.claim import snapshot
from toyml.measures import Parameters, Plane
from toyml.run import Run


class RunPlane(ABC):
    """A plane that is laid through a run; two of the same class and settings are equal."""

    @abstractmethod
    def lay(self, run: Run, indices: NDArray[np.int64]) -> Plane:
        """The plane, in float64.

        Args:
            run: The run.
            indices: Positions of the snapshots that are going to be drawn on it.

        Raises:
            NotApplicable: The run has no such plane.
        """

    @abstractmethod
    def axes(self, run: Run) -> tuple[str, str]:
        """Names of its two directions."""

    def reach(self, run: Run) -> float:
        """How far from its origin a picture shows it at least, in both directions; 0 by default."""
        return 0.0

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"


class ParameterPlane(RunPlane):
    """The plane of two scalar parameters, the others as they are at the end.

    Args:
        first: Such as ``linear.weight[0,0]``; it is the horizontal axis.
        second: Another.
    """

    def __init__(self, first: str, second: str) -> None:
        self.first, self.second = first, second

    def lay(self, run: Run, indices: NDArray[np.int64]) -> Plane:
        """Both in their own units."""
        try:
            return measures.plane_of_parameters(at_end(run, indices), self.first, self.second)
        except ValueError as error:
            raise NotApplicable(str(error)) from error

    def axes(self, run: Run) -> tuple[str, str]:
        """The parameters' names."""
        return self.first, self.second


class PrincipalPlane(RunPlane):
    """The plane that holds most of the path's movement: its first two principal components.

    Of the snapshots that are drawn, through the last of them.
    """

    def lay(self, run: Run, indices: NDArray[np.int64]) -> Plane:
        """Orthonormal: distances in the picture are distances in parameter space."""
        try:
            return measures.principal_plane(doubled(run.trajectory.points(indices)))
        except ValueError as error:
            raise NotApplicable(str(error)) from error

    def axes(self, run: Run) -> tuple[str, str]:
        """Its components."""
        return "principal component 1 of the path", "principal component 2"


class RandomPlane(RunPlane):
    """A plane drawn uniformly at random through the end of the path.

    Args:
        seed: Of the draw.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def lay(self, run: Run, indices: NDArray[np.int64]) -> Plane:
        """Orthonormal: distances in the picture are distances in parameter space."""
        try:
            return measures.random_plane(at_end(run, indices), seed=self.seed)
        except ValueError as error:
            raise NotApplicable(str(error)) from error

    def axes(self, run: Run) -> tuple[str, str]:
        """Directions without a meaning of their own."""
        return "random direction 1", "random direction 2"

    def reach(self, run: Run) -> float:
        """As far as the end of the path is from the origin of parameter space."""
        with np.errstate(over="ignore"):  # of a training that diverged
            length = np.linalg.norm(np.asarray(run.trajectory.parameters.flat[-1], dtype=float))
        return float(np.nan_to_num(length, posinf=0.0))


class FilterNormalizedPlane(RunPlane):
    """A random plane through the end that moves each unit in proportion to its own weights.

    After Li, Xu, Taylor, Studer & Goldstein (2018); the picture stays the same when ReLU units are
    rescaled without changing the net.

    Args:
        seed: Of the draw.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def lay(self, run: Run, indices: NDArray[np.int64]) -> Plane:
        """At coordinate 1 every unit has moved by as much as it is long."""
        try:
            return measures.filter_normalized_plane(run.net, at_end(run, indices), seed=self.seed)
        except ValueError as error:
            raise NotApplicable(str(error)) from error

    def axes(self, run: Run) -> tuple[str, str]:
        """Directions in units of the net's own weights."""
        return "filter-normalised direction 1", "filter-normalised direction 2"

    def reach(self, run: Run) -> float:
        """As Li et al. draw it: from -1 to 1."""
        return 1.0


class CurvaturePlane(RunPlane):
    """The plane in which the loss is most curved: two leading eigenvectors of its Hessian.

    Args:
        step: Where the loss is differentiated, and the origin; ``null`` is the last step.
    """

    def __init__(self, step: int | None = None) -> None:
        self.step = step

    def lay(self, run: Run, indices: NDArray[np.int64]) -> Plane:
        """The sharpest direction first."""
        here = at_step(run, self.step)
        x, y = run.rows()
        try:
            return measures.curvature_plane(run.net, run.loss, here, x, y)
        except (ValueError, ArithmeticError) as error:
            raise NotApplicable(str(error)) from error

    def axes(self, run: Run) -> tuple[str, str]:
        """The directions, and where they were taken."""
        where = "the end" if self.step is None else f"step {self.step:,}"
        return f"sharpest direction at {where}", "second sharpest direction"


class PlaneThrough(RunPlane):
    """The plane through three snapshots.

    Args:
        steps: The three steps; the first is the origin, the second lies on the horizontal axis.

    Raises:
        ValueError: Not three different steps.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        if len(set(steps)) != 3 or len(steps) != 3:
            raise ValueError(f"steps is {list(steps)}; give three different ones")
        self.steps = tuple(steps)

    def lay(self, run: Run, indices: NDArray[np.int64]) -> Plane:
        """Orthonormal."""
        try:
            return measures.plane_through(*(at_step(run, step) for step in self.steps))
        except ValueError as error:
            raise NotApplicable(str(error)) from error

    def axes(self, run: Run) -> tuple[str, str]:
        """Which steps span it."""
        first, second, third = self.steps
        return f"from step {first:,} to step {second:,}", f"across, to step {third:,}"


def default_plane(run: Run) -> RunPlane:
    """The two parameters where there are no more; otherwise the principal plane."""
    if run.trajectory.parameters.flat.shape[1] != 2:
        return PrincipalPlane()
    return ParameterPlane(*map(run.trajectory.scalar_name, range(2)))


def at_step(run: Run, step: int | None) -> dict[str, Tensor]:
    """One snapshot in float64; ``None`` is the last one."""
    stack = doubled(run.trajectory.points([snapshot(run, step)]))
    return {name: p[0] for name, p in stack.items()}


def at_end(run: Run, indices: NDArray[np.int64]) -> dict[str, Tensor]:
    """The last of these snapshots whose parameters are finite, in float64.

    Raises:
        NotApplicable: There is none.
    """
    finite = np.isfinite(run.trajectory.parameters.flat[indices]).all(1)
    if not finite.any():
        raise NotApplicable("no snapshot has finite parameters")
    last = doubled(run.trajectory.points(indices[finite][-1:]))
    return {name: p[0] for name, p in last.items()}


def doubled(parameters: Parameters) -> dict[str, Tensor]:
    """The same in float64; buffers of integers stay."""
    return {n: p.double() if p.is_floating_point() else p for n, p in parameters.items()}
