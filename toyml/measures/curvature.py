"""Second derivatives of the loss: Hessians, their spectra, the largest eigenvalues."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from toyml.measures.evaluate import chunk_gradients
from toyml.measures.flat import flatten
from toyml.measures.forward import Forward, Parameters, check, chunks, fitting
from toyml.measures.lanczos import lanczos_pairs, symmetric_pairs
from toyml.measures.objective import Objective, objective
from toyml.measures.plane import Plane, plane_of_rows

CURVATURE_BYTES = 2**21
"""Size of the widest activation, times the snapshots and the rows differentiated at once.

More than for losses, because differentiating twice takes some hundred operations.
"""

EXACT_PARAMETERS = 200
"""Up to here ``sharpness`` takes the whole spectrum; beyond, Lanczos is the cheaper."""

BASIS_NUMBERS = 64_000_000
"""Most numbers in the vectors of one Lanczos iteration, over the snapshots taken together."""


class Eigenpairs(NamedTuple):
    """Eigenvalues and unit eigenvectors of symmetric matrices, the largest first.

    Attributes:
        values: [t, count], descending; NaN where a matrix is not finite.
        vectors: [t, count, p], in the order of ``flatten``; of either sign.
    """

    values: Tensor
    vectors: Tensor


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
    return lanczos(net, loss, parameters, x, y, tolerance=_tolerance(x))[:, -1]


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
    return _lanczos(net, loss, parameters, x, y, count, iterations, tolerance, seed)[0]


def leading_eigenpairs(
    net: nn.Module,
    loss: nn.Module,
    parameters: Parameters,
    x: Tensor,
    y: Tensor,
    *,
    count: int = 2,
) -> Eigenpairs:
    """The largest eigenvalues of the Hessian at every snapshot and their eigenvectors.

    Exact up to 200 parameters; beyond, by Lanczos iteration as in ``sharpness``.

    Args:
        net: Any module that maps x [n, d] to [n, k], twice differentiable.
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.
        count: How many.

    Raises:
        ValueError: A count that is not between 1 and p, or what ``losses`` refuses.
        ArithmeticError: Lanczos iteration did not converge.

    Example:
        >>> stack = {"weight": torch.tensor([[[1.0, 1.0]]])}
        >>> x, y = torch.tensor([[0.0, 3.0]]), torch.tensor([[4.0]])
        >>> net = nn.Linear(2, 1, bias=False)
        >>> pairs = leading_eigenpairs(net, nn.MSELoss(), stack, x, y, count=1)
        >>> pairs.values, pairs.vectors.abs()
        (tensor([[18.]]), tensor([[[0., 1.]]]))
    """
    t = check(net, parameters, x, y)
    p = flatten(parameters).shape[1]
    if p > EXACT_PARAMETERS:
        settings = (200, _tolerance(x), 0)
        values, vectors = _lanczos(net, loss, parameters, x, y, count, *settings)
        return Eigenpairs(values.flip(1), vectors.flip(1))
    if not 1 <= count <= p:
        raise ValueError(f"count is {count}; there are {p} eigenvalues")
    measure = objective(loss, y)
    pieces = []
    with Forward(net, x) as forward:
        held = _held(forward, parameters)
        for part in chunks(parameters, t, max(1, held // p)):
            values, columns = symmetric_pairs(_hessians(forward, measure, part, held))
            vectors = columns[:, :, -count:].transpose(1, 2)
            pieces.append((values[:, -count:].flip(1), vectors.flip(1)))
    values, vectors = (torch.cat(piece) for piece in zip(*pieces, strict=True))
    return Eigenpairs(values, vectors)


def curvature_plane(
    net: nn.Module, loss: nn.Module, parameters: Parameters, x: Tensor, y: Tensor
) -> Plane:
    """The plane through a snapshot along the two eigenvectors of its Hessian's largest eigenvalues.

    The directions in which the loss bends up most, orthonormal, the sharpest first; each turned so
    that its largest entry is positive.

    Args:
        net: Any module that maps x [n, d] to [n, k], twice differentiable.
        loss: Any loss module called as ``loss(output, y)``; its own reduction, the mean by default.
        parameters: One snapshot, tensors by name, without a leading axis.
        x: Inputs [n, d], in the parameters' dtype.
        y: Targets.

    Raises:
        ValueError: Fewer than two parameters, a Hessian that is not finite, or what ``losses``
            refuses.
        ArithmeticError: Lanczos iteration did not converge.
    """
    stack = {name: p.detach().unsqueeze(0) for name, p in parameters.items()}
    vectors = leading_eigenpairs(net, loss, stack, x, y, count=2).vectors[0]
    if not bool(vectors.isfinite().all()):
        raise ValueError("the Hessian is not finite at this snapshot; take one before the run blew")
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return plane_of_rows(parameters, vectors * torch.where(largest < 0, -1.0, 1.0))


def _lanczos(
    net: nn.Module,
    loss: nn.Module,
    parameters: Parameters,
    x: Tensor,
    y: Tensor,
    count: int,
    iterations: int,
    tolerance: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    t, p = flatten(parameters).shape
    if not 1 <= count <= min(p, iterations):
        raise ValueError(
            f"count is {count}; there are {p} eigenvalues and {iterations} iterations to find them"
        )

    def pairs(part: Parameters) -> tuple[Tensor, Tensor]:
        def products(vectors: Tensor) -> Tensor:
            return hessian_vector_products(net, loss, part, vectors, x, y)

        return lanczos_pairs(products, flatten(part), count, min(iterations, p), tolerance, seed)

    # The vectors of an iteration are all kept: of large nets few snapshots at a time.
    size = max(1, BASIS_NUMBERS // (min(iterations, p) * p))
    values, vectors = zip(*(pairs(part) for part in chunks(parameters, t, size)), strict=True)
    return torch.cat(values), torch.cat(vectors)


def _tolerance(x: Tensor) -> float:
    return 1e-6 if x.dtype == torch.float64 else 1e-4


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
