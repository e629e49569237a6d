from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measures.nets import mlp, random_stack
from toyml.measures import (
    angle,
    distances,
    flatten,
    norms,
    scalar_names,
    tensor_norms,
    unflatten,
)


@settings(deadline=None)
@given(start=st.floats(-179, 179), turn=st.floats(-179, 179))
def test_the_angle_is_the_turn_from_the_reference(start: float, turn: float) -> None:
    def direction(degrees: float) -> torch.Tensor:
        radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
        return torch.stack([radians.cos(), radians.sin()])

    got = angle(4 * direction(start + turn), 0.3 * direction(start))
    assert got.item() == pytest.approx(turn, abs=1e-9)


def test_known_angles_of_the_two_point_perceptron() -> None:
    w = torch.tensor([[1.025895, 0.244191], [11.392892, -2.756485]], dtype=torch.float64)
    got = angle(w, torch.tensor([2.0, 1.0]))
    assert got.tolist() == pytest.approx([-13.176230, -40.166261], abs=5e-5)
    assert angle(w[:, None], torch.tensor([2.0, 1.0])).shape == (2, 1)
    with pytest.raises(ValueError, match=r"give \[..., 2\] and \[2\]"):
        angle(torch.zeros(3), torch.zeros(2))


def test_known_distances_of_two_points_from_two_lines() -> None:
    w = torch.tensor([[2.0, 1.0], [7.0, -2.0]], dtype=torch.float64)
    b = torch.tensor([-5.5, -11.0], dtype=torch.float64)
    x = torch.tensor([[3.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([[1.0], [0.0]])
    got = distances(w, b, x, y)
    bisector, limit = 5**0.5 / 2, 6 / 53**0.5
    assert got.flatten().tolist() == pytest.approx([bisector, bisector, limit, limit], abs=1e-14)
    assert torch.equal(distances(w, b, x, 1 - y), -got)
    assert torch.equal(distances(w[1], b[1], x, y[:, 0]), got[1])


def test_refused_labels_and_shapes() -> None:
    w, b, x = torch.ones(5, 2), torch.ones(5), torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"labels are \[-1, 1\]; they have to be 0 and 1"):
        distances(w, b, x, torch.tensor([1, -1, 1]))
    for arguments in (
        (w, b[:4], x, torch.ones(3)),
        (w, b, x, torch.ones(2)),
        (w, b, x.T, torch.ones(2)),
    ):
        with pytest.raises(ValueError, match="have shapes"):
            distances(*arguments)


def test_lengths_of_tensors_add_up_to_the_length_of_all() -> None:
    stack = random_stack(mlp(2, 3, 1), 4)
    each = torch.stack(list(tensor_norms(stack).values()))
    torch.testing.assert_close(each.square().sum(0).sqrt(), norms(stack))
    expected = torch.linalg.matrix_norm(stack["0.weight"], "fro")
    torch.testing.assert_close(tensor_norms(stack)["0.weight"], expected)


@settings(max_examples=40, deadline=None)
@given(
    t=st.integers(1, 4),
    shapes=st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=1, max_size=4),
)
def test_flat_rows_and_their_names_lead_back(t: int, shapes: list[list[int]]) -> None:
    stack = {f"p{i}": torch.randn(t, *shape) for i, shape in enumerate(shapes)}
    flat, names = flatten(stack), scalar_names(stack)
    assert flat.shape == (t, len(names))
    back = unflatten(flat, stack)
    assert all(torch.equal(back[name], p) for name, p in stack.items())
    assert unflatten(flat[0], stack)["p0"].shape == tuple(shapes[0])
    for column, name in enumerate(names):
        tensor, _, index = name.rstrip("]").partition("[")
        where = tuple(int(i) for i in index.split(",")) if index else ()
        each = torch.stack([row[where] for row in stack[tensor]])
        assert torch.equal(each, flat[:, column])


def test_refused_rows() -> None:
    with pytest.raises(ValueError, match="rows have 3 columns; give 2"):
        unflatten(torch.zeros(1, 3), {"w": torch.zeros(1, 2)})
    with pytest.raises(ValueError, match="same number of snapshots"):
        flatten({"a": torch.zeros(2, 1), "b": torch.zeros(3, 1)})
