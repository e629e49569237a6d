"""Lanczos iteration for the largest eigenvalues of many symmetric matrices at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def lanczos_pairs(
    products: Callable[[Tensor], Tensor],
    like: Tensor,
    count: int,
    iterations: int,
    tolerance: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    r"""The largest eigenvalues and their eigenvectors, from products alone.

    With full reorthogonalisation (Golub & Van Loan 2013, section 10.3); stops once every residual
    :math:`\|A v - \lambda v\|` is at most ``tolerance`` times the largest :math:`|\lambda|`.

    Args:
        products: From vectors [t, p] to their images under t symmetric matrices, [t, p].
        like: Any tensor of that shape, dtype and device.
        count: How many eigenvalues, at most p and iterations.
        iterations: Products at most, p of them or fewer.
        tolerance: Largest relative residual.
        seed: Of the start vectors' own generator; the global one is not touched.

    Returns:
        Values [t, count], ascending, and unit vectors [t, count, p]; NaN where the products are
        not finite.

    Raises:
        ArithmeticError: No convergence within the iterations.
    """
    generator = torch.Generator().manual_seed(seed)
    t, p = like.shape
    basis = like.new_empty(t, min(iterations, 16), p)
    diagonal, beside = like.new_zeros(t, iterations), like.new_zeros(t, iterations)
    # One start vector for all snapshots: the answer for one does not depend on the others.
    vector = torch.randn(p, generator=generator, dtype=like.dtype).to(like.device).expand(t, p)
    vector = vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    for m in range(1, iterations + 1):
        if m > basis.shape[1]:  # most come to an end long before the last iteration
            room = min(basis.shape[1], iterations - basis.shape[1])
            basis = torch.cat([basis, basis.new_empty(t, room, p)], dim=1)
        basis[:, m - 1] = vector
        image = products(vector)
        diagonal[:, m - 1] = (image * vector).sum(1)
        vector, beside[:, m - 1] = _next_vector(basis[:, :m], image, generator, m == p)
        if m < count or (m % 4 and m != iterations):
            continue
        values, inside = _section(diagonal[:, :m], beside[:, : m - 1])
        residuals = beside[:, m - 1, None] * inside[:, -1].abs()
        lost = ~values.isfinite().all(1)
        scale = values.abs().amax(1, keepdim=True)
        error = torch.where(lost[:, None], 0.0, (residuals / scale)[:, -count:]).nan_to_num(0.0)
        if m == p or bool((error <= tolerance).all()):
            vectors = torch.bmm(inside[:, :, -count:].transpose(1, 2), basis[:, :m])
            return values[:, -count:], vectors
    raise ArithmeticError(
        f"Lanczos left a relative residual of {float(error.max()):.1e} after {iterations} "
        f"iterations, above {tolerance:.1e}; raise iterations (up to {p}) or tolerance"
    )


def _next_vector(
    basis: Tensor, image: Tensor, generator: torch.Generator, last: bool
) -> tuple[Tensor, Tensor]:
    """The next basis vector and its coefficient, zero where the basis is an invariant subspace."""
    rest = _orthogonal(basis, image)
    length = torch.linalg.vector_norm(rest, dim=1)
    size = torch.linalg.vector_norm(image, dim=1)
    closed = length <= 100 * torch.finfo(image.dtype).eps * size
    length = torch.where(closed, 0.0, length)
    if last or not bool(closed.any()):
        return rest / length[:, None], length
    # A fresh direction keeps the tridiagonal matrix a true section of H, in two blocks.
    fresh = torch.randn(image.shape[1], generator=generator, dtype=image.dtype).to(image.device)
    fresh = _orthogonal(basis, fresh.expand_as(image))
    fresh = fresh / torch.linalg.vector_norm(fresh, dim=1, keepdim=True)
    return torch.where(closed[:, None], fresh, rest / length[:, None]), length


def _orthogonal(basis: Tensor, vectors: Tensor) -> Tensor:
    for _ in range(2):  # Once is not enough in floating point, twice is (Kahan, Parlett).
        inside = torch.bmm(basis, vectors[:, :, None])
        vectors = vectors - torch.bmm(basis.transpose(1, 2), inside)[:, :, 0]
    return vectors


def _section(diagonal: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues [t, m] of the tridiagonal sections and their vectors, columns of [t, m, m]."""
    section = torch.diag_embed(diagonal)
    section = section + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    return symmetric_pairs(section)


def symmetric_pairs(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues [t, p], ascending, and vectors, columns of [t, p, p]; NaN where not finite."""
    lost = ~matrices.isfinite().flatten(1).all(1)
    values, vectors = torch.linalg.eigh(torch.where(lost[:, None, None], 0.0, matrices))
    return (
        torch.where(lost[:, None], torch.nan, values),
        torch.where(lost[:, None, None], torch.nan, vectors),
    )
