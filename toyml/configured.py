"""Objects built from a config, outside the command line."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback

from toyml.errors import UserError

KINDS: dict[str, Any] = {
    "model": pl.LightningModule,
    "data": pl.LightningDataModule,
    "callbacks": list[Callback],
}


def instantiate(config: Mapping[str, Any], parts: Sequence[str], source: str) -> dict[str, Any]:
    """Build ``model``, ``data`` or ``callbacks`` of a config.

    Args:
        config: A complete config as in ``config.yaml``.
        parts: Which to build.
        source: Where the config comes from, for messages.

    Raises:
        UserError: A class cannot be found or refuses its settings.
    """
    values = {part: config.get(part) for part in parts}
    if "callbacks" in values:
        trainer = config.get("trainer") or {}
        if not isinstance(trainer, Mapping):
            raise UserError(f"{source}: trainer is {trainer!r}; it has to hold settings")
        values["callbacks"] = trainer.get("callbacks") or []
    parser = ArgumentParser(exit_on_error=False)
    for part in parts:
        if values[part] is None:
            raise UserError(f"{source} has no {part!r}")
        parser.add_argument(f"--{part}", type=KINDS[part])
    try:
        # The parser fills the values in place; the run's config has to stay as it is.
        with torch.random.fork_rng(devices=[]):  # building a net draws its first weights
            built = parser.instantiate_classes(parser.parse_object(copy.deepcopy(values)))
    except (ValueError, TypeError, ImportError, AttributeError) as error:
        raise UserError(f"{source}: {' '.join(str(error).split())}") from error
    except Exception as error:  # jsonargparse's own ArgumentError derives from Exception
        if type(error).__name__ != "ArgumentError":
            raise
        raise UserError(f"{source}: {' '.join(str(error).split())}") from error
    return {part: built[part] for part in parts}
