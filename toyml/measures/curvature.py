"""Second derivatives of the loss: Hessians, their spectra, the largest eigenvalues."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from toyml.measures.evaluate import chunk_gradients
from toyml.measures.flat import flatten
from toyml.measures.forward import Forward, Parameters, check, chunks, fitting
from toyml.measures.objective import Objective, objective

CURVATURE_BYTES = 2**21
"""Size of the widest activation, times the snapshots and the rows differentiated at once.

More than for losses, because differentiating twice takes some hundred operations.
"""

EXACT_PARAMETERS = 200
"""Up to here ``sharpness`` takes the whole spectrum; beyond, Lanczos is the cheaper."""


def hessian(
    net: nn.Module, loss: nn.Module, parameters: Parameters, x: Tensor, y: Tensor
) -> Tensor:
    r"""The Hessian of the loss at one snapshot, exactly.

    .. math:: H_{ij} = \partial^2 L / \partial\theta_i \partial\theta_j

    Args:
        net: Any module that maps x [n, d] to [n, k], twice differentiable.
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: One snapshot, tensors by name, without a leading axis.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.

    Returns:
        Symmetric [p, p]; rows and columns in the order of ``flatten`` and ``scalar_names``.

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> x, y = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
        >>> hessian(net, nn.MSELoss(), dict(net.named_parameters()), x, y)
        tensor([[10.,  4.],
                [ 4.,  2.]])
    """
    stack = {name: p.unsqueeze(0) for name, p in parameters.items()}
    check(net, stack, x, y)
    measure = objective(loss, y)
    with Forward(net, x) as forward:
        return _hessians(forward, measure, stack, _held(forward, stack))[0]


def hessian_spectrum(
    net: nn.Module,
    loss: nn.Module,
    parameters: Parameters,
    x: Tensor,
    y: Tensor,
    *,
    chunk: int | None = None,
) -> Tensor:
    """All eigenvalues of the Hessian at every snapshot.

    Args:
        net: Any module that maps x [n, d] to [n, k], twice differentiable.
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.
        chunk: Snapshots evaluated at once; by default as many as fit the cache.

    Returns:
        [t, p], ascending; NaN at snapshots where the Hessian is not finite.

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together, or a chunk below 1.

    Example:
        >>> stack = {"weight": torch.tensor([[[1.0]], [[2.0]]])}
        >>> x, y = torch.tensor([[3.0]]), torch.tensor([[4.0]])
        >>> hessian_spectrum(nn.Linear(1, 1, bias=False), nn.MSELoss(), stack, x, y)
        tensor([[18.],
                [18.]])
    """
    t = check(net, parameters, x, y)
    measure = objective(loss, y)
    p = flatten(parameters).shape[1]
    with Forward(net, x) as forward:
        held = _held(forward, parameters)
        pieces = [
            _eigenvalues(_hessians(forward, measure, part, held))
            for part in chunks(parameters, t, max(1, held // p) if chunk is None else chunk)
        ]
    return torch.cat(pieces)


def sharpness(
    net: nn.Module, loss: nn.Module, parameters: Parameters, x: Tensor, y: Tensor
) -> Tensor:
    """The largest eigenvalue of the Hessian at every snapshot.

    Gradient descent with a fixed learning rate lr is stable at a minimum while it is below 2/lr.
    Exact up to 200 parameters; beyond, by Lanczos iteration to a relative residual of 1e-6
    (float64) or 1e-4 (float32).

    Args:
        net: Any module that maps x [n, d] to [n, k], twice differentiable.
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.

    Returns:
        [t]; the largest, not the largest in size: it may be negative at a maximum.

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together.
        ArithmeticError: Lanczos iteration did not converge.
    """
    check(net, parameters, x, y)
    if flatten(parameters).shape[1] <= EXACT_PARAMETERS:
        return hessian_spectrum(net, loss, parameters, x, y)[:, -1]
    tolerance = 1e-6 if x.dtype == torch.float64 else 1e-4
    return lanczos(net, loss, parameters, x, y, tolerance=tolerance)[:, -1]


def hessian_vector_products(
    net: nn.Module, loss: nn.Module, parameters: Parameters, vectors: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """H v at every snapshot, without forming H.

    Args:
        net: Any module that maps x [n, d] to [n, k], twice differentiable.
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: Snapshots, [t, ...] by name.
        vectors: One vector per snapshot, [t, p], in the order of ``flatten``.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.

    Returns:
        [t, p].

    Raises:
        ValueError: Names, shapes or dtypes that do not belong together.
    """
    t = check(net, parameters, x, y)
    if vectors.shape != flatten(parameters).shape:
        raise ValueError(
            f"vectors have shape {list(vectors.shape)}; give {list(flatten(parameters).shape)}"
        )
    measure = objective(loss, y)
    with Forward(net, x) as forward:
        size = _held(forward, parameters)
        stack = {**parameters, "": vectors}
        products = [
            _curvature_products(forward, measure, {n: p for n, p in part.items() if n}, part[""])
            for part in chunks(stack, t, size)
        ]
    return torch.cat(products)


def lanczos(
    net: nn.Module,
    loss: nn.Module,
    parameters: Parameters,
    x: Tensor,
    y: Tensor,
    *,
    count: int = 1,
    iterations: int = 200,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Tensor:
    r"""The largest eigenvalues of the Hessian by Lanczos iteration.

    Hessian-vector products alone, one batch per iteration for all snapshots, with full
    reorthogonalisation (Golub & Van Loan 2013, section 10.3). Stops once every residual
    :math:`\|H v - \lambda v\|` is at most ``tolerance`` times the largest :math:`|\lambda|`.

    Args:
        net: Any module that maps x [n, d] to [n, k], twice differentiable.
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.
        count: How many eigenvalues.
        iterations: Products at most; p of them are always enough.
        tolerance: Largest relative residual.
        seed: Of the start vectors' own generator; the global one is not touched.

    Returns:
        [t, count], ascending; NaN at snapshots where the Hessian is not finite.

    Raises:
        ValueError: A count that is not between 1 and p, or what ``losses`` refuses.
        ArithmeticError: No convergence within the iterations.
    """
    check(net, parameters, x, y)
    start = flatten(parameters)
    p = start.shape[1]
    if not 1 <= count <= min(p, iterations):
        raise ValueError(
            f"count is {count}; there are {p} eigenvalues and {iterations} iterations to find them"
        )

    def products(vectors: Tensor) -> Tensor:
        return hessian_vector_products(net, loss, parameters, vectors, x, y)

    return _lanczos(products, start, count, min(iterations, p), tolerance, seed)


def _lanczos(
    products: Callable[[Tensor], Tensor],
    like: Tensor,
    count: int,
    iterations: int,
    tolerance: float,
    seed: int,
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    t, p = like.shape
    basis = like.new_zeros(t, iterations, p)
    diagonal, beside = like.new_zeros(t, iterations), like.new_zeros(t, iterations)
    # One start vector for all snapshots: the answer for one does not depend on the others.
    vector = torch.randn(p, generator=generator, dtype=like.dtype).to(like.device).expand(t, p)
    vector = vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    for m in range(1, iterations + 1):
        basis[:, m - 1] = vector
        image = products(vector)
        diagonal[:, m - 1] = (image * vector).sum(1)
        vector, beside[:, m - 1] = _next_vector(basis[:, :m], image, generator, m == p)
        if m < count or (m % 4 and m != iterations):
            continue
        band = (diagonal[:, :m], beside[:, : m - 1])
        values, residuals = _ritz(*band, beside[:, m - 1])
        lost = ~values.isfinite().all(1)
        scale = values.abs().amax(1, keepdim=True)
        error = torch.where(lost[:, None], 0.0, (residuals / scale)[:, -count:]).nan_to_num(0.0)
        if m == p or bool((error <= tolerance).all()):
            return values[:, -count:]
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


def _ritz(diagonal: Tensor, beside: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the tridiagonal section and the residuals of their vectors, [t, m] each."""
    section = torch.diag_embed(diagonal)
    section = section + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    lost = ~section.isfinite().flatten(1).all(1)
    values, vectors = torch.linalg.eigh(torch.where(lost[:, None, None], 0.0, section))
    return torch.where(lost[:, None], torch.nan, values), last[:, None] * vectors[:, -1].abs()


def _eigenvalues(matrices: Tensor) -> Tensor:
    lost = ~matrices.isfinite().flatten(1).all(1)
    values: Tensor = torch.linalg.eigvalsh(torch.where(lost[:, None, None], 0.0, matrices))
    return torch.where(lost[:, None], torch.nan, values)


def _held(forward: Forward, parameters: Parameters) -> int:
    """How many rows of Hessians, of all snapshots together, to differentiate at once."""
    size = forward.widest(parameters) * forward.x.element_size()
    return fitting(size, forward.x.device, CURVATURE_BYTES)


def _hessians(forward: Forward, measure: Objective, part: Parameters, held: int) -> Tensor:
    """Hessians [c, p, p] of one chunk: one forward pass, then backward for many rows at a time."""
    leaves, derivatives = chunk_gradients(forward, measure, part, differentiable=True)
    gradient = _flat(part, derivatives)
    c, p = gradient.shape
    if not gradient.requires_grad:  # A loss that is linear in the parameters.
        return gradient.new_zeros(c, p, p)
    directions = torch.eye(p, dtype=gradient.dtype, device=gradient.device)
    rows = []
    for first in range(0, p, max(1, held // c)):
        some = directions[first : first + max(1, held // c)]
        derived = torch.autograd.grad(
            gradient,
            leaves,
            some[:, None].expand(-1, c, p),
            is_grads_batched=True,
            retain_graph=True,
            materialize_grads=True,
        )
        rows.append(torch.cat([d.reshape(len(some), c, -1) for d in derived], dim=2).detach())
    matrix = torch.cat(rows).transpose(0, 1)
    return (matrix + matrix.transpose(1, 2)) / 2


def _curvature_products(
    forward: Forward, measure: Objective, part: Parameters, vectors: Tensor
) -> Tensor:
    leaves, derivatives = chunk_gradients(forward, measure, part, differentiable=True)
    gradient = _flat(part, derivatives)
    if not gradient.requires_grad:
        return torch.zeros_like(vectors)
    products = torch.autograd.grad(gradient, leaves, vectors, materialize_grads=True)
    return _flat(part, products).detach()


def _flat(part: Parameters, tensors: tuple[Tensor, ...]) -> Tensor:
    return flatten(dict(zip(part, tensors, strict=True)))
