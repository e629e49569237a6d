"""The initial parameters of the trainings of one part."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import lightning.pytorch as pl
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from toyml.configured import instantiate
from toyml.errors import UserError
from toyml.replicas import seeded_parameters
from toyml.run import network
from toyml.sweep.keys import Config
from toyml.sweep.plan import INITIAL
from toyml.trust import find_stubs_here

Stack = dict[str, Tensor]
"""Parameters of r replicas, [r, ...] by name."""


def starts(config: Config, seeds: Sequence[int]) -> tuple[pl.LightningModule, Stack]:
    """A task, and the initial parameters that its net has for every seed.

    Args:
        config: A complete config.
        seeds: Seeds, each as ``seed_everything``; equal ones are drawn once.

    Returns:
        A task built from the config, and its net's parameters [r, ...] by name.

    Raises:
        UserError: A class cannot be found or refuses its settings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds[0])
        task: pl.LightningModule = instantiate(config, ["model"], "the config", trust=True)["model"]
    distinct = list(dict.fromkeys(seeds))
    if len(distinct) == 1:
        drawn = {k: p.detach().clone()[None] for k, p in network(task).named_parameters()}
    else:
        drawn = seeded_parameters(builder(config), distinct)
    place_of = {seed: i for i, seed in enumerate(distinct)}
    index = torch.tensor([place_of[seed] for seed in seeds])
    return task, {name: values[index] for name, values in drawn.items()}


def builder(config: Config) -> Callable[[], nn.Module]:
    """A function that builds the net anew, drawing from the global generator; parsed once."""
    find_stubs_here()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=pl.LightningModule)
    parsed = parser.parse_object({"model": copy.deepcopy(config["model"])})

    def build() -> nn.Module:
        return network(parser.instantiate_classes(parsed)["model"])

    return build


def place(stack: Stack, settings: Mapping[str, Sequence[float]]) -> None:
    """Write varied entries of the initial parameters into a stack, in place.

    Args:
        stack: Parameters [r, ...] by name.
        settings: Values [r] by key; keys other than ``initial.<name>[i,j]`` are passed over.

    Raises:
        UserError: A parameter or an entry that the net does not have.
    """
    for key, values in settings.items():
        if key.startswith("initial."):
            entry(stack, key).copy_(torch.tensor(values, dtype=torch.float64))


def entry(stack: Mapping[str, Tensor], key: str) -> Tensor:
    """A varied entry of the initial parameters, for all replicas: a view [r].

    Args:
        stack: Parameters [r, ...] by name.
        key: ``initial.<name>[i,j]``.

    Raises:
        UserError: A parameter or an entry that the net does not have.
    """
    found = INITIAL.fullmatch(key)
    name, index = (found[1], [int(i) for i in found[2].split(",")]) if found else (key, [])
    if name not in stack:
        raise UserError(f"{key}: the net has no {name}; its parameters are {', '.join(stack)}")
    view = stack[name]
    shape = tuple(view.shape[1:])
    if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
        raise UserError(f"{key}: {name} has shape {list(shape)}; there is no such entry")
    for i in index:
        view = view[:, i]
    return view
