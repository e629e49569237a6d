"""The compiled route of losses at many points against the tensor programs, and when it is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.compiled.test_kernel import needs_compiler
from tests.measures.nets import Wrapped, data, mlp, random_stack
from toyml.measures import Plane, landscape, losses, losses_along, points

LOSSES = {
    "BCE": nn.BCEWithLogitsLoss(),
    "MSE": nn.MSELoss(),
    "L1": nn.L1Loss(),
    "Huber": nn.HuberLoss(delta=0.4),
}


@pytest.fixture
def compiling(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every call is worth compiling; the list holds what each came to."""
    monkeypatch.setattr(points, "WORTH_COMPILING", 0)
    made: list[object] = []
    real = points._kernel

    def noted(*arguments: object) -> object:
        made.append(real(*arguments))
        return made[-1]

    monkeypatch.setattr(points, "_kernel", noted)
    return made


def grid(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    stack = {name: p.to(x.dtype) for name, p in random_stack(net, 3).items()}
    plane = Plane(*({name: p[i] for name, p in stack.items()} for i in range(3)))
    a, b = torch.linspace(-1, 2, 4).to(x.dtype), torch.linspace(3, 5, 6).to(x.dtype)
    return landscape(net, LOSSES, plane, a, b, x, y)


@needs_compiler
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_compiled_landscapes_agree_with_tensor_programs(
    dtype: torch.dtype, rtol: float, compiling: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = mlp(2, 3, 3, 1)
    x, y = (values.to(dtype) for values in data(37))
    got = grid(net, x, y)
    assert compiling[-1] is not None
    monkeypatch.setattr(points, "WORTH_COMPILING", 10**9)
    expected = grid(net, x, y)
    assert compiling[-1] is None
    for name in LOSSES:
        assert got[name].dtype == dtype
        torch.testing.assert_close(got[name], expected[name], rtol=rtol, atol=rtol)


@needs_compiler
def test_paths_and_lines_take_it_too_whatever_the_order_of_names(
    compiling: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, (x, y) = mlp(2, 3, 1), data(9)
    stack = dict(reversed(random_stack(net, 5).items()))
    first, last = ({name: p[i] for name, p in stack.items()} for i in (0, -1))
    ts = torch.linspace(0, 1, 4).double()
    bce = LOSSES["BCE"]
    got = losses(net, bce, stack, x, y), losses_along(net, LOSSES, first, last, ts, x, y)["L1"]
    assert compiling
    assert None not in compiling
    monkeypatch.setattr(points, "WORTH_COMPILING", 10**9)
    torch.testing.assert_close(got[0], losses(net, bce, stack, x, y), rtol=1e-13, atol=0)
    expected = losses_along(net, LOSSES, first, last, ts, x, y)["L1"]
    torch.testing.assert_close(got[1], expected, rtol=1e-13, atol=0)


@needs_compiler
def test_memory_does_not_grow_with_the_grid(
    compiling: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, (x, y) = mlp(2, 3, 1), data(9)
    expected = grid(net, x, y)
    monkeypatch.setattr(points, "fitting", lambda size, device: 5)
    got = grid(net, x, y)
    assert all(torch.equal(got[name], expected[name]) for name in LOSSES)


@pytest.mark.parametrize("case", ["no compiler", "general net", "class targets", "weighted"])
def test_what_has_no_compiled_form_runs_as_before(
    case: str, compiling: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    net: nn.Module = mlp(2, 3)
    x, y = data(8)
    loss: nn.Module = nn.MSELoss()
    y = y.expand(8, 3).contiguous()
    if case == "no compiler":
        monkeypatch.setenv("CC", "/nonexistent/cc")
    elif case == "general net":
        net = Wrapped(net)
    elif case == "class targets":
        loss, y = nn.CrossEntropyLoss(), torch.arange(8) % 3
    else:
        loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]).double())
    stack = random_stack(net, 5)
    got = losses(net, loss, stack, x, y)
    assert compiling == [None]
    monkeypatch.setattr(points, "WORTH_COMPILING", 10**9)
    assert torch.equal(got, losses(net, loss, stack, x, y))


def test_targets_that_would_be_broadcast_are_refused_before_anything_is_compiled(
    compiling: list[object],
) -> None:
    net, (x, y) = mlp(2, 3, 1), data(8)
    with pytest.raises(ValueError, match="would broadcast to a wrong loss"):
        losses(net, nn.MSELoss(), random_stack(net, 2), x, y[:, 0])
    assert compiling == [None]


def test_small_work_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(points, "compile_losses", refuse)
    net, (x, y) = mlp(2, 3, 1), data(8)
    losses(net, nn.MSELoss(), random_stack(net, 2), x, y)
    monkeypatch.setattr(points, "WORTH_COMPILING", 2 * 8 * 4)
    with pytest.raises(AssertionError, match="compiled"):
        losses(net, nn.MSELoss(), random_stack(net, 2), x, y)
