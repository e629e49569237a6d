from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from tests.measures.nets import Branched, Wrapped, data, mlp, parabola, random_stack
from toyml.measures import (
    Plane,
    at,
    landscape,
    landscapes,
    plane_of_parameters,
    planes_along,
    points,
)

LOSSES = {"MSE": nn.MSELoss(), "L1": nn.L1Loss(), "Huber": nn.HuberLoss(), "S": nn.SmoothL1Loss()}


def any_plane(net: nn.Module) -> Plane:
    stack = random_stack(net, 3)
    return Plane(*({name: p[i] for name, p in stack.items()} for i in range(3)))


def direct(
    net: nn.Module, loss: nn.Module, plane: Plane, a: Tensor, b: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    one = {name: p[0] for name, p in at(plane, a[None], b[None]).items()}
    value: Tensor = loss(functional_call(net, one, x), y)
    return value.detach()


@pytest.mark.parametrize(
    "net", [mlp(2, 1), mlp(2, 3, 1), Wrapped(mlp(2, 3, 1)), Branched().double()]
)
@pytest.mark.parametrize("chunk", [None, 1, 5])
def test_rows_go_up_the_second_direction_for_every_loss(net: nn.Module, chunk: int | None) -> None:
    plane, (x, y) = any_plane(net), data(8)
    a, b = torch.linspace(-1, 2, 4).double(), torch.linspace(3, 5, 6).double()
    got = landscape(net, LOSSES, plane, a, b, x, y, chunk=chunk)
    assert list(got) == list(LOSSES)
    for name, loss in LOSSES.items():
        assert got[name].shape == (6, 4)
        for i, j in ((0, 0), (0, 3), (5, 0), (2, 1), (5, 3)):
            expected = direct(net, loss, plane, a[j], b[i], x, y)
            torch.testing.assert_close(got[name][i, j], expected, rtol=1e-12, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(g1=st.integers(1, 7), g2=st.integers(1, 7), chunk=st.integers(1, 60), wrap=st.booleans())
def test_the_chunk_changes_nothing(g1: int, g2: int, chunk: int | None, wrap: bool) -> None:
    net = Wrapped(mlp(2, 2, 1)) if wrap else mlp(2, 2, 1)
    plane, (x, y) = any_plane(net), data(3)
    a, b = torch.linspace(-1, 1, g1).double(), torch.linspace(0, 2, g2).double()
    some = landscape(net, {"l": nn.MSELoss()}, plane, a, b, x, y, chunk=chunk)["l"]
    all_at_once = landscape(net, {"l": nn.MSELoss()}, plane, a, b, x, y, chunk=g1 * g2)["l"]
    torch.testing.assert_close(some, all_at_once, rtol=1e-12, atol=1e-14)


def test_the_squared_error_of_a_line_is_its_quadratic() -> None:
    x, y = parabola()
    net = nn.Linear(1, 1).double()
    plane = plane_of_parameters(dict(net.named_parameters()), "weight[0,0]", "bias[0]")
    a, b = torch.linspace(-5, 8, 101).double(), torch.linspace(-4, 6, 51).double()
    got = landscape(net, {"MSE": nn.MSELoss()}, plane, a, b, x, y)["MSE"]
    w, c = a[None, :], b[:, None]
    expected = (
        w**2 * (x**2).mean() + c**2 + 2 * w * c * x.mean()
        - 2 * w * (x * y).mean() - 2 * c * y.mean() + (y**2).mean()
    )  # fmt: skip
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    lowest = landscape(
        net,
        {"MSE": nn.MSELoss()},
        plane,
        w.new_tensor([0.92582732]),
        w.new_tensor([2.48438425]),
        x,
        y,
    )["MSE"]
    assert lowest.item() == pytest.approx(0.4994412813498641, abs=1e-13)


def test_blocks_of_parameters_smaller_than_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    net = mlp(2, 3, 1)
    plane, (x, y) = any_plane(net), data(4)
    a = torch.linspace(-1, 1, 9).double()
    expected = landscape(net, LOSSES, plane, a, a, x, y)
    monkeypatch.setattr(points, "fitting", lambda size, device: 10)
    got = landscape(net, LOSSES, plane, a, a, x, y, chunk=4)
    for name in LOSSES:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("block", [10**6, 7])
def test_landscapes_of_several_planes_are_those_of_each(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "fitting", lambda size, device: block)
    net = mlp(2, 3, 1)
    first, path, (x, y) = any_plane(net), random_stack(net, 4, 9), data(4)
    planes = planes_along(first, path)
    a, b = torch.linspace(-1, 1, 3).double(), torch.linspace(0, 2, 2).double()
    got = landscapes(net, LOSSES, planes, a, b, x, y)
    assert all(got[name].shape == (4, 2, 3) for name in LOSSES)
    for s, plane in enumerate(planes):
        assert all(torch.equal(p, path[name][s]) for name, p in plane.origin.items())
        assert torch.equal(plane.rows(), first.rows())
        one = landscape(net, LOSSES, plane, a, b, x, y)
        for name in LOSSES:
            torch.testing.assert_close(got[name][s], one[name], rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="planes is empty"):
        landscapes(net, LOSSES, [], a, b, x, y)


@settings(max_examples=15, deadline=None)
@given(g=st.integers(1, 6), seed=st.integers(0, 1000), wrap=st.booleans())
def test_swapping_the_directions_transposes_and_mirroring_one_flips(
    g: int, seed: int, wrap: bool
) -> None:
    net = Wrapped(mlp(2, 2, 1)) if wrap else mlp(2, 2, 1)
    stack, (x, y) = random_stack(net, 3, seed), data(5)
    origin, u, v = ({name: p[i] for name, p in stack.items()} for i in range(3))
    a, b = torch.linspace(-1, 1.5, g).double(), torch.linspace(0, 2, 4).double()
    mse = {"l": nn.MSELoss()}
    plain = landscape(net, mse, Plane(origin, u, v), a, b, x, y)["l"]
    swapped = landscape(net, mse, Plane(origin, v, u), b, a, x, y)["l"]
    torch.testing.assert_close(swapped, plain.T, rtol=1e-12, atol=1e-14)
    opposite = {name: -p for name, p in u.items()}
    mirrored = landscape(net, mse, Plane(origin, opposite, v), -a.flip(0), b, x, y)["l"]
    torch.testing.assert_close(mirrored, plain.flip(1), rtol=1e-12, atol=1e-14)


def test_the_plane_and_the_module_stay_as_they_were() -> None:
    net = mlp(2, 3, 1)
    plane, (x, y) = any_plane(net), data(4)
    before = [{k: p.clone() for k, p in d.items()} for d in (plane.origin, plane.direction_1)]
    state = {k: p.clone() for k, p in net.state_dict().items()}
    a = torch.linspace(-1, 1, 5).double()
    landscape(net, LOSSES, plane, a, a, x, y)
    assert all(torch.equal(p, before[0][k]) for k, p in plane.origin.items())
    assert all(torch.equal(p, before[1][k]) for k, p in plane.direction_1.items())
    assert all(torch.equal(p, state[k]) for k, p in net.state_dict().items())
    assert net.training


def test_refusals() -> None:
    net = mlp(2, 1)
    plane, (x, y), a = any_plane(net), data(4), torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="losses is empty"):
        landscape(net, {}, plane, a, a, x, y)
    with pytest.raises(ValueError, match=r"torch.float32; give a vector of torch.float64"):
        landscape(net, LOSSES, plane, a, a.float(), x, y)
    with pytest.raises(ValueError, match=r"shape \[1, 2\]"):
        landscape(net, LOSSES, plane, a[None], a, x, y)
    with pytest.raises(ValueError, match="chunk is 0"):
        landscape(net, LOSSES, plane, a, a, x, y, chunk=0)
    with pytest.raises(ValueError, match="give exactly those"):
        landscape(mlp(2, 3, 1), LOSSES, plane, a, a, x, y)
