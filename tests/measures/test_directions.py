from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.measures.nets import data, mlp, random_stack
from toyml.measures import (
    Plane,
    at,
    coordinates,
    directions,
    filter_normalized_plane,
    flatten,
    landscape,
    off_plane_distance,
    plane_through,
    principal_plane,
    random_plane,
)

MSE = {"MSE": nn.MSELoss()}


def one(net: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    return {name: p[0] for name, p in random_stack(net, 1, seed).items()}


def flat(parameters: dict[str, Tensor]) -> Tensor:
    return flatten({name: p[None] for name, p in parameters.items()})[0]


def rescaled(
    net: nn.Sequential, origin: dict[str, Tensor], factors: list[Tensor]
) -> dict[str, Tensor]:
    """The same function: incoming weights and biases times c, outgoing weights divided by it."""
    new = {name: p.clone() for name, p in origin.items()}
    affine = [str(i) for i, module in enumerate(net) if isinstance(module, nn.Linear)]
    for before, after, c in zip(affine, affine[1:], factors, strict=False):
        new[f"{before}.weight"] *= c[:, None]
        new[f"{before}.bias"] *= c
        new[f"{after}.weight"] /= c
    return new


def curve(net: nn.Module, plane: Plane) -> Tensor:
    x, y = data(20)
    axis = torch.linspace(-1.5, 1.5, 7).double()
    return landscape(net, MSE, plane, axis, axis, x, y)["MSE"]


# -- random --------------------------------------------------------------------------------------


def test_a_random_plane_is_orthonormal_and_its_own_generator_draws_it() -> None:
    origin, state = one(mlp(2, 3, 1)), torch.get_rng_state()
    first, same, other = (random_plane(origin, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(first.gram(), torch.eye(2).double(), rtol=0, atol=1e-15)
    assert torch.equal(first.rows(), same.rows())
    assert (first.rows() - other.rows()).abs().max() > 0.1
    assert all(torch.equal(first.origin[name], p) for name, p in origin.items())
    assert random_plane({"w": torch.zeros(3)}).direction_1["w"].dtype == torch.float32
    with pytest.raises(ValueError, match="1 parameters span no plane"):
        random_plane({"w": torch.zeros(1)})


def test_random_directions_favour_no_parameter() -> None:
    origin = {"w": torch.zeros(2, 2).double()}
    rows = torch.cat([random_plane(origin, seed=s).rows() for s in range(2000)])
    torch.testing.assert_close(
        rows.T @ rows / len(rows), torch.eye(4).double() / 4, rtol=0, atol=0.02
    )


# -- filter-normalised ---------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    activation=st.sampled_from([nn.ReLU, nn.LeakyReLU, nn.Identity]),
    seed=st.integers(0, 10**6),
    decades=st.floats(0.0, 3.0),
)
def test_the_picture_does_not_change_when_units_are_rescaled(
    widths: list[int], activation: type[nn.Module], seed: int, decades: float
) -> None:
    net = mlp(2, *widths, 1, activation=activation)
    origin = one(net, seed)
    generator = torch.Generator().manual_seed(seed)
    factors = [
        10 ** (decades * (2 * torch.rand(h, generator=generator, dtype=torch.float64) - 1))
        for h in widths
    ]
    before = curve(net, filter_normalized_plane(net, origin, seed=seed))
    after = curve(net, filter_normalized_plane(net, rescaled(net, origin, factors), seed=seed))
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12 * float(before.max()))


def li(net: nn.Sequential, origin: dict[str, Tensor], plane: Plane) -> dict[str, Tensor]:
    """The first direction of a plane with each filter, bias included, as long as the net's."""
    new = {}
    for i in (str(i) for i, module in enumerate(net) if isinstance(module, nn.Linear)):
        d, w = (
            torch.cat([each[f"{i}.weight"], each[f"{i}.bias"][:, None]], 1)
            for each in (plane.direction_1, origin)
        )
        d = d / d.norm(dim=1, keepdim=True) * w.norm(dim=1, keepdim=True)
        new |= {f"{i}.weight": d[:, :-1], f"{i}.bias": d[:, -1]}
    return new


def test_lis_own_formula_changes_the_picture() -> None:
    net = mlp(2, 4, 1, activation=nn.ReLU)
    origin = one(net)
    other = rescaled(net, origin, [torch.tensor([10.0, 0.1, 1.0, 2.0]).double()])
    noise = random_plane(origin)
    curves = [
        curve(net, Plane(start, li(net, start, noise), noise.direction_2))[3]
        for start in (origin, other)
    ]
    assert ((curves[0] - curves[1]).abs() > 0.01 * curves[0]).any()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_where_no_unit_needs_rescaling_the_filters_are_as_long_as_the_nets(
    activation: type[nn.Module],
) -> None:
    net = mlp(2, 3, 4, 2, activation=activation)
    origin = one(net)
    if activation is nn.ReLU:  # The equal net whose hidden filters all have length 1.
        for i, after in (("0", "2"), ("2", "4")):
            size = torch.cat([origin[f"{i}.weight"], origin[f"{i}.bias"][:, None]], 1).norm(dim=1)
            origin[f"{i}.weight"] /= size[:, None]
            origin[f"{i}.bias"] /= size
            origin[f"{after}.weight"] *= size
    plane = filter_normalized_plane(net, origin)
    expected = li(net, origin, plane)
    for name, p in expected.items():
        torch.testing.assert_close(plane.direction_1[name], p, rtol=1e-13, atol=1e-14)


def test_silent_units_and_zero_filters_do_not_move() -> None:
    net = mlp(2, 3, 1, activation=nn.ReLU)
    origin = one(net)
    origin["0.weight"][1] = 0
    origin["0.bias"][1] = 0
    plane = filter_normalized_plane(net, origin)
    for direction in (plane.direction_1, plane.direction_2):
        assert not direction["0.weight"][1].any()
        assert direction["2.weight"][0, 1] == 0
        assert direction["2.weight"][0, [0, 2]].all()
    factors = [torch.tensor([1.0, 7.0, 1.0]).double()]
    again = filter_normalized_plane(net, rescaled(net, origin, factors))
    torch.testing.assert_close(curve(net, again), curve(net, plane), rtol=1e-13, atol=0)
    with pytest.raises(ValueError, match="span no plane"):
        filter_normalized_plane(net, {name: 0 * p for name, p in origin.items()})


def test_filters_of_convolutions_and_other_parameters() -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 3, 2, bias=False), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)
    ).double()
    origin = one(net)
    plane = filter_normalized_plane(net, origin, seed=5)
    torch.testing.assert_close(
        plane.direction_1["0.weight"].flatten(1).norm(dim=1),
        origin["0.weight"].flatten(1).norm(dim=1),
    )
    last = torch.cat(
        [plane.direction_2["2.weight"].flatten(1), plane.direction_2["2.bias"][:, None]], 1
    )
    size = torch.cat([origin["2.weight"].flatten(1), origin["2.bias"][:, None]], 1)
    torch.testing.assert_close(last.norm(dim=1), size.norm(dim=1))
    assert not plane.direction_1["1.weight"].any()
    assert not plane.direction_1["1.bias"].any()


def test_weights_shared_among_layers_are_not_rescaled() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    net[2].weight = net[0].weight
    origin = one(net)
    plane = filter_normalized_plane(net, origin)
    row = torch.cat([origin["0.weight"], origin["0.bias"][:, None]], 1)
    got = torch.cat([plane.direction_1["0.weight"], plane.direction_1["0.bias"][:, None]], 1)
    torch.testing.assert_close(got.norm(dim=1), row.norm(dim=1))


def test_another_nets_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="give exactly those"):
        filter_normalized_plane(mlp(2, 1), one(mlp(2, 3, 1)))


# -- principal -----------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [10**6, 0])
@pytest.mark.parametrize("t", [4, 30])
def test_principal_directions_are_the_leading_eigenvectors_of_the_scatter(
    t: int, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directions, "EXACT_NUMBERS", exact)
    path = random_stack(mlp(2, 3, 1), t)
    plane = principal_plane(path)
    rows = flatten(path)
    _, vectors = torch.linalg.eigh((rows - rows.mean(0)).T @ (rows - rows.mean(0)))
    agreement = (plane.rows() * vectors[:, [-1, -2]].T).sum(1).abs()
    torch.testing.assert_close(agreement, torch.ones(2).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(plane.gram(), torch.eye(2).double(), rtol=0, atol=1e-14)
    assert all(torch.equal(plane.origin[name], p[-1]) for name, p in path.items())
    travelled = coordinates(plane, path)[-1] - coordinates(plane, path)[0]
    assert (travelled > 0).all()


def test_a_path_in_a_plane_is_found_again() -> None:
    hidden = random_plane(one(mlp(3, 40, 1)), seed=4)
    a, b = torch.randn(2, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    path = at(hidden, 5 * a, b)
    assert off_plane_distance(principal_plane(path), path).max() < 1e-13


@pytest.mark.parametrize("exact", [10**6, 0])
@pytest.mark.parametrize("t", [2, 9])
def test_a_straight_path_gets_any_second_direction(
    t: int, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directions, "EXACT_NUMBERS", exact)
    step = torch.tensor([3.0, 0.0, 4.0]).double()
    path = {"w": torch.arange(t).double()[:, None] * step}
    plane = principal_plane(path)
    torch.testing.assert_close(plane.direction_1["w"], step / 5)
    torch.testing.assert_close(plane.gram(), torch.eye(2).double())


def test_snapshots_that_are_not_finite_are_left_out() -> None:
    path = random_stack(mlp(2, 1), 6)
    broken = {name: torch.cat([p, p[:1] * torch.nan]) for name, p in path.items()}
    got, expected = principal_plane(broken), principal_plane(path)
    assert torch.equal(got.rows(), expected.rows())
    assert all(torch.equal(got.origin[name], p) for name, p in expected.origin.items())


def test_paths_without_a_direction_are_refused() -> None:
    still = {"w": torch.ones(4, 3)}
    with pytest.raises(ValueError, match="4 finite snapshots, all alike"):
        principal_plane(still)
    with pytest.raises(ValueError, match="one parameter spans no plane"):
        principal_plane({"w": torch.arange(4.0)[:, None]})


# -- through three snapshots ---------------------------------------------------------------------


def test_three_snapshots_lie_on_their_plane() -> None:
    path = random_stack(mlp(2, 3, 1), 3)
    plane = plane_through(*({name: p[i] for name, p in path.items()} for i in range(3)))
    assert off_plane_distance(plane, path).max() < 1e-14
    torch.testing.assert_close(plane.gram(), torch.eye(2).double())
    places, rows = coordinates(plane, path), flatten(path)
    assert not places[0].any()
    assert places[1, 0] > 0
    assert abs(places[1, 1]) < 1e-14
    assert places[2, 1] > 0
    torch.testing.assert_close(torch.cdist(places, places), torch.cdist(rows, rows))


def test_snapshots_on_one_line_are_refused() -> None:
    first, second = one(mlp(2, 1), 1), one(mlp(2, 1), 2)
    third = {name: 3 * p - 2 * second[name] for name, p in first.items()}
    for points in ((first, second, third), (first, first, third), (first, second, second)):
        with pytest.raises(ValueError, match="on one line"):
            plane_through(*points)
    with pytest.raises(ValueError, match="snapshots of one net"):
        plane_through(first, second, one(mlp(2, 3, 1)))
