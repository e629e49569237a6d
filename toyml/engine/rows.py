"""All rows of a data module, whoever wrote it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler

from toyml.errors import UserError
from toyml.measures.behaviour import generators_kept


class NoRowsError(UserError):
    """A loader has an end, and nothing before it."""


MOST_NUMBERS = 2**28
"""Inputs and targets that are held together: 1 GB in float32."""


def all_rows(data: Any, held_out: bool = False) -> tuple[Tensor, Tensor]:
    """All training rows, or all held-out ones.

    A data module with ``arrays()`` gives them whole. Of any other the data set behind its loader is
    read once from first to last row, whatever the loader's order; random generators stay as they
    were.

    Args:
        data: A data module whose ``setup`` is done, or a loader.
        held_out: The rows of ``val_dataloader`` instead of those of ``train_dataloader``.

    Returns:
        x [n, ...] and y [n, ...] as the data module has them.

    Raises:
        NoRowsError: There are none.
        UserError: The loader has no end or no pairs (x, y) of tensors, or more than fit.
    """
    arrays = getattr(data, "arrays", None)
    if callable(arrays):
        found: tuple[Tensor, Tensor] = arrays(True) if held_out else arrays()
        return found
    name = type(data).__name__
    with generators_kept():
        loader = data
        if hasattr(data, "train_dataloader"):
            loader = data.val_dataloader() if held_out else data.train_dataloader()
        if isinstance(loader, list | tuple) and len(loader) == 1:
            loader = loader[0]  # as Lightning takes it
        pieces = []
        numbers = 0
        for batch in in_order(loader, name):
            if not (
                isinstance(batch, list | tuple)
                and len(batch) == 2
                and all(isinstance(part, Tensor) and part.ndim for part in batch)
            ):
                raise UserError(
                    f"{name} hands over {type(batch).__name__}; a loss needs pairs (x, y) of "
                    "tensors"
                )
            pieces.append(batch)
            numbers += sum(part.numel() for part in batch)
            if numbers > MOST_NUMBERS:
                raise UserError(f"the rows of {name} are too many to look at all of them at once")
    if not pieces:
        raise NoRowsError(f"{name} hands over no rows; give it at least one")
    try:
        return torch.cat([x for x, _ in pieces]), torch.cat([y for _, y in pieces])
    except RuntimeError as error:
        raise UserError(f"the rows of {name} have shapes that differ ({error})") from error


def in_order(loader: Any, name: str) -> Any:
    """The batches of a loader, from the first row of its data set to the last."""
    if not isinstance(loader, DataLoader):
        if not hasattr(loader, "__iter__") or not hasattr(loader, "__len__"):
            raise UserError(f"{name} has no loader with an end whose rows could be looked at")
        return loader
    if isinstance(loader.dataset, IterableDataset):
        raise UserError(f"{name} has a stream without an end; its rows cannot all be looked at")
    rows: Any = loader.dataset
    if isinstance(loader.sampler, SubsetRandomSampler):
        rows = torch.utils.data.Subset(rows, sorted(loader.sampler.indices))
    return DataLoader(rows, batch_size=loader.batch_size or 256, collate_fn=loader.collate_fn)
