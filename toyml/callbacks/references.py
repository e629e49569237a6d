"""Exact lines to draw beside a trained one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from toyml import theory
from toyml.claims import NotApplicable
from toyml.claims.claim import labelled
from toyml.claims.logistic import Logistic, logistic, optimizer_of
from toyml.run import Run


class Reference(ABC):
    """A line w·x + b = 0 that theory gives for the run's data and settings."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name in the legend."""

    @abstractmethod
    def line(self, run: Run) -> tuple[Tensor, Tensor]:
        """Normal w [2] and offset b.

        Raises:
            NotApplicable: The run has none, for example weight decay where none is asked for.
        """


def plane_data(run: Run) -> tuple[Tensor, Tensor]:
    """Rows x [n, 2] and labels y [n], float64.

    Raises:
        NotApplicable: The data are not labelled points of the plane.
    """
    x, y = labelled(run)
    if x.shape[1] != 2:
        raise NotApplicable(f"the data are not points of the plane (x {list(x.shape)})")
    return x.double(), y[:, 0].double()


class Bisector(Reference):
    """The perpendicular bisector of the two points."""

    @property
    def label(self) -> str:
        """Its name."""
        return "perpendicular bisector"

    def line(self, run: Run) -> tuple[Tensor, Tensor]:
        """The line of equal distance."""
        x, y = plane_data(run)
        if len(x) != 2:
            raise NotApplicable(f"a bisector belongs to two points; there are {len(x)}")
        return theory.perpendicular_bisector(x, y)


class DescentLimit(Reference):
    """Where the line of unregularised gradient descent tends to, however slowly.

    Gradient descent on the logistic loss maximises the margin of the rows (x, 1): the bias is
    penalised like a weight (Soudry et al. 2018, theorem 3).
    """

    @property
    def label(self) -> str:
        """Its name."""
        return "limit of gradient descent"

    def line(self, run: Run) -> tuple[Tensor, Tensor]:
        """The maximum-margin line of the augmented rows."""
        model = plane_model(run)
        if not isinstance(optimizer_of(run), torch.optim.SGD):
            raise NotApplicable(f"{type(optimizer_of(run)).__name__} tends to another limit")
        if model.weight_decay:
            raise NotApplicable(f"weight decay {model.weight_decay:g} stops the weights' growth")
        try:
            return theory.max_margin_augmented(model.x, model.y)
        except ValueError as error:
            raise NotApplicable(str(error)) from error


class RegularizedMinimum(Reference):
    """The one minimum of mean cross-entropy plus weight decay."""

    @property
    def label(self) -> str:
        """Its name."""
        return "exact minimum with weight decay"

    def line(self, run: Run) -> tuple[Tensor, Tensor]:
        """Newton's method to twelve digits."""
        minimum = plane_model(run).minimum()
        return minimum[:-1], minimum[-1]


def plane_model(run: Run) -> Logistic:
    """The run as a logistic regression in the plane.

    Raises:
        NotApplicable: It is something else.
    """
    plane_data(run)
    return logistic(run)


def all_lines(run: Run, references: list[Reference]) -> dict[str, tuple[Tensor, Tensor]]:
    """The lines that apply to the run, by label; of equal ones the first."""
    lines: dict[str, tuple[Tensor, Tensor]] = {}
    for reference in references:
        try:
            w, b = reference.line(run)
        except NotApplicable:
            continue
        for label, (v, c) in lines.items():
            scale = torch.linalg.vector_norm(w) / torch.linalg.vector_norm(v)
            if torch.allclose(v * scale, w, atol=1e-9) and torch.allclose(c * scale, b, atol=1e-9):
                lines[f"{label} = {reference.label}"] = lines.pop(label)
                break
        else:
            lines[reference.label] = (w, b)
    return lines
