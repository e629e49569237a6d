"""Data as the theory takes it: float64 rows, labels as signs, each with a clear refusal."""

from __future__ import annotations

import torch
from torch import Tensor


def as_rows(x: Tensor) -> Tensor:
    """Inputs as float64 rows.

    Args:
        x: [n, d], or [n] for one input.

    Returns:
        [n, d], float64.

    Raises:
        ValueError: No row, another shape, or values that are not finite.
    """
    rows = x.detach().to(torch.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"x has shape {list(x.shape)}; give at least one row as [n, d] or [n]")
    if not bool(rows.isfinite().all()):
        raise ValueError(f"x holds {int((~rows.isfinite()).sum())} values that are not finite")
    return rows


def as_column(y: Tensor, n: int) -> Tensor:
    """Targets of one output as a float64 vector.

    Args:
        y: [n] or [n, 1].
        n: Number of rows they belong to.

    Returns:
        [n], float64.

    Raises:
        ValueError: Another shape, or values that are not finite.
    """
    if tuple(y.shape) not in ((n,), (n, 1)):
        raise ValueError(f"y has shape {list(y.shape)}; {n} rows need [{n}] or [{n}, 1]")
    column = y.detach().to(torch.float64).reshape(n)
    if not bool(column.isfinite().all()):
        raise ValueError(f"y holds {int((~column.isfinite()).sum())} values that are not finite")
    return column


def as_signs(y: Tensor, n: int) -> Tensor:
    """Labels 0 and 1 as signs -1 and +1.

    Args:
        y: [n] or [n, 1] in {0, 1}; boolean is welcome.
        n: Number of rows they belong to.

    Returns:
        [n], float64.

    Raises:
        ValueError: Another shape, another label, or only one of the two labels.
    """
    labels = as_column(y, n)
    values = sorted(set(labels.tolist()))
    if values != [0.0, 1.0]:
        raise ValueError(f"labels are {values[:4]}; 0 and 1 have to occur, and nothing else")
    return 2 * labels - 1


def with_ones(x: Tensor) -> Tensor:
    """Rows with a last column of ones, so that the bias is one more weight.

    Args:
        x: [n, d].

    Returns:
        [n, d + 1].
    """
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)


def split(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and bias of one vector.

    Args:
        theta: [d + 1], bias last.

    Returns:
        w [d] and b [].
    """
    return theta[:-1], theta[-1]
