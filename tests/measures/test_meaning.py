from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toyml.measures import Meaning, loss_targets, meaning
from toyml.measures.meaning import prediction

ZERO_ONE = torch.tensor([[0.0], [1.0], [1.0]])
SIGNS = torch.tensor([[-1.0], [1.0], [1.0]])
VALUES = torch.tensor([[0.3], [-2.0], [5.0]])
ONE_HOT = torch.eye(3)
LABELS = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class Hinge(nn.Module):
    """A margin loss of one's own that says nothing."""

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        return torch.clamp(1 - y * output, min=0).mean()


class Focal(nn.Module):
    """A loss on logits of one's own that says where it is undecided."""

    undecided = 0.0


class Weighted(nn.BCEWithLogitsLoss):
    """An extension of a loss of torch's."""


@pytest.mark.parametrize(
    ("loss", "y", "kind", "undecided", "quantity"),
    [
        (nn.BCELoss(), ZERO_ONE, "two classes", 0.5, "probability of class 1"),
        (nn.BCEWithLogitsLoss(), ZERO_ONE, "two classes", 0.5, "probability of class 1"),
        (Weighted(), ZERO_ONE, "two classes", 0.5, "probability of class 1"),
        (nn.MultiLabelSoftMarginLoss(), ZERO_ONE, "two classes", 0.5, "probability of class 1"),
        (nn.BCELoss(), torch.tensor([[0.1], [0.9]]), "two classes", 0.5, "probability of class 1"),
        (nn.SoftMarginLoss(), SIGNS, "two classes", 0.0, "score"),
        (Hinge(), SIGNS, "two classes", 0.0, "prediction"),
        (nn.MSELoss(), SIGNS, "two classes", 0.0, "prediction"),
        (nn.MSELoss(), ZERO_ONE, "two classes", 0.5, "prediction"),
        (Focal(), ZERO_ONE, "two classes", 0.0, "score"),
        (nn.MSELoss(), VALUES, "value", None, "prediction"),
        (nn.L1Loss(), torch.cat([VALUES, VALUES], 1), "value", None, "prediction"),
        (nn.CrossEntropyLoss(), torch.tensor([0, 2, 1]), "classes", None, "probability"),
        (nn.NLLLoss(), torch.tensor([0, 2, 1]), "classes", None, "probability"),
        (nn.MultiMarginLoss(), torch.tensor([0, 2, 1]), "classes", None, "score"),
        (nn.CrossEntropyLoss(), torch.full((2, 3), 1 / 3), "classes", None, "probability"),
        (nn.MSELoss(), ONE_HOT, "classes", None, "output"),
        (nn.BCEWithLogitsLoss(), LABELS, "labels", 0.5, "probability of class 1"),
        (nn.BCEWithLogitsLoss(), ONE_HOT, "labels", 0.5, "probability of class 1"),
    ],
)
def test_what_outputs_mean(
    loss: nn.Module, y: Tensor, kind: str, undecided: float | None, quantity: str
) -> None:
    found = meaning(loss, y)
    assert (found.kind, found.undecided, found.quantity) == (kind, undecided, quantity)


@pytest.mark.parametrize(
    ("loss", "y", "output", "share"),
    [
        (nn.BCEWithLogitsLoss(), ZERO_ONE, [[-1.0], [0.2], [-3.0]], 2 / 3),
        (nn.BCELoss(), ZERO_ONE, [[0.4], [0.6], [0.3]], 2 / 3),
        (nn.SoftMarginLoss(), SIGNS, [[-0.1], [0.3], [0.4]], 1.0),
        (Hinge(), SIGNS, [[0.1], [0.3], [0.4]], 2 / 3),
        (nn.CrossEntropyLoss(), torch.tensor([0, 2, 1]), ONE_HOT.tolist(), 1 / 3),
        (nn.MSELoss(), ONE_HOT, (ONE_HOT + 3).tolist(), 1.0),
        (nn.BCEWithLogitsLoss(), LABELS, (LABELS - 0.5).tolist(), 1.0),
        (nn.BCEWithLogitsLoss(), LABELS, (LABELS * 0 - 0.5).tolist(), 2 / 3),
    ],
)
def test_which_rows_are_right(loss: nn.Module, y: Tensor, output: Any, share: float) -> None:
    found = meaning(loss, y).right(torch.tensor([output, output]), y)
    assert found.tolist() == pytest.approx([share, share])


def test_values_are_neither_right_nor_wrong() -> None:
    with pytest.raises(ValueError, match="not classes"):
        meaning(nn.MSELoss(), VALUES).right(VALUES, VALUES)


def test_predictions_of_logits_and_log_probabilities_are_probabilities() -> None:
    output = torch.tensor([[0.0, 1.0]])
    assert torch.equal(prediction(nn.CrossEntropyLoss(), output), output.softmax(-1))
    assert torch.equal(prediction(nn.NLLLoss(), output), output.exp())
    assert torch.equal(prediction(nn.BCEWithLogitsLoss(), output), output.sigmoid())
    assert torch.equal(prediction(nn.MSELoss(), output), output)
    assert torch.equal(prediction(Focal(), output), output)
    for loss in (nn.CrossEntropyLoss(), nn.NLLLoss(), nn.BCEWithLogitsLoss(), nn.MSELoss()):
        found: Meaning = meaning(loss, torch.tensor([[0.0, 1.0]]))
        assert torch.equal(found.prediction(output), prediction(loss, output))


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.NLLLoss(), nn.MultiMarginLoss()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64])
def test_every_form_of_classes_becomes_their_numbers(loss: nn.Module, dtype: torch.dtype) -> None:
    numbers = torch.tensor([2, 0, 1])
    forms = (numbers, numbers[:, None], torch.eye(3)[numbers])
    for form in forms:
        found = loss_targets(loss, form.to(dtype))
        assert found.dtype in (torch.int64, torch.int32)
        assert found.tolist() == [2, 0, 1]


def test_other_targets_stay_as_they_are() -> None:
    soft = torch.tensor([[0.2, 0.8]])
    assert loss_targets(nn.CrossEntropyLoss(), soft) is soft
    assert loss_targets(nn.MSELoss(), ZERO_ONE) is ZERO_ONE
    assert loss_targets(nn.BCEWithLogitsLoss(), ONE_HOT) is ONE_HOT


def test_what_is_no_class_is_named() -> None:
    with pytest.raises(ValueError, match=r"hold 0\.5; CrossEntropyLoss takes the number"):
        loss_targets(nn.CrossEntropyLoss(), torch.tensor([[0.5], [1.0]]))
