"""The parts of each update over the steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml.claims.forces import updates
from toyml.run import Run
from toyml.views.frames import frames
from toyml.views.kept import kept


class ForcesView(NamedTuple):
    """What moves the parameters.

    Attributes:
        steps: Numbers of updates done before the update [t].
        components: Name of a part to its share of the update [t, p].
        step: The recorded updates [t, p]; the parts add up to them.
        residual: Largest difference between an update and the sum of its parts, relative to the
            largest update.
        words: What is to be seen, in a sentence or two.
    """

    steps: NDArray[np.int64]
    components: dict[str, NDArray[np.float64]]
    step: NDArray[np.float64]
    residual: float
    words: str

    @property
    def sizes(self) -> dict[str, NDArray[np.float64]]:
        """Euclidean length of each part, and of the whole step [t]."""
        every = {**self.components, "the step": self.step}
        return {name: np.linalg.norm(part, axis=1) for name, part in every.items()}


@kept
def forces_view(run: Run, most: int = 200, most_steps: int = 10_000) -> ForcesView:
    """The updates of a run, taken apart.

    Args:
        run: The run; every step from 0 on has to be recorded.
        most: Updates shown, at most.
        most_steps: Updates looked at, at most.

    Raises:
        NotApplicable: What ``toyml.claims.forces.updates`` says.
    """
    found = updates(run, most_steps)
    # After the last snapshot there is no update: the one before it stands at the end.
    chosen = np.unique(np.minimum(frames(run, most), len(found.taken) - 1))
    components = {name: part[chosen] for name, part in found.parts.items()}
    steps = run.trajectory.steps[chosen]
    step = found.taken[chosen]
    return ForcesView(
        steps, components, step, found.residual, force_words(steps, components, found.residual)
    )


def force_words(
    steps: NDArray[np.int64], components: dict[str, NDArray[np.float64]], residual: float
) -> str:
    """Which part is the largest, and from where on.

    Example:
        >>> parts = {"gradient": np.array([[2.0], [1.0]]), "momentum": np.array([[0.0], [3.0]])}
        >>> print(force_words(np.array([0, 1]), parts, 0.0).replace(". ", "." + chr(10)))
        The gradient is the largest part at step 0, then momentum.
        The parts add up to the recorded steps exactly.
    """
    sizes = {name: np.linalg.norm(part, axis=1) for name, part in components.items()}
    names = list(sizes)
    if len(names) == 1:
        order = f"The {names[0]} alone makes the step."
    else:
        largest = np.argmax(np.array([sizes[name] for name in names]), axis=0)
        changes = np.flatnonzero(np.diff(largest)) + 1
        leader = called(names[largest[0]])
        until = int(steps[changes[0] - 1]) if len(changes) else 0
        span = "at step 0" if until == 0 else f"up to step {until:,}"
        most = np.bincount(largest).argmax()
        if not len(changes):
            order = f"{leader} is the largest part at every step shown."
        elif len(changes) == 1:
            order = f"{leader} is the largest part {span}, then {names[largest[-1]]}."
        else:
            order = (
                f"{leader} is the largest part {span}, later most often {names[most]} "
                f"({(largest == most).sum()} of {len(steps)} steps)."
            )
    exact = "exactly" if residual == 0 else f"to {residual:.1e} of the largest"
    whole = "It adds" if len(names) == 1 else "The parts add"
    return f"{order} {whole} up to the recorded steps {exact}."


def called(name: str) -> str:
    """The name of a part at the start of a sentence."""
    return {"gradient": "The gradient", "look-ahead": "The look-ahead"}.get(name, name.capitalize())


def on_plane(
    components: dict[str, NDArray[np.float64]], directions: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Coordinates [t, 2] of the projections of vectors [t, p] onto two directions [2, p].

    Example:
        >>> on_plane({"a": np.array([[1.0, 4.0, 9.0]])}, np.array([[1.0, 0, 0], [0, 2.0, 0]]))
        {'a': array([[1., 2.]])}
    """
    inverse = np.linalg.pinv(directions)
    return {name: part @ inverse for name, part in components.items()}
