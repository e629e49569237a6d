from __future__ import annotations

import pytest
import torch

from toyml.measures.sides import side_errors


def test_zero_has_error_one_on_both_sides_whatever_the_order_of_the_rows() -> None:
    torch.manual_seed(0)
    x = torch.randn(41, 1)
    y = torch.exp(-5 * x)
    output = torch.stack([0 * y, y, 2 * y, torch.where(x < x.median(), y, 0 * y)])
    expected = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    torch.testing.assert_close(side_errors(output, x, y), expected)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3, 2\]"):
        side_errors(torch.ones(1, 3, 1), torch.ones(3, 2), torch.ones(3, 1))
