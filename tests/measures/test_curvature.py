from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from tests.measures.nets import Branched, Wrapped, data, mlp, parabola, random_stack
from toyml.measures import curvature as curvature_module
from toyml.measures import (
    curvature_plane,
    flatten,
    hessian,
    hessian_spectrum,
    hessian_vector_products,
    lanczos,
    landscape,
    leading_eigenpairs,
    sharpness,
    unflatten,
)

BCE = nn.BCEWithLogitsLoss()


def oracle(
    net: nn.Module, loss: nn.Module, stack: dict[str, Tensor], x: Tensor, y: Tensor
) -> Tensor:
    def value(flat: Tensor) -> Tensor:
        result: Tensor = loss(functional_call(net, unflatten(flat, stack), x), y)
        return result

    return torch.stack([jacrev(jacrev(value))(flat) for flat in flatten(stack)])


def test_the_squared_error_of_a_line_has_its_known_eigenvalues() -> None:
    (x, y), net = parabola(), nn.Linear(1, 1).double()
    got = hessian_spectrum(net, nn.MSELoss(), random_stack(net, 3), x, y)
    torch.testing.assert_close(
        got, got.new_tensor([1.29135027, 2.04990801]).expand(3, 2), rtol=0, atol=5e-9
    )
    assert 2 / sharpness(net, nn.MSELoss(), random_stack(net, 1), x, y).item() == pytest.approx(
        0.97565354, abs=5e-9
    )


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("loss", [nn.MSELoss(), BCE, nn.HuberLoss(delta=0.5), nn.SmoothL1Loss()])
def test_hessians_are_those_of_nested_differentiation(loss: nn.Module, wrap: bool) -> None:
    net = Wrapped(mlp(2, 3, 1)) if wrap else mlp(2, 3, 1)
    stack, (x, y) = random_stack(net, 3), data(6)
    expected = oracle(net, loss, stack, x, y)
    for s in range(3):
        got = hessian(net, loss, {k: p[s] for k, p in stack.items()}, x, y)
        torch.testing.assert_close(got, expected[s], rtol=1e-10, atol=1e-12)
        assert torch.equal(got, got.T)
    values = torch.linalg.eigvalsh(expected)
    torch.testing.assert_close(hessian_spectrum(net, loss, stack, x, y), values)


@pytest.mark.parametrize("net", [Branched().double(), mlp(2, 4), Wrapped(mlp(2, 3, 4))])
def test_other_nets_and_losses(net: nn.Module) -> None:
    stack, (x, y) = random_stack(net, 3), data(6)
    loss: nn.Module = BCE
    if not isinstance(net, Branched):
        loss, y = nn.CrossEntropyLoss(), torch.arange(6) % 4
    expected = torch.linalg.eigvalsh(oracle(net, loss, stack, x, y))
    torch.testing.assert_close(hessian_spectrum(net, loss, stack, x, y), expected)
    torch.testing.assert_close(
        lanczos(net, loss, stack, x, y, count=2), expected[:, -2:], rtol=1e-6, atol=1e-9
    )


@settings(max_examples=15, deadline=None)
@given(t=st.integers(1, 5), chunk=st.integers(1, 6), held=st.integers(1, 50))
def test_neither_chunks_nor_rows_at_once_change_the_spectrum(
    t: int, chunk: int | None, held: int
) -> None:
    net, (x, y) = mlp(1, 2, 1), data(4, 1)
    stack = random_stack(net, t)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curvature_module, "_held", lambda forward, parameters: held)
        got = hessian_spectrum(net, BCE, stack, x, y, chunk=chunk)
    torch.testing.assert_close(got, hessian_spectrum(net, BCE, stack, x, y), atol=1e-12, rtol=1e-10)


def test_products_are_those_with_the_matrix() -> None:
    net, (x, y) = mlp(2, 3, 1), data(6)
    stack = random_stack(net, 4)
    vectors = torch.randn(4, 13, dtype=torch.float64)
    expected = (oracle(net, BCE, stack, x, y) @ vectors[:, :, None])[:, :, 0]
    torch.testing.assert_close(hessian_vector_products(net, BCE, stack, vectors, x, y), expected)
    with pytest.raises(ValueError, match=r"vectors have shape \[4, 12\]; give \[4, 13\]"):
        hessian_vector_products(net, BCE, stack, vectors[:, 1:], x, y)


@pytest.mark.parametrize("net", [mlp(2, 6, 6, 1), Wrapped(mlp(2, 6, 6, 1))])
def test_lanczos_finds_the_largest_eigenvalues(net: nn.Module) -> None:
    stack, (x, y) = random_stack(net, 3), data(20)
    rng = torch.get_rng_state()
    got = lanczos(net, BCE, stack, x, y, count=3, tolerance=1e-9)
    assert torch.equal(torch.get_rng_state(), rng)
    expected = hessian_spectrum(net, BCE, stack, x, y)[:, -3:]
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


def quadratic(matrix: Tensor) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """A net and a loss whose Hessian is the given matrix."""

    class Form(nn.Module):
        def forward(self, output: Tensor, y: Tensor) -> Tensor:
            return output.square().mul(y).sum() / 2

    values, vectors = torch.linalg.eigh(matrix)
    net = nn.Linear(len(matrix), 1, bias=False).double()
    return net, Form(), vectors.T.contiguous(), values[:, None]


@pytest.mark.parametrize(
    "values", [[-5.0, -4.0, -3.0, -2.0], [3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 0.0, 2.0], [0.0] * 4]
)
def test_lanczos_survives_invariant_subspaces(values: list[float]) -> None:
    rotation = torch.linalg.qr(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(3)).double()
    )[0]
    matrix = rotation @ torch.diag(torch.tensor(values).double()) @ rotation.T
    net, loss, x, y = quadratic((matrix + matrix.T) / 2)
    stack = random_stack(net, 2)
    for count in (1, 4):
        got = lanczos(net, loss, stack, x, y, count=count)
        expected = torch.tensor(sorted(values)[-count:]).double().expand(2, count)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_lanczos_says_when_it_has_not_converged() -> None:
    net, (x, y) = mlp(2, 6, 6, 1), data(20)
    stack = random_stack(net, 3)
    with pytest.raises(ArithmeticError, match=r"after 3 iterations.*raise iterations"):
        lanczos(net, BCE, stack, x, y, iterations=3, tolerance=1e-12)
    with pytest.raises(ValueError, match="count is 0"):
        lanczos(net, BCE, stack, x, y, count=0)


def test_snapshots_that_are_not_finite_are_nan_alone() -> None:
    net, (x, y) = mlp(2, 3, 1), data(6)
    stack = random_stack(net, 3)
    clean = hessian_spectrum(net, BCE, stack, x, y)
    stack["2.bias"][1] = torch.nan
    got = hessian_spectrum(net, BCE, stack, x, y)
    assert got[1].isnan().all()
    torch.testing.assert_close(got[[0, 2]], clean[[0, 2]])
    top = lanczos(net, BCE, stack, x, y)
    assert top[1].isnan().all()
    torch.testing.assert_close(top[[0, 2]], clean[[0, 2], -1:], rtol=1e-6, atol=1e-9)


def test_sharpness_is_the_same_by_either_route(monkeypatch: pytest.MonkeyPatch) -> None:
    net, (x, y) = mlp(2, 4, 1), data(6)
    stack = random_stack(net, 3)
    exact = sharpness(net, BCE, stack, x, y)
    monkeypatch.setattr(curvature_module, "EXACT_PARAMETERS", 3)
    torch.testing.assert_close(sharpness(net, BCE, stack, x, y), exact, rtol=1e-6, atol=1e-9)


def test_a_loss_that_is_linear_in_the_parameters_has_no_curvature() -> None:
    class Mean(nn.Module):
        def forward(self, output: Tensor, y: Tensor) -> Tensor:
            return output.mean()

    net, (x, y) = mlp(2, 1), data(6)
    stack = random_stack(net, 2)
    assert not hessian_spectrum(net, Mean(), stack, x, y).any()
    assert not lanczos(net, Mean(), stack, x, y).any()


def test_nothing_is_written_to_the_module() -> None:
    net, (x, y) = mlp(2, 3, 1), data(6)
    state = {k: p.clone() for k, p in net.state_dict().items()}
    lanczos(net, BCE, random_stack(net, 2), x, y)
    sharpness(net, BCE, random_stack(net, 2), x, y)
    assert net.training
    assert all(torch.equal(p, state[k]) for k, p in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("exact", [200, 3])
def test_leading_eigenvectors_are_those_of_the_matrix(
    exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curvature_module, "EXACT_PARAMETERS", exact)
    net, (x, y) = mlp(2, 3, 1), data(6)
    stack = random_stack(net, 3)
    matrices = oracle(net, BCE, stack, x, y)
    values, vectors = leading_eigenpairs(net, BCE, stack, x, y, count=2)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(matrices)[:, [-1, -2]])
    images = torch.einsum("tij,tcj->tci", matrices, vectors)
    torch.testing.assert_close(images, values[:, :, None] * vectors, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        vectors @ vectors.transpose(1, 2), torch.eye(2).double().expand(3, 2, 2)
    )
    stack["2.bias"][1] = torch.nan
    lost = leading_eigenpairs(net, BCE, stack, x, y)
    assert lost.values[1].isnan().all()
    assert lost.vectors[1].isnan().all()
    assert lost.vectors[[0, 2]].isfinite().all()
    with pytest.raises(ValueError, match="count is 14"):
        leading_eigenpairs(net, BCE, stack, x, y, count=14)


@pytest.mark.parametrize("exact", [200, 3])
def test_the_loss_bends_along_the_curvature_plane_as_the_eigenvalues_say(
    exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curvature_module, "EXACT_PARAMETERS", exact)
    net, (x, y) = mlp(2, 3, 1), data(6)
    stack = random_stack(net, 1)
    start = {name: p[0] for name, p in stack.items()}
    plane = curvature_plane(net, BCE, start, x, y)
    torch.testing.assert_close(plane.gram(), torch.eye(2).double())
    assert all(torch.equal(plane.origin[name], p) for name, p in start.items())
    h = 1e-4
    axis = torch.tensor([-h, 0.0, h]).double()
    loss = landscape(net, {"BCE": BCE}, plane, axis, axis, x, y)["BCE"]
    bend = torch.stack([loss[1].diff().diff(), loss[:, 1].diff().diff()]).flatten() / h**2
    twist = (loss[2, 2] - loss[2, 0] - loss[0, 2] + loss[0, 0]) / (4 * h**2)
    expected = hessian_spectrum(net, BCE, stack, x, y)[0, [-1, -2]]
    torch.testing.assert_close(bend, expected, rtol=1e-4, atol=1e-6)
    assert abs(twist) < 1e-5
    with pytest.raises(ValueError, match="not finite"):
        curvature_plane(net, BCE, {name: p * torch.nan for name, p in start.items()}, x, y)
