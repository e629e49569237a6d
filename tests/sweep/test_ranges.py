from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.errors import UserError
from toyml.sweep.ranges import parse_values, split


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5", [0.5]),
        ("1, 2,3", [1, 2, 3]),
        ("1e-3,1e2", [0.001, 100.0]),
        ("-1,0.1", [-1, 0.1]),
        ("linspace(0,1,3)", [0.0, 0.5, 1.0]),
        ("linspace(1,0,3)", [1.0, 0.5, 0.0]),
        ("linspace(2,2,1)", [2.0]),
        ("logspace(-2,0,3)", [0.01, 0.1, 1.0]),
        ("range(3,6)", [3, 4, 5]),
        ("range(0,1,0.25)", [0.0, 0.25, 0.5, 0.75]),
        ("range(3,0,-1)", [3, 2, 1]),
        ("range(0,2),9", [0, 1, 9]),
        ("true,false", [True, False]),
        ("torch.nn.ReLU,torch.nn.Tanh", ["torch.nn.ReLU", "torch.nn.Tanh"]),
        ("[2,1,1],[2,3,1]", [[2, 1, 1], [2, 3, 1]]),
        (
            "{class_path: torch.nn.ELU, init_args: {alpha: 2.0}}",
            [{"class_path": "torch.nn.ELU", "init_args": {"alpha": 2.0}}],
        ),
        ("null,1.0", [None, 1.0]),
    ],
)
def test_values(text: str, values: list[object]) -> None:
    found = parse_values(text)
    assert found == values
    assert [type(v) for v in found] == [type(v) for v in values]


@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(2, 200))
def test_spaces_are_numpys(a: float, b: float, n: int) -> None:
    if abs(a - b) < 1e-6:
        return
    np.testing.assert_allclose(
        parse_values(f"linspace({a!r},{b!r},{n})"), np.linspace(a, b, n), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        parse_values(f"logspace({a!r},{b!r},{n})"), np.logspace(a, b, n), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty range"),
        ("1,,2", "nothing between two commas"),
        ("linspace(0,1)", "two ends"),
        ("linspace(0,1,2.5)", "whole number"),
        ("linspace(0,1,0)", "0 values"),
        ("linspace(1,1,5)", "each comes once"),
        ("linspace(0,inf,3)", "no finite ends"),
        ("linspace(0,x,3)", "no number"),
        ("logspace(0,999,3)", "exponents"),
        ("range(5,5)", "empty range"),
        ("range(5,1)", "empty range"),
        ("range(1,5,0)", "step other than 0"),
        ("range(0,1e9)", "at most"),
        ("1,1", "twice"),
        ("0.1,0.10", "twice"),
        ("[1,2", "bracket"),
        ("1)", "bracket"),
        ("nan", "finite"),
        ("inf,1", "finite"),
    ],
)
def test_what_is_no_range(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse_values(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_values_or_one_line(text: str) -> None:
    with contextlib.suppress(UserError):
        assert parse_values(text)


def test_commas_inside_brackets_do_not_split() -> None:
    assert split("f(1,2),[3,(4,5)],6") == ["f(1,2)", "[3,(4,5)]", "6"]
