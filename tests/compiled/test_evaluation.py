from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tests.compiled.test_kernel import LOSSES, needs_compiler, problem
from tests.conftest import kernels_of_their_own
from toyml.compiled import NotCompilable, compile_losses

pytestmark = needs_compiler


@pytest.fixture(scope="module", autouse=True)
def private_cache():
    with pytest.MonkeyPatch.context() as patch, kernels_of_their_own(patch):
        yield


def looped(net: nn.Module, loss: nn.Module, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
    values = []
    sizes = [p.numel() for p in net.parameters()]
    for row in rows:
        pieces = zip(net.named_parameters(), row.split(sizes), strict=True)
        here = {name: piece.view_as(p) for (name, p), piece in pieces}
        values.append(loss(functional_call(net, here, x), y).detach())
    return torch.stack(values)


def rows_of(net: nn.Module, t: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    p = sum(each.numel() for each in net.parameters())
    return torch.randn(t, p, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(
    ("net", "n"),
    [
        ("tanh", 700),
        ("linear", 13),
        ("leaky", 1),
        pytest.param("wide", 700, marks=pytest.mark.slow),
        pytest.param("relu", 700, marks=pytest.mark.slow),
        pytest.param("sigmoid", 1, marks=pytest.mark.slow),
        pytest.param("softplus", 4, marks=pytest.mark.slow),
    ],
)
def test_several_losses_at_once_are_pytorchs(net: str, n: int) -> None:
    module, _, x, y = problem(net, "mse", torch.float64, n)
    some = [make() for name, make in LOSSES.items() if name != "bce"]
    rows = rows_of(module, 3, torch.float64)
    got = compile_losses(module, some, n, torch.float64)(rows, x, y)
    expected = torch.stack([looped(module, loss, rows, x, y) for loss in some])
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 3e-6)])
def test_cross_entropy_behind_a_sigmoid(dtype: torch.dtype, rtol: float) -> None:
    module, criterion, x, y = problem("tanh", "bce", dtype)
    rows = rows_of(module, 6, dtype)
    got = compile_losses(module, [criterion], len(x), dtype)(rows, x, y)
    expected = looped(module, criterion, rows, x, y)[None]
    torch.testing.assert_close(got, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("net", "dtype"),
    [
        ("sigmoid", torch.float32),
        ("tanh", torch.float64),
        pytest.param("sigmoid", torch.float64, marks=pytest.mark.slow),
        pytest.param("tanh", torch.float32, marks=pytest.mark.slow),
        pytest.param("relu", torch.float32, marks=pytest.mark.slow),
        pytest.param("relu", torch.float64, marks=pytest.mark.slow),
        pytest.param("softplus", torch.float32, marks=pytest.mark.slow),
        pytest.param("softplus", torch.float64, marks=pytest.mark.slow),
    ],
)
def test_far_away_and_not_finite_parameters(net: str, dtype: torch.dtype) -> None:
    module, _, x, y = problem(net, "bce_with_logits", dtype)
    some = [nn.MSELoss(), nn.BCEWithLogitsLoss()]
    rows = rows_of(module, 7, dtype)
    for i, factor in enumerate([1e-30, 1e-3, 30.0, 1e3, 1e15]):
        rows[i] *= factor
    rows[5, 3] = torch.nan
    rows[6, -1] = torch.inf
    got = compile_losses(module, some, len(x), dtype)(rows, x, y)
    expected = torch.stack([looped(module, loss, rows, x, y) for loss in some])
    rtol = 1e-12 if dtype == torch.float64 else 3e-6
    torch.testing.assert_close(got, expected, rtol=rtol, atol=rtol, equal_nan=True)
    assert got[:, 5].isnan().all()


def test_sums_in_float32_lose_nothing_over_many_rows() -> None:
    module, criterion, x, y = problem("sigmoid", "mse", torch.float32, 50_000)
    rows = rows_of(module, 2, torch.float32)
    got = compile_losses(module, [criterion], len(x), torch.float32)(rows, x, y)[0]
    exact = looped(module.double(), criterion, rows.double(), x.double(), y.double())
    torch.testing.assert_close(got.double(), exact, rtol=5e-7, atol=0)


def test_the_dtype_is_that_of_the_data_not_of_the_net() -> None:
    module, criterion, x, y = problem("tanh", "mse", torch.float32)
    rows = rows_of(module, 2, torch.float64)
    got = compile_losses(module, [criterion], len(x), torch.float64)(rows, x.double(), y.double())
    expected = looped(module, criterion, rows, x.double(), y.double())
    torch.testing.assert_close(got[0], expected, rtol=1e-13, atol=0)


def test_refusals() -> None:
    module, criterion, x, y = problem("tanh", "mse", torch.float64)
    rows = rows_of(module, 2, torch.float64)
    kernel = compile_losses(module, [criterion], len(x), torch.float64)
    for bad in ((rows[:, 1:], x, y), (rows, x[1:], y), (rows, x, y[:, :1]), (rows.float(), x, y)):
        with pytest.raises(ValueError, match="the kernel takes"):
            kernel(*bad)
    with pytest.raises(ValueError, match="give at least 1 of each"):
        compile_losses(module, [], len(x), torch.float64)
    with pytest.raises(NotCompilable, match="CrossEntropyLoss has no compiled form"):
        compile_losses(module, [nn.CrossEntropyLoss()], len(x), torch.float64)
    with pytest.raises(NotCompilable, match="more than 20000 parameters"):
        compile_losses(nn.Linear(100, 201), [criterion], 4, torch.float64)
    with pytest.raises(NotCompilable, match="more than 1024 units"):
        compile_losses(nn.Linear(1, 1025), [criterion], 4, torch.float64)
    with pytest.raises(NotCompilable, match="float16 has no compiled form"):
        compile_losses(module, [criterion], 4, torch.float16)
