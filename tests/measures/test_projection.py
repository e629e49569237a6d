from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.measures.nets import data, mlp, random_stack
from toyml.measures import (
    Plane,
    Projection,
    at,
    coordinates,
    flatten,
    losses,
    off_plane_distance,
    plane_of_parameters,
    principal_plane,
    project,
    random_plane,
    verdict,
)

NET, LOSS = mlp(2, 3, 1), nn.BCEWithLogitsLoss()


def found(true: list[float], shown: list[float], distance: list[float]) -> Projection:
    t = len(true)
    as_tensor = [torch.tensor(each, dtype=torch.float64) for each in (distance, true, shown)]
    return Projection(torch.zeros(t, 2), *as_tensor, explained=0.99387, extent=10.0)


@settings(max_examples=25, deadline=None)
@given(t=st.integers(2, 12), seed=st.integers(0, 1000))
def test_a_projection_is_its_parts(t: int, seed: int) -> None:
    stack, (x, y) = random_stack(NET, t, seed), data(7)
    single = [{k: p[0] for k, p in random_stack(NET, 1, seed + i).items()} for i in (1, 2, 3)]
    plane = Plane(*single)
    got = project(NET, LOSS, plane, stack, x, y)
    assert torch.equal(got.coordinates, coordinates(plane, stack))
    assert torch.equal(got.distance, off_plane_distance(plane, stack))
    assert torch.equal(got.true, losses(NET, LOSS, stack, x, y))
    shadows = at(plane, *got.coordinates.unbind(1))
    assert torch.equal(got.on_plane, losses(NET, LOSS, shadows, x, y))
    rows, basis = flatten(stack), torch.linalg.qr(plane.rows().T).Q
    centred = rows - rows.mean(0)
    inside = (centred @ basis).square().sum() / centred.square().sum()
    assert got.explained == pytest.approx(inside.item(), abs=1e-12)
    assert got.extent == pytest.approx(centred.norm(dim=1).max().item())


def test_the_principal_plane_explains_most() -> None:
    stack, (x, y) = random_stack(NET, 12), data(7)
    best = project(NET, LOSS, principal_plane(stack), stack, x, y)
    values = torch.linalg.svdvals(flatten(stack) - flatten(stack).mean(0)).square()
    assert best.explained == pytest.approx((values[:2].sum() / values.sum()).item())
    last = {name: p[-1] for name, p in stack.items()}
    others = [project(NET, LOSS, random_plane(last, seed=s), stack, x, y) for s in range(20)]
    assert best.explained > max(other.explained for other in others)


def test_a_path_within_the_plane_is_the_truth() -> None:
    net, (x, y) = mlp(1, 1), data(7, 1)
    stack = random_stack(net, 5)
    plane = plane_of_parameters({k: p[0] for k, p in stack.items()}, "0.weight[0,0]", "0.bias[0]")
    got = project(net, LOSS, plane, stack, x, y)
    assert got.explained == 1
    assert torch.equal(got.true, got.on_plane)
    assert verdict(range(5), got).startswith("This plane holds the whole path")


def test_snapshots_that_are_not_finite_do_not_spoil_the_variance() -> None:
    stack, (x, y) = random_stack(NET, 6), data(7)
    plane = principal_plane(stack)
    clean = project(NET, LOSS, plane, stack, x, y)
    broken = {name: torch.cat([p, p[:1] * torch.nan]) for name, p in stack.items()}
    got = project(NET, LOSS, plane, broken, x, y)
    assert (got.explained, got.extent) == (clean.explained, clean.extent)
    assert got.true[-1].isnan()
    assert verdict(range(7), got) == verdict(range(6), clean)
    lost = project(NET, LOSS, plane, {k: p * torch.nan for k, p in stack.items()}, x, y)
    assert "No loss along the path is finite." in verdict(range(6), lost)


def test_a_path_that_does_not_move_is_all_explained() -> None:
    (x, y), start = data(7), random_stack(NET, 1)
    still = {name: p.expand(4, *p.shape[1:]) for name, p in start.items()}
    got = project(NET, LOSS, random_plane({k: p[0] for k, p in start.items()}), still, x, y)
    assert (got.explained, got.extent) == (1.0, 0.0)
    assert verdict(range(4), got).startswith("This plane holds the whole path")


HELD = "This plane holds 99.3 % of the path. "
FAR = " the path is far off this plane: read no heights from it."
OFF, ON = 3.0, 0.5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([2, 3, 4], "From step 20 on"),
        ([0, 1], "Up to step 10"),
        ([1, 2], "Between steps 10 and 20"),
        ([3], "At step 30"),
        ([0, 2, 3], "At 3 of 5 snapshots, between steps 0 and 30,"),
        ([0, 1, 2, 3, 4], "All along"),
    ],
)
def test_words_say_where_the_path_is_far_off(wrong: list[int], words: str) -> None:
    true = [9.0, 7.0, 5.0, 3.0, 1.0]
    shown = [loss * (1.2 if i in wrong else 1.05) for i, loss in enumerate(true)]
    distance = [OFF if i in wrong else ON for i in range(5)]
    got = verdict([0, 10, 20, 30, 40], found(true, shown, distance))
    assert got == HELD + words + FAR


def test_heights_and_distances_are_told_apart() -> None:
    true = [9.0, 5.0, 1.0]
    steep = verdict([0, 1, 2], found(true, [9.0, 6.0, 1.0], [ON] * 3))
    assert steep == HELD + (
        "At step 1 the loss is steep across this plane, near as the path is: "
        "read no heights from it."
    )
    flat = verdict([0, 1, 2], found(true, [9.0, 5.1, 1.0], [OFF, ON, ON]))
    assert flat == HELD + (
        "The path leaves it by up to 30 % of its extent, but its heights are within 2 % of the "
        "path's losses."
    )
    near = verdict([0, 1, 2], found(true, [9.0, 5.0, 1.0], [ON] * 3))
    assert near == HELD + "All along its heights are within 1 % of the path's losses."


def test_thresholds() -> None:
    """A tenth of the loss, and of losses near zero a tenth of a hundredth of the range."""
    for shown, right in ((1.099, True), (1.101, False), (0.901, True), (0.899, False)):
        words = verdict([0, 1], found([11.0, 1.0], [11.0, shown], [ON, ON]))
        assert ("read no heights" not in words) == right
    for shown, right in ((0.0099, True), (0.0101, False)):
        words = verdict([0, 1], found([10.0, 0.0], [10.0, shown], [ON, ON]))
        assert ("read no heights" not in words) == right
    for distance, far in ((0.99, False), (1.01, True)):
        words = verdict([0, 1], found([10.0, 1.0], [10.0, 2.0], [ON, distance]))
        assert ("far off" in words) == far


def test_infinite_heights_are_wrong_and_infinite_losses_not_judged() -> None:
    words = verdict([0, 1], found([10.0, 1.0], [10.0, float("inf")], [ON, OFF]))
    assert words == HELD + "At step 1" + FAR
    words = verdict([0, 1], found([10.0, float("inf")], [10.0, 3.0], [ON, OFF]))
    assert words == HELD + "All along its heights are within 1 % of the path's losses."


def test_steps_belong_to_snapshots() -> None:
    with pytest.raises(ValueError, match="2 steps and 3 snapshots"):
        verdict([0, 1], found([1.0] * 3, [1.0] * 3, [0.0] * 3))
