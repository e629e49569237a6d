"""Ways to lay a plane through parameter space: drawn at random, or through given snapshots."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from toyml.measures.chain import read_chain
from toyml.measures.flat import flatten, unflatten
from toyml.measures.forward import Parameters, check, stack_size
from toyml.measures.plane import Plane, plane_of_rows

HOMOGENEOUS: frozenset[type[nn.Module]] = frozenset({nn.Identity, nn.LeakyReLU, nn.ReLU})
"""Activations with f(c z) = c f(z) for c > 0: their units can be rescaled at no change."""

EXACT_NUMBERS = 2**21
"""Paths of up to this many numbers have their singular values taken as they are."""


def random_plane(origin: Parameters, *, seed: int = 0) -> Plane:
    """A plane drawn uniformly among all through a snapshot.

    Two normal vectors made orthonormal, so that distances in the picture are distances in
    parameter space. Where layers differ much in size the picture says more about the largest;
    ``filter_normalized_plane`` moves each in its own unit.

    Args:
        origin: One snapshot, tensors by name.
        seed: Of the draw's own generator; the global one is not touched.

    Raises:
        ValueError: Fewer than two parameters.

    Example:
        >>> plane = random_plane({"w": torch.zeros(1, 2), "b": torch.zeros(1)}, seed=3)
        >>> torch.allclose(plane.gram(), torch.eye(2, dtype=torch.float64))
        True
    """
    generator = torch.Generator().manual_seed(seed)
    p = sum(tensor.numel() for tensor in origin.values())
    basis = _orthonormal(*torch.randn(2, p, generator=generator, dtype=torch.float64))
    if basis is None:
        raise ValueError(f"{p} parameters span no plane; give a net with at least two")
    return plane_of_rows(origin, basis)


def filter_normalized_plane(net: nn.Module, origin: Parameters, *, seed: int = 0) -> Plane:
    r"""A random plane that moves every unit in proportion to its own incoming weights.

    A filter is one unit's incoming weights with its bias, the weight from a unit that is always 1.
    Each direction's filter :math:`d_i` is normal noise :math:`\epsilon_i` made as long as the
    net's (Li, Xu, Taylor, Studer & Goldstein 2018, section 4):

    .. math:: d_i = \frac{\epsilon_i}{\|\epsilon_i\|} \|w_i\|

    Behind ReLU, LeakyReLU and no activation a net is the same function when a unit's filter is
    multiplied by c and its outgoing weights are divided by c. To make the picture the same too,
    outgoing weights are measured in the unit's own scale: with :math:`s_j` the length of the
    filter of unit j of the layer before (1 for inputs, for the bias and behind activations that
    cannot be rescaled),

    .. math:: d_{ij} = \frac{\epsilon_{ij}}{\|\epsilon_i\|} \frac{s_i}{s_j}, \qquad
       s_i = \Bigl(\sum_j (w_{ij} s_j)^2\Bigr)^{1/2}

    which is Li's formula for the equal net whose rescalable hidden units all have filters of
    length 1, carried back. It differs from Li's in two points: theirs measures outgoing weights
    in no unit, so that the picture changes when single units are rescaled (not when whole layers
    are), and theirs leaves biases where they are. Coordinate 1 is a step as large as the net
    itself. The directions are not orthogonal.

    In nets that are no chain of ``nn.Linear`` layers and activations, or that share weights among
    layers, filters are the rows along the first axis of every tensor with two or more axes (so for
    convolutions), with the bias beside it where there is one, and all :math:`s_j = 1`; other
    parameters, such as those of a batch norm, stay where they are, as in Li et al.

    Args:
        net: The module whose units are meant; its own parameters are not read.
        origin: One snapshot, tensors by name.
        seed: Of the draw's own generator; the global one is not touched.

    Raises:
        ValueError: Names or shapes that are not the net's, or filters that are all zero or have
            only one weight: they span no plane.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> origin = {"weight": torch.tensor([[3.0]]), "bias": torch.tensor([4.0])}
        >>> plane = filter_normalized_plane(net, origin)
        >>> torch.allclose(plane.gram().diagonal().sqrt(), torch.tensor([5.0, 5.0]).double())
        True
    """
    single = {name: p.detach().unsqueeze(0) for name, p in origin.items()}
    check(net, single, next(iter(origin.values())))
    generator = torch.Generator().manual_seed(seed)
    scaled = _scaled_filters(net, origin)
    directions = []
    for _ in range(2):
        direction = {name: torch.zeros_like(p) for name, p in origin.items()}
        for weight, bias, size, unit in scaled:
            noise = torch.randn(len(size), len(unit), generator=generator, dtype=torch.float64)
            noise *= (size / torch.linalg.vector_norm(noise, dim=1))[:, None]
            # A unit with no filter is silent all over the plane: its outgoing weights stay.
            noise = torch.where(unit > 0, noise / unit, 0.0).to(origin[weight])
            columns = origin[weight][0].numel()
            direction[weight] = noise[:, :columns].reshape(origin[weight].shape)
            if bias is not None:
                direction[bias] = noise[:, columns]
        directions.append(direction)
    return Plane({name: p.detach() for name, p in origin.items()}, *directions)


class _Filters(NamedTuple):
    """One layer: its tensors, the lengths of its filters [out], the units of its columns [d]."""

    weight: str
    bias: str | None
    size: Tensor
    unit: Tensor


def _scaled_filters(net: nn.Module, origin: Parameters) -> list[_Filters]:
    layers = read_chain(net)
    if layers is not None and len({layer.weight for layer in layers}) == len(layers):
        known = [
            (layer.weight, layer.bias, all(type(f) in HOMOGENEOUS for f in layer.activations))
            for layer in layers
        ]
    else:
        known = [(name, _bias(name, origin), False) for name, p in origin.items() if p.ndim >= 2]
    found: list[_Filters] = []
    scale: Tensor | None = None
    for weight, bias, free in known:
        rows = origin[weight].detach().flatten(1).cpu().double()
        unit = torch.ones(rows.shape[1], dtype=torch.float64) if scale is None else scale
        if bias is not None:
            rows = torch.cat([rows, origin[bias].detach().cpu().double()[:, None]], dim=1)
            unit = torch.cat([unit, torch.ones(1, dtype=torch.float64)])
        size = torch.linalg.vector_norm(rows * unit, dim=1)
        found.append(_Filters(weight, bias, size, unit))
        scale = size if free else None
    return found


def _bias(weight: str, origin: Parameters) -> str | None:
    """The name of the bias beside a weight, where there is one with an entry per filter."""
    name = f"{weight.removesuffix('weight')}bias"
    fits = weight.endswith("weight") and name in origin
    return name if fits and origin[name].shape == origin[weight].shape[:1] else None


def principal_plane(trajectory: Parameters) -> Plane:
    r"""The plane through the last snapshot along which the path varies most.

    Its directions are the first two principal components: orthonormal eigenvectors of
    :math:`\sum_s (\theta_s - \bar\theta)(\theta_s - \bar\theta)^T`, the first with the larger
    eigenvalue, each turned so that the path ends further along it than it began. Computed in
    float64 from the singular values of the centred path or, where it has many numbers, from the
    Gram matrix of its smaller side: never more memory than the path takes in float64. Snapshots
    that are not finite are left out.

    Args:
        trajectory: Snapshots, [t, ...] by name.

    Raises:
        ValueError: Fewer than two parameters, or fewer than two different finite snapshots.

    Example:
        >>> path = {"w": torch.tensor([[0.0, 0.0], [2.0, 1.0], [4.0, 0.0]])}
        >>> principal_plane(path).direction_1
        {'w': tensor([1., 0.])}
    """
    path = flatten(trajectory).detach().double()
    path = path[path.isfinite().all(1)]
    if len(path) < 2 or not bool((path[1:] != path[:1]).any()):
        raise ValueError(
            f"{len(path)} finite snapshots, all alike, have no direction; give at least two that "
            "differ"
        )
    components = _components(path - path.mean(0))
    if components is None:
        raise ValueError("one parameter spans no plane; give a net with at least two")
    turned = torch.where(components @ (path[-1] - path[0]) < 0, -1.0, 1.0)
    ends = {name: p[0].to(trajectory[name]) for name, p in unflatten(path[-1:], trajectory).items()}
    return plane_of_rows(ends, components * turned[:, None])


def _components(centred: Tensor) -> Tensor | None:
    """The first two right singular vectors of [t, p], as rows; ``None`` where p is 1."""
    t, p = centred.shape
    if t * p <= EXACT_NUMBERS:
        vectors = torch.linalg.svd(centred, full_matrices=False).Vh
    elif p <= t:
        vectors = torch.linalg.eigh(centred.T @ centred).eigenvectors.T.flip(0)
    else:
        vectors = torch.linalg.eigh(centred @ centred.T).eigenvectors[:, -2:].T.flip(0) @ centred
    basis = _orthonormal(vectors[0], vectors[1]) if len(vectors) > 1 else None
    if basis is None:
        # A straight path: any other direction does, so the axis that is most across.
        axis = torch.zeros_like(vectors[0])
        axis[vectors[0].abs().argmin()] = 1
        basis = _orthonormal(vectors[0], axis)
    return basis


def plane_through(first: Parameters, second: Parameters, third: Parameters) -> Plane:
    """The plane through three snapshots, of one run or of several.

    Its directions are orthonormal (Garipov et al. 2018, section A.1), so that distances in the
    picture are distances in parameter space: the first snapshot is at (0, 0), the second on the
    positive first axis, the third on the side of the positive second; ``coordinates`` says where.

    Args:
        first: One snapshot, tensors by name.
        second: Another.
        third: Another, not on the line through the two.

    Raises:
        ValueError: Names or shapes that differ, or three snapshots on one line.

    Example:
        >>> points = [{"w": torch.tensor(p)} for p in ([1.0, 1.0], [4.0, 1.0], [2.0, 3.0])]
        >>> from toyml.measures import coordinates
        >>> coordinates(plane_through(*points), {"w": torch.stack([p["w"] for p in points])})
        tensor([[0., 0.],
                [3., 0.],
                [1., 2.]])
    """
    rows = [_row(snapshot, first) for snapshot in (first, second, third)]
    toward, beside = rows[1] - rows[0], rows[2] - rows[0]
    basis = _orthonormal(toward, beside)
    if basis is None:
        raise ValueError(
            "the three snapshots lie on one line and span no plane; give three that do not"
        )
    return plane_of_rows(first, basis)


def planes_along(plane: Plane, trajectory: Parameters) -> list[Plane]:
    """A plane moved to every snapshot of a path, its directions kept: for a landscape each.

    Args:
        plane: The plane whose directions are taken.
        trajectory: Snapshots, [t, ...] by name.

    Raises:
        ValueError: Names or shapes that are not the plane's.
    """
    t = stack_size(trajectory)
    return [
        Plane(
            {name: p[s].detach() for name, p in trajectory.items()},
            plane.direction_1,
            plane.direction_2,
        )
        for s in range(t)
    ]


def _orthonormal(first: Tensor, second: Tensor) -> Tensor | None:
    """Unit vectors [2, p] that span what the two do; ``None`` where they span no plane."""
    length = torch.linalg.vector_norm(first)
    if not bool(length > 0):
        return None
    u = first / length
    rest = second - (second @ u) * u
    # Relative, because the length of a direction is only a choice of unit.
    if not bool(torch.linalg.vector_norm(rest) > 1e-6 * torch.linalg.vector_norm(second)):
        return None
    rest = rest - (rest @ u) * u  # Once is not enough in floating point, twice is.
    return torch.stack([u, rest / torch.linalg.vector_norm(rest)])


def _row(parameters: Parameters, like: Parameters) -> Tensor:
    """One snapshot as a row [p] in float64, in the order of another."""
    shapes, expected = (
        {name: list(p.shape) for name, p in each.items()} for each in (parameters, like)
    )
    if shapes != expected:
        raise ValueError(
            f"a snapshot has shapes {shapes}, the first {expected}; give snapshots of one net"
        )
    return torch.cat([parameters[name].detach().double().flatten() for name in like])
