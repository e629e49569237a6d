"""Objects built from a config, outside the command line."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import register_type
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from toyml.errors import UserError
from toyml.messages import readable as parsers_words
from toyml.trust import UntrustedError, find_stubs_here, only_classes, refused, restricted

KINDS: dict[str, Any] = {
    "model": pl.LightningModule,
    "data": pl.LightningDataModule,
    "callbacks": list[Callback],
}


def read_tensor(values: Any) -> Tensor:
    """A tensor from a number or (nested) lists of numbers, in double precision.

    Raises:
        ValueError: It is something else, its rows differ in length, or a number is not finite.
    """
    if isinstance(values, Tensor):
        return values
    try:
        values = json.loads(values) if isinstance(values, str) else values
        found = torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError("expected a number, or lists of numbers of the same length") from error
    if not bool(found.isfinite().all()):
        raise ValueError("expected finite numbers")
    return found


def written_tensor(values: Tensor) -> Any:
    """A tensor as lists, each number as short as its precision allows.

    Example:
        >>> written_tensor(torch.tensor([0.1, 9.0]))
        [0.1, 9.0]
    """
    if values.dim():
        return [written_tensor(row) for row in values]
    return float(str(values.detach().cpu().numpy()))


register_type(Tensor, serializer=written_tensor, deserializer=read_tensor)


def in_precision(parsed: Any, precision: Any) -> Any:
    """A parsed config whose tensors have the precision of the fit (``trainer.precision``).

    Other precisions than 64-true are reached from float32, as those of the net are.
    """
    if isinstance(parsed, Tensor):
        double = str(precision) in ("64-true", "64", "double")
        return parsed.to(torch.float64 if double else torch.float32)
    if isinstance(parsed, Namespace | dict):
        held = vars(parsed) if isinstance(parsed, Namespace) else parsed
        for key, value in held.items():
            held[key] = in_precision(value, precision)
    elif isinstance(parsed, list):
        parsed[:] = [in_precision(value, precision) for value in parsed]
    return parsed


def instantiate(
    config: Mapping[str, Any], parts: Sequence[str], source: str, trust: bool = False
) -> dict[str, Any]:
    """Build ``model``, ``data`` or ``callbacks`` of a config.

    Args:
        config: A complete config as in ``config.yaml``.
        parts: Which to build. Lightning's own callbacks are left out: they watch a fit, and none
            is made from here.
        source: Where the config comes from, for messages.
        trust: Build whatever class it names, instead of those in :mod:`toyml.trust` only.

    Raises:
        UserError: A class cannot be found, refuses its settings, or is not trusted.
    """
    parser, values = prepared(config, parts, source)
    try:
        # Building a net draws its first weights.
        with torch.random.fork_rng(devices=[]), nullcontext() if trust else restricted():
            parsed = parser.parse_object(values)
            if not trust:
                only_classes(parsed, source)
            in_precision(parsed, (config.get("trainer") or {}).get("precision"))
            built = parser.instantiate_classes(parsed)
    except UserError:
        raise
    except Exception as error:
        # A constructor may raise anything about values that no constructor has checked before.
        if (path := refused(error)) is not None:
            raise UntrustedError(path, source) from error
        raise UserError(f"{source}: {readable(error)}") from error
    return {part: built[part] for part in parts}


def see_classes(config: Mapping[str, Any], parts: Sequence[str], source: str) -> None:
    """See that a config names trusted classes only, without building any.

    Raises:
        UserError: It names another. Whatever else is wrong with it is left to who builds it.
    """
    for part in parts:
        try:
            parser, values = prepared(config, [part], source)
            with restricted():
                only_classes(parser.parse_object(values), source)
        except Exception as error:
            if (path := refused(error)) is not None:
                raise UntrustedError(path, source) from error
            if isinstance(error, UntrustedError):
                raise


def prepared(
    config: Mapping[str, Any], parts: Sequence[str], source: str
) -> tuple[ArgumentParser, dict[str, Any]]:
    """A parser for the parts of a config, and their values, to be filled in by it."""
    values = {part: copy.deepcopy(config.get(part)) for part in parts}
    if "callbacks" in values:
        trainer = config.get("trainer") or {}
        if not isinstance(trainer, Mapping):
            raise UserError(f"{source}: trainer is {trainer!r}; it has to hold settings")
        listed = copy.deepcopy(trainer.get("callbacks")) or []
        values["callbacks"] = (
            [entry for entry in listed if not _of_lightning(entry)]
            if isinstance(listed, list)
            else listed
        )
    find_stubs_here()
    parser = ArgumentParser(exit_on_error=False)
    for part in parts:
        if values[part] is None:
            raise UserError(f"{source} has no {part!r}")
        parser.add_argument(f"--{part}", type=KINDS[part])
    return parser, values


def _of_lightning(callback: Any) -> bool:
    path = callback.get("class_path") if isinstance(callback, Mapping) else callback
    return str(path).startswith(("lightning.", "pytorch_lightning."))


def readable(error: Exception) -> str:
    """An error in one line, with its kind where it has no words or is none of a setting."""
    words = str(error)
    if "Parser key" in words:
        return parsers_words(words)
    words = " ".join(words.split())
    kind = type(error).__name__
    known = isinstance(error, ValueError | TypeError | ImportError | AttributeError)
    if words and (known or kind == "ArgumentError"):
        return words
    return f"{kind}: {words}" if words else kind
