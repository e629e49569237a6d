from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toyml.measures.regions import is_bounded, regions


@settings(max_examples=30, deadline=None)
@given(h=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_lines_make_as_many_regions_as_they_can(h: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights, biases = torch.randn(h, 2, generator=generator), torch.randn(h, generator=generator)
    x = 3 * torch.randn(5000, 2, generator=generator)
    y = (torch.rand(5000, generator=generator) > 0.5).float()
    found = regions(weights, biases, x, y)
    assert len(found) <= 1 + h + h * (h - 1) // 2
    assert sum(r.zeros + r.ones for r in found) == 5000
    assert sum(r.ones for r in found) == int(y.sum())
    bounded = [r for r in found if is_bounded(weights, r.signs)]
    assert len(bounded) <= (h - 1) * (h - 2) // 2


@settings(max_examples=30, deadline=None)
@given(h=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_bounded_agrees_with_a_walk_in_every_direction(h: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(h, 2, generator=generator)
    signs = torch.rand(h, generator=generator) > 0.5
    angles = torch.arange(20_000) * (2 * torch.pi / 20_000)
    directions = torch.stack([angles.cos(), angles.sin()])
    inward = torch.where(signs[:, None], weights, -weights)
    escapes = bool(((inward @ directions) >= 0).all(0).any())
    assert is_bounded(weights, signs) == (not escapes)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3, 2\]"):
        regions(torch.ones(3, 2), torch.ones(2), torch.ones(4, 2), torch.ones(4))
    with pytest.raises(ValueError, match=r"\[3, 3\]"):
        is_bounded(torch.ones(3, 3), torch.ones(3) > 0)
