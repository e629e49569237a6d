"""Planes, landscapes, projections and forces on an accelerator are those on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.measures.nets import data, mlp, random_stack
from toyml import measures
from toyml.measures import Parameters, Plane

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

BCE = nn.BCEWithLogitsLoss()


def everything(net: nn.Module, path: Parameters, x: Tensor, y: Tensor) -> list[Tensor]:
    last = {name: p[-1] for name, p in path.items()}
    corners = [{name: p[i] for name, p in path.items()} for i in range(3)]
    planes: list[Plane] = [
        measures.random_plane(last),
        measures.filter_normalized_plane(net, last),
        measures.principal_plane(path),
        measures.curvature_plane(net, BCE, last, x, y),
        measures.plane_through(*corners),
    ]
    axis = torch.linspace(-1, 1, 5, dtype=x.dtype, device=x.device)
    found = [plane.rows() for plane in planes]
    grids = measures.landscapes(net, {"l": BCE}, planes, axis, axis, x, y)["l"]
    projection = measures.project(net, BCE, planes[2], path, x, y)
    assert measures.verdict(range(len(projection.true)), projection)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    parts = measures.forces(net, BCE, optimizer, path, x, y)
    line = measures.losses_along(net, {"l": BCE}, corners[0], corners[1], axis, x, y)["l"]
    tensors = [*found, grids, *projection[:4], *parts.values(), line]
    assert all(tensor.device.type == x.device.type for tensor in tensors)
    return [tensor.cpu() for tensor in tensors]


def test_an_accelerator_gives_the_same() -> None:
    net, (x, y) = mlp(2, 3, 1), data(9)
    path = random_stack(net, 6)
    there = {name: p.cuda() for name, p in path.items()}
    expected = everything(net, path, x, y)
    got = everything(copy.deepcopy(net).cuda(), there, x.cuda(), y.cuda())
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
