from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from tests.measures.nets import Wrapped, mlp, random_stack
from toyml.measures import decision_grid, margin_box


@pytest.mark.parametrize("wrap", [False, True])
def test_rows_go_up_the_second_input_and_columns_along_the_first(wrap: bool) -> None:
    net = Wrapped(mlp(2, 4, 2)) if wrap else mlp(2, 4, 2)
    stack = random_stack(net, 3)
    xs = torch.linspace(-2, 3, 4, dtype=torch.float64)
    ys = torch.linspace(5, 9, 6, dtype=torch.float64)
    got = decision_grid(net, stack, xs, ys, chunk=2)
    assert got.shape == (3, 6, 4, 2)
    for s in range(3):
        one = {name: p[s] for name, p in stack.items()}
        for i in range(6):
            for j in range(4):
                expected = functional_call(net, one, torch.stack([xs[j], ys[i]])[None])[0]
                torch.testing.assert_close(got[s, i, j], expected.detach(), rtol=1e-12, atol=1e-13)


def test_the_box_is_wider_than_the_points_by_the_margin() -> None:
    x = torch.tensor([[-1.0, 10.0], [3.0, 12.0], [0.0, 11.0]])
    assert margin_box(x) == pytest.approx((-1.6, 3.6, 9.7, 12.3))
    assert margin_box(x, margin=0.0) == (-1.0, 3.0, 10.0, 12.0)
    assert margin_box(x[:1]) == (-2.0, 0.0, 9.0, 11.0)


@pytest.mark.parametrize("x", [torch.zeros(0, 2), torch.zeros(3, 3), torch.full((2, 2), torch.nan)])
def test_the_box_refuses_what_has_none(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="give finite points"):
        margin_box(x)


def test_refused_margins_and_axes() -> None:
    with pytest.raises(ValueError, match=r"margin is -0\.1"):
        margin_box(torch.zeros(2, 2), margin=-0.1)
    net = mlp(2, 1)
    with pytest.raises(ValueError, match="give two vectors"):
        decision_grid(net, random_stack(net, 1), torch.zeros(2, 2), torch.zeros(3))
