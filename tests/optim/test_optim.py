"""Settings per replica give what ``torch.optim`` gives each replica alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from toyml import optim

SHAPES = ((3, 2), (4,), ())
"""A weight, a bias and a single number."""

RATES = st.sampled_from([0.0, 1e-3, 0.05, 0.3])
SHARES = st.sampled_from([0.0, 0.3, 0.9, 0.99])
DECAYS = st.sampled_from([0.0, 0.0, 0.02, 0.5])


def some(values: st.SearchStrategy[float], r: int) -> st.SearchStrategy[Any]:
    """One number, or one for each of r replicas, as a list or a tensor."""
    several = st.lists(values, min_size=r, max_size=r)
    return st.one_of(values, several, several.map(torch.tensor))


def sgd_settings(r: int) -> st.SearchStrategy[dict[str, Any]]:
    plain = st.fixed_dictionaries(
        {
            "lr": some(RATES, r),
            "momentum": some(SHARES, r),
            "dampening": some(SHARES, r),
            "weight_decay": some(DECAYS, r),
            "maximize": st.booleans(),
        }
    )
    ahead = st.fixed_dictionaries(
        {
            "lr": some(RATES, r),
            "momentum": some(st.sampled_from([0.3, 0.9]), r),
            "weight_decay": some(DECAYS, r),
            "nesterov": st.just(True),
            "maximize": st.booleans(),
        }
    )
    return st.one_of(plain, ahead)


def adam_settings(r: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "lr": some(RATES, r),
            # Without a memory of squares, m / |g| amplifies the rounding of a g that is nearly 0.
            "betas": st.tuples(some(SHARES, r), some(SHARES.filter(bool), r)),
            "eps": some(st.sampled_from([1e-8, 1e-3]), r),
            "weight_decay": some(DECAYS, r),
            "maximize": st.booleans(),
        }
    )


def one(value: Any, i: int) -> Any:
    """Replica i's own setting."""
    if isinstance(value, tuple):
        return tuple(one(v, i) for v in value)
    return float(value[i]) if isinstance(value, list | Tensor) else value


def gradients(r: int, steps: int, dtype: torch.dtype) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        [torch.randn((r, *shape), generator=generator, dtype=dtype) for shape in SHAPES]
        for _ in range(steps)
    ]


def after(kind: Any, start: list[Tensor], path: list[list[Tensor]], **chosen: Any) -> list[Tensor]:
    parameters = [nn.Parameter(p.clone()) for p in start]
    optimizer = kind(parameters, **chosen)
    for found in path:
        for p, g in zip(parameters, found, strict=True):
            p.grad = g.clone()
        before = [g.clone() for g in found]
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(parameters, before, strict=True))
    return [p.detach() for p in parameters]


def compare(ours: Any, theirs: Any, chosen: dict[str, Any], r: int, dtype: torch.dtype) -> None:
    path = gradients(r, 7, dtype)
    start = gradients(r, 1, dtype)[0]
    found = after(ours, start, path, **chosen)
    for i in range(r):
        expected = after(
            theirs,
            [p[i] for p in start],
            [[g[i] for g in step] for step in path],
            **{name: one(value, i) for name, value in chosen.items()},
        )
        for a, b in zip(found, expected, strict=True):
            tolerance = 1e-13 if dtype == torch.float64 else 2e-5
            torch.testing.assert_close(a[i], b, rtol=tolerance, atol=tolerance)


REPLICAS = st.shared(st.integers(1, 4), key="r")
DTYPES = st.sampled_from([torch.float32, torch.float64])


@given(REPLICAS, REPLICAS.flatmap(sgd_settings), DTYPES)
@settings(deadline=None, max_examples=40)
def test_sgd_is_torchs_for_every_replica(
    r: int, chosen: dict[str, Any], dtype: torch.dtype
) -> None:
    compare(optim.SGD, torch.optim.SGD, chosen, r, dtype)


@given(REPLICAS, REPLICAS.flatmap(adam_settings), st.booleans(), DTYPES)
@settings(deadline=None, max_examples=40)
def test_adam_is_torchs_for_every_replica(
    r: int, chosen: dict[str, Any], decoupled: bool, dtype: torch.dtype
) -> None:
    kinds = (optim.AdamW, torch.optim.AdamW) if decoupled else (optim.Adam, torch.optim.Adam)
    compare(*kinds, chosen, r, dtype)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_defaults_are_torchs(kind: str) -> None:
    compare(getattr(optim, kind), getattr(torch.optim, kind), {}, 2, torch.float64)


def test_a_group_may_have_settings_of_its_own() -> None:
    weight, bias = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2))
    groups = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = optim.SGD(groups, lr=[1.0, 0.5], weight_decay=[0.5, 0.1])
    weight.grad, bias.grad = torch.zeros(2, 3), torch.zeros(2)
    optimizer.step()
    assert weight[:, 0].tolist() == pytest.approx([0.5, 0.95])
    assert bias.tolist() == [1, 1]


def test_state_goes_through_a_checkpoint() -> None:
    path = gradients(3, 6, torch.float64)
    start = gradients(3, 1, torch.float64)[0]
    chosen: dict[str, Any] = {"lr": [0.1, 0.2, 0.3], "betas": ([0.5, 0.8, 0.9], 0.99)}
    whole = after(optim.Adam, start, path, **chosen)
    parameters = [nn.Parameter(p.clone()) for p in start]
    optimizer = optim.Adam(parameters, **chosen)
    for i, found in enumerate(path):
        if i == 3:
            saved = optimizer.state_dict()
            optimizer = optim.Adam(parameters, **chosen)
            optimizer.load_state_dict(saved)
        for p, g in zip(parameters, found, strict=True):
            p.grad = g.clone()
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(parameters, whole, strict=True))


def test_a_replica_that_is_not_a_number_stays_alone() -> None:
    for kind in (optim.SGD, optim.Adam, optim.AdamW):
        p = nn.Parameter(torch.ones(3, 2))
        optimizer = kind([p], lr=[0.1, 0.2, 0.3])
        for _ in range(3):
            p.grad = torch.tensor([[1.0, 1], [float("nan"), float("inf")], [1, 1]])
            optimizer.step()
        assert p[[0, 2]].isfinite().all()
        assert not p[1].isfinite().any()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"lr": -0.1}, "lr is -0.1"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": [0.1, -2.0]}, "lr is -2.0"),
        ({"lr": [0.1, 0.2, 0.3]}, "lr has 3 values"),
        ({"lr": [[0.1], [0.2]]}, r"lr has shape \[2, 1\]"),
        ({"lr": []}, r"lr has shape \[0\]"),
        ({"lr": "fast"}, "lr is 'fast'"),
        ({"momentum": [0.9, 0.0], "nesterov": True}, "nesterov needs a momentum"),
        ({"momentum": 0.9, "dampening": 0.1, "nesterov": True}, "nesterov needs a momentum"),
    ],
)
def test_wrong_settings_are_named(chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        optim.SGD([nn.Parameter(torch.ones(2, 1))], **chosen)


def test_betas_stay_below_one() -> None:
    with pytest.raises(ValueError, match=r"betas\[1\] is 1.0"):
        optim.Adam([nn.Parameter(torch.ones(2, 1))], betas=(0.9, [0.9, 1.0]))
