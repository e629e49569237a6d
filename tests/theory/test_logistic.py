from __future__ import annotations

from math import inf, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from toyml import theory

X = torch.tensor([[3.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
Y = torch.tensor([1, 0])


def objective(theta: Tensor, x: Tensor, y: Tensor, decay: float, decay_bias: bool) -> Tensor:
    """PyTorch's own loss with the penalty written out."""
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        x @ theta[:-1] + theta[-1], y.double()
    )
    decayed = theta if decay_bias else theta[:-1]
    return loss + decay / 2 * decayed.square().sum()


@pytest.mark.parametrize(
    ("decay_bias", "expected"),
    [
        (True, [0.594177882652, -0.012645554449, -0.619468991549]),
        (False, [1.055064531352, 0.527532265676, -2.901427461219]),
    ],
)
def test_two_points_have_the_known_minimum(decay_bias: bool, expected: list[float]) -> None:
    w, b = theory.regularized_logistic(X, Y, 0.2, decay_bias)
    assert [*w.tolist(), float(b)] == pytest.approx(expected, abs=6e-13)


def test_decayed_bias_barely_separates() -> None:
    w, b = theory.regularized_logistic(X, Y, 0.2)
    assert float(theory.angle(w, torch.tensor([2.0, 1.0]))) == pytest.approx(-27.784261, abs=5e-7)
    margins = theory.distances(w, b, X, Y) * w.norm()
    distances = theory.distances(w, b, X, Y)
    known = pytest.approx([1.137774, 0.037937], abs=5e-7)
    assert margins.tolist() == known or distances.tolist() == known


@pytest.mark.parametrize("decay", [1e-3, 0.2, 10.0])
def test_bias_left_alone_gives_the_bisector_and_so_do_centred_inputs(decay: float) -> None:
    normal = torch.tensor([2.0, 1.0])
    bisector_w, bisector_b = theory.perpendicular_bisector(X, Y)
    w, b = theory.regularized_logistic(X, Y, decay, decay_bias=False)
    assert float(theory.angle(w, normal)) == pytest.approx(0, abs=1e-9)
    assert float(b / w.norm()) == pytest.approx(float(bisector_b / bisector_w.norm()), rel=1e-9)
    w, b = theory.regularized_logistic(X - X.mean(0), Y, decay)
    assert float(theory.angle(w, normal)) == pytest.approx(0, abs=1e-9)
    assert float(b) == pytest.approx(0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 40),
    st.integers(1, 4),
    st.floats(-6, 2),
    st.booleans(),
)
def test_gradient_by_autograd_is_zero(
    seed: int, n: int, d: int, exponent: float, decay_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = (torch.randn(n, generator=generator) > 0).long()
    y[:2] = torch.tensor([0, 1])
    decay = 10.0**exponent
    w, b = theory.regularized_logistic(x, y[:, None], decay, decay_bias)
    theta = torch.cat([w, b[None]]).requires_grad_()
    (gradient,) = torch.autograd.grad(objective(theta, x, y, decay, decay_bias), theta)
    assert float(gradient.norm()) < 1e-12


@pytest.mark.parametrize("decay_bias", [True, False])
def test_hessian_and_sharpness_are_those_of_autograd(decay_bias: bool) -> None:
    w, b = theory.regularized_logistic(X, Y, 0.2, decay_bias)
    theta = torch.cat([w, b[None]])

    def at(theta: Tensor) -> Tensor:
        return objective(theta, X, Y, 0.2, decay_bias)

    expected = torch.func.jacrev(torch.func.jacrev(at))(theta)
    curvature = theory.logistic_hessian(X, Y, w, b, 0.2, decay_bias)
    torch.testing.assert_close(curvature, expected, rtol=1e-12, atol=1e-14)
    largest = float(torch.linalg.eigvalsh(expected)[-1])
    assert theory.logistic_sharpness(X, Y, 0.2, decay_bias) == pytest.approx(largest, rel=1e-12)


def test_sharpness_explains_the_period_two_swing() -> None:
    sharpness = theory.logistic_sharpness(X, Y, 0.2)
    assert sharpness == pytest.approx(1.818989, abs=1.5e-6)
    # One step at lr 1 multiplies the sharpest direction by 1 - sharpness: negative, damped.
    assert -1 < 1 - sharpness < 0


def test_threshold_of_the_two_points_is_a_quarter_over_ln_three() -> None:
    expected = 1 / (4 * log(3))
    assert theory.two_point_threshold(X, Y) == pytest.approx(expected, rel=1e-14)
    assert theory.misclassification_threshold(X, Y) == pytest.approx(expected, rel=1e-12)
    for decay, separated in ((0.999 * expected, True), (1.001 * expected, False)):
        w, b = theory.regularized_logistic(X, Y, decay)
        assert bool((theory.distances(w, b, X, Y) > 0).all()) is separated


@pytest.mark.parametrize("seed", range(4))
def test_root_finding_agrees_with_the_closed_form(seed: int) -> None:
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x + 2
    closed = theory.two_point_threshold(x, Y)
    found = theory.misclassification_threshold(x, Y)
    assert found == closed or found == pytest.approx(closed, rel=1e-11)


def test_threshold_of_many_points_puts_one_on_the_line() -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(12, 2, generator=generator, dtype=torch.float64) + 3
    y = (x.sum(1) > x.sum(1).median()).long()
    threshold = theory.misclassification_threshold(x, y)
    w, b = theory.regularized_logistic(x, y, threshold)
    assert float(theory.distances(w, b, x, y).min()) == pytest.approx(0, abs=1e-11)


def test_points_that_stay_on_their_sides_have_no_threshold() -> None:
    x = torch.tensor([[2.0, 1.0], [-2.0, -1.0]])
    assert theory.two_point_threshold(x, Y) == inf
    assert theory.misclassification_threshold(x, Y) == inf
    assert theory.misclassification_threshold(X, Y, decay_bias=False) == inf


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"weight_decay is 0\.0; a minimum is sure"):
        theory.regularized_logistic(X, Y, 0.0)
    with pytest.raises(ValueError, match=r"weight_decay is -1\.0"):
        theory.logistic_hessian(X, Y, torch.zeros(2), torch.zeros(1), -1.0)
    with pytest.raises(ValueError, match="w and b have 4 values"):
        theory.logistic_hessian(X, Y, torch.zeros(3), torch.zeros(1))
    with pytest.raises(ValueError, match="x has 4 rows"):
        theory.two_point_threshold(torch.cat([X, X]), torch.cat([Y, Y]))
    xor = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="misclassified even at weight decay"):
        theory.misclassification_threshold(xor, torch.tensor([0, 0, 1, 1]))
