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
        with np.errstate(over="ignore"):  # of a training that diverges
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
    return ForcesView(
        run.trajectory.steps[chosen],
        components,
        found.taken[chosen],
        found.residual,
        force_words(found.parts, found.residual, int(run.trajectory.steps[-1])),
    )


BALANCE = 1e-5
"""Parts whose lengths differ by less than this part of the larger one are equally large."""


def force_words(parts: dict[str, NDArray[np.float64]], residual: float, updates: int) -> str:
    """Which part is the largest, and from where on.

    Args:
        parts: The shares [t, p] of the first updates of a run.
        residual: By how much an update differs from their sum, relative to the largest one.
        updates: Updates of the run.

    Example:
        >>> parts = {"gradient": np.array([[2.0], [1.0]]), "momentum": np.array([[0.0], [3.0]])}
        >>> print(force_words(parts, 0.0, 2).replace(". ", "." + chr(10)))
        The gradient is the largest part at step 0, then momentum.
        The parts add up to the recorded steps exactly.
    """
    names = list(parts)
    with np.errstate(over="ignore"):  # of a training that diverges
        sizes = np.array([np.linalg.norm(part, axis=1) for part in parts.values()])
    largest = np.argmax(sizes, axis=0)
    count = len(largest)
    first = f"In the first {count:,} of {updates:,} steps " if count < updates else ""
    changes = np.flatnonzero(np.diff(largest)) + 1
    if len(names) == 1:
        order = f"{first}{called(names[0])} alone makes the step"
    elif not len(changes):
        order = f"{first}{called(names[largest[0]])} is the largest part at every step"
    else:
        until = int(changes[0]) - 1
        span = "at step 0" if until == 0 else f"up to step {until:,}"
        order = f"{first}{called(names[largest[0]])} is the largest part {span}"
        after = sizes[:, changes[0] :]
        # Two parts that balance, as at a minimum, are equal but for rounding: neither leads.
        alone = (after > (1 - BALANCE) * after.max(axis=0)).sum(axis=0) == 1
        later = np.bincount(largest[changes[0] :][alone], minlength=len(names))
        leads = [(called(names[i]), f"{later[i]:,}") for i in np.argsort(-later, kind="stable")]
        leads = [lead for lead in leads if lead[1] != "0"]
        if not alone.all():
            leads.append(("the two largest balance", f"{int((~alone).sum()):,}"))
        if len(leads) == 1 and alone.all():
            order += f", then {leads[0][0]}"
        else:
            verb = "" if leads[0][0].startswith("the two") else " is"
            order += f"; after that {leads[0][0]}{verb} at {leads[0][1]} steps"
            order += "".join(f", {name} at {steps}" for name, steps in leads[1:])
    whole = "It adds" if len(names) == 1 else "The parts add"
    exact = "exactly" if residual == 0 else f"to within {residual:.1e} of the largest"
    return f"{order[0].upper()}{order[1:]}. {whole} up to the recorded steps {exact}."


def called(name: str) -> str:
    """The name of a part in a sentence."""
    return f"the {name}" if name in ("gradient", "look-ahead") else name


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
