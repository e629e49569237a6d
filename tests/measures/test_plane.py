from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.measures.nets import mlp, random_stack
from toyml.measures import (
    Plane,
    at,
    coordinates,
    flatten,
    off_plane_distance,
    plane_of_parameters,
    scalar_names,
)


def single(seed: int) -> dict[str, Tensor]:
    return {name: p[0] for name, p in random_stack(mlp(2, 3, 1), 1, seed).items()}


def test_coordinates_of_two_parameters_are_their_values() -> None:
    stack = random_stack(mlp(2, 3, 1), 9)
    plane = plane_of_parameters(single(4), "0.weight[2,1]", "2.bias[0]")
    expected = torch.stack([stack["0.weight"][:, 2, 1], stack["2.bias"][:, 0]], dim=1)
    assert torch.equal(coordinates(plane, stack), expected)


def test_a_plane_of_two_parameters_moves_those_alone() -> None:
    start = single(4)
    plane = plane_of_parameters(start, "2.weight[0,1]", "0.bias[2]")
    a, b = (
        torch.tensor([3.0, 4.0], dtype=torch.float64),
        torch.tensor([-1.0, 7.0], dtype=torch.float64),
    )
    got = at(plane, a, b)
    assert torch.equal(got["2.weight"][:, 0, 1], a)
    assert torch.equal(got["0.bias"][:, 2], b)
    moved = flatten(got) != flatten({name: p[None] for name, p in start.items()})
    names = scalar_names(got)
    assert {names[i] for i in moved.any(0).nonzero().flatten()} == {"2.weight[0,1]", "0.bias[2]"}
    assert torch.equal(start["0.bias"], single(4)["0.bias"])


def test_points_of_a_skewed_plane_have_their_coordinates_and_no_distance() -> None:
    plane = Plane(single(1), single(2), {k: p + single(2)[k] for k, p in single(3).items()})
    a, b = torch.randn(2, 6, dtype=torch.float64)
    points = at(plane, a, b)
    torch.testing.assert_close(coordinates(plane, points), torch.stack([a, b], 1))
    assert off_plane_distance(plane, points).max() < 1e-13


def test_coordinates_are_those_of_least_squares() -> None:
    plane, stack = Plane(single(1), single(2), single(3)), random_stack(mlp(2, 3, 1), 5, 9)
    one = {name: p[None] for name, p in plane.origin.items()}
    directions = torch.cat(
        [
            flatten({k: p[None] for k, p in d.items()})
            for d in (plane.direction_1, plane.direction_2)
        ]
    )
    away = (flatten(stack) - flatten(one)).T
    solved = torch.linalg.lstsq(directions.T, away)
    torch.testing.assert_close(coordinates(plane, stack), solved.solution.T)
    beside = torch.linalg.vector_norm(away - directions.T @ solved.solution, dim=0)
    torch.testing.assert_close(off_plane_distance(plane, stack), beside)


def test_single_points_and_grids() -> None:
    plane = Plane(single(1), single(2), single(3))
    zero = torch.tensor(0.0, dtype=torch.float64)
    assert all(torch.equal(p, plane.origin[name]) for name, p in at(plane, zero, zero).items())
    grid = at(plane, *torch.randn(2, 4, 5, dtype=torch.float64))
    assert grid["0.weight"].shape == (4, 5, 3, 2)


def test_scalar_tensors_are_named_without_an_index() -> None:
    plane = plane_of_parameters({"a": torch.tensor(1.0), "b": torch.tensor([2.0])}, "a", "b[0]")
    assert at(plane, torch.tensor(5.0), torch.tensor(6.0)) == {"a": 5.0, "b": torch.tensor([6.0])}


@pytest.mark.parametrize(
    "name",
    ["0.weight", "0.weight[0]", "0.weight[3,0]", "1.weight[0,0]", "0.weight[a]", "", "0.bias[-1]"],
)
def test_names_that_are_no_scalar_are_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"0.weight\[3, 2\], 0.bias\[3\]"):
        plane_of_parameters(single(1), "2.bias[0]", name)


def test_directions_that_span_no_plane_are_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        plane_of_parameters(single(1), "2.bias[0]", "2.bias[0]")
    for other in (
        {k: -3 * p for k, p in single(2).items()},
        {k: 0 * p for k, p in single(2).items()},
    ):
        with pytest.raises(ValueError, match="span no plane"):
            Plane(single(1), single(2), other)
    with pytest.raises(ValueError, match="the second direction has shapes"):
        Plane(single(1), single(2), {"0.weight": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match="snapshots of the same net"):
        coordinates(Plane(single(1), single(2), single(3)), {"w": torch.zeros(2, 1)})
