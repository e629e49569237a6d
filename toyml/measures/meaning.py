"""What an output means: which class, how sure, where it is undecided, and which rows are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["two classes", "classes", "labels", "value"]


def unchanged(output: Tensor) -> Tensor:
    """The output itself."""
    return output


BY_CLASS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], str]] = {
    nn.CrossEntropyLoss: (lambda output: torch.softmax(output, dim=-1), "probability"),
    nn.NLLLoss: (torch.exp, "probability"),
    nn.MultiMarginLoss: (unchanged, "score"),
}
"""Losses on one output per class and the number of each row's class: prediction, its name."""

BY_LABEL: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], float, str]] = {
    nn.BCELoss: (unchanged, 0.5, "probability of class 1"),
    nn.BCEWithLogitsLoss: (torch.sigmoid, 0.5, "probability of class 1"),
    nn.MultiLabelSoftMarginLoss: (torch.sigmoid, 0.5, "probability of class 1"),
    nn.SoftMarginLoss: (unchanged, 0.0, "score"),
}
"""Losses that judge each output alone: prediction, where it is undecided, its name."""


@dataclass(frozen=True)
class Meaning:
    """What the outputs of a net mean under a loss and its targets.

    Attributes:
        kind: "two classes" (one output, targets 0 and 1 or -1 and 1), "classes" (an output for each
            of several classes that exclude each other), "labels" (several outputs, each two classes
            of its own) or "value" (a regression).
        prediction: From outputs [..., k] to what is shown [..., k]: probabilities, scores, values.
        undecided: The prediction at which neither of two classes is preferred; ``None`` for
            "classes" (the largest output decides) and "value".
        middle: Targets above it belong to class 1; between the two values of the targets.
        quantity: Name of the prediction.
    """

    kind: Kind
    prediction: Callable[[Tensor], Tensor]
    undecided: float | None
    middle: float
    quantity: str

    def right(self, output: Tensor, y: Tensor) -> Tensor:
        """The share of rows (of entries, for "labels") whose class is the target's.

        Args:
            output: Outputs [..., n, k].
            y: Targets, [n, k] or numbers of classes [n].

        Returns:
            [...], float64.

        Raises:
            ValueError: Targets that are values have no classes.
        """
        if self.kind == "classes":
            return (output.argmax(-1) == class_numbers(y)).double().mean(-1)
        if self.undecided is None:
            raise ValueError("the targets are values, not classes; none is right or wrong")
        hit = (self.prediction(output) > self.undecided) == (y > self.middle)
        return hit.double().mean((-2, -1))


def meaning(loss: nn.Module, y: Tensor) -> Meaning:
    """What outputs mean, from the loss and all training targets.

    A loss of one's own says at which output it prefers neither class with an attribute
    ``undecided``, as in ``class Hinge(nn.Module): undecided = 0.0``. One that does not is undecided
    in the middle of the two values of its targets.

    Args:
        loss: The loss module.
        y: Targets as :func:`loss_targets` returns them.

    Example:
        >>> y = torch.tensor([[-1.0], [1.0]])
        >>> meaning(nn.SoftMarginLoss(), y).undecided
        0.0
        >>> meaning(nn.MSELoss(), torch.tensor([[0.3], [0.7], [1.5]])).kind
        'value'
    """
    several = y.ndim == 2 and y.shape[1] > 1
    values = two_values(y)
    own = getattr(loss, "undecided", None)
    if found := of_kind(loss, BY_CLASS):
        return Meaning("classes", found[0], None, 0.0, found[1])
    if known := of_kind(loss, BY_LABEL):
        predict, level, name = known
        middle = sum(values) / 2 if values else level
    elif own is None and (is_numbered(y) or (several and is_one_hot(y))):
        return Meaning("classes", unchanged, None, 0.0, "output")
    elif values is None and own is None:
        return Meaning("value", unchanged, None, 0.0, "prediction")
    else:
        middle = sum(values or (float(y.min()), float(y.max()))) / 2
        predict, level, name = unchanged, middle, "prediction"
    if own is not None:
        predict, level, name = unchanged, float(own), "score"
    return Meaning("labels" if several else "two classes", predict, level, middle, name)


def prediction(loss: nn.Module, output: Tensor) -> Tensor:
    """What outputs say under a loss: probabilities where it works on logits, else the outputs.

    Example:
        >>> prediction(nn.BCEWithLogitsLoss(), torch.zeros(1, 1))
        tensor([[0.5000]])
    """
    found = of_kind(loss, BY_CLASS) or of_kind(loss, BY_LABEL)
    if found is None or getattr(loss, "undecided", None) is not None:
        return output
    shown: Tensor = found[0](output)
    return shown


def loss_targets(loss: nn.Module, y: Tensor) -> Tensor:
    """Targets in the form that a loss takes.

    For losses on one output per class, numbers of classes [n] or [n, 1] and rows with a single 1
    [n, k] all become numbers [n], int64, so that all three train to the same bits; rows of
    probabilities stay. For other losses targets stay as they are.

    Raises:
        ValueError: Class numbers that are no whole numbers.

    Example:
        >>> loss_targets(nn.CrossEntropyLoss(), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([1, 0])
    """
    if of_kind(loss, BY_CLASS) is None or is_numbered(y):
        return y
    if y.ndim == 2 and y.shape[1] > 1:
        return class_numbers(y) if is_one_hot(y) else y
    numbers = y.reshape(-1)
    whole = numbers.round()
    if y.ndim > 2 or not torch.equal(whole, numbers):
        odd = numbers[whole != numbers][:1].tolist()
        raise ValueError(
            f"targets {list(y.shape)} {f'hold {odd[0]:g}' if odd else 'have too many axes'}; "
            f"{type(loss).__name__} takes the number of each row's class, 0, 1, ..., or a row with "
            "a single 1"
        )
    return whole.long()


def class_numbers(y: Tensor) -> Tensor:
    """The number of each row's class [n], of numbers [n] or one-hot rows [n, k]."""
    return y if y.ndim == 1 else y.argmax(-1)


def is_numbered(y: Tensor) -> bool:
    """Whether targets are numbers of classes [n], in integers."""
    return y.ndim == 1 and not y.is_floating_point()


def is_one_hot(y: Tensor) -> bool:
    """Whether every row holds a single 1 and otherwise 0."""
    return bool(((y == 0) | (y == 1)).all()) and bool((y.sum(-1) == 1).all())


def two_values(y: Tensor) -> tuple[float, float] | None:
    """The two values that stand for two classes, (0, 1) or (-1, 1); ``None`` for other targets."""
    for low in (0, -1):
        if bool(((y == low) | (y == 1)).all()):
            return float(low), 1.0
    return None


def of_kind(loss: nn.Module, table: dict[type[nn.Module], tuple[Any, ...]]) -> Any:
    """The row of the table for a loss or the class that it extends; ``None`` without."""
    return next((row for kind, row in table.items() if isinstance(loss, kind)), None)
