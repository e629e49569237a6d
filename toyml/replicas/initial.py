"""Initial parameters of many seeds, exactly as each seed alone would draw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Build = Callable[[], nn.Module]
Told = Callable[[int, int], None]
"""(done, of how many), called now and then."""

EVERY = 500
"""Seeds between two calls of ``told``."""


def seeded_parameters(
    build: Build, seeds: Sequence[int], told: Told | None = None
) -> dict[str, Tensor]:
    """The parameters of ``torch.manual_seed(seed); build()`` for every seed.

    Building a module takes most of a millisecond and drawing its numbers a hundredth of that. So
    the random draws are noted while the net is built for the first seed, and repeating them is
    tried on the first seed, the middle one and the last: where that gives the very bits, it is
    done for all, else (an initialization that computes with what it drew) every net is built.
    The generators of the process are left as they were.

    Args:
        build: Makes one net; called under a seed of the global generator.
        seeds: Seeds as for ``torch.manual_seed``, each at least 0.
        told: Called with (done, all) on the way.

    Returns:
        [R, ...] by parameter name, in the net's dtype and on the CPU.

    Raises:
        ValueError: No seed, a negative one, or a net without parameters.

    Example:
        >>> stack = seeded_parameters(lambda: nn.Linear(2, 3), [5, 6])
        >>> _ = torch.manual_seed(6)
        >>> torch.equal(stack["weight"][1], nn.Linear(2, 3).weight)
        True
    """
    if not len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds are {list(seeds)[:3]}; give at least one, none below 0")
    with torch.random.fork_rng(devices=[]):
        tried = dict.fromkeys([seeds[0], seeds[len(seeds) // 2], seeds[-1]])
        draws, first = _noted(build, seeds[0])
        if not first:
            raise ValueError("the net has no parameters to draw")
        stack = {name: p.new_empty((len(seeds), *p.shape)) for name, p in first.items()}
        if draws is not None and not all(_same(draws, build, seed) for seed in tried):
            draws = None
        for i, seed in enumerate(seeds):
            found = _built(build, seed) if draws is None else draws.replay(seed)
            for name, p in found.items():
                stack[name][i] = p
            if told is not None and (i + 1) % EVERY == 0:
                told(i + 1, len(seeds))
    if told is not None:
        told(len(seeds), len(seeds))
    return stack


def _built(build: Build, seed: int) -> Mapping[str, Tensor]:
    torch.manual_seed(seed)
    return {name: p.detach() for name, p in build().named_parameters()}


def _same(draws: Draws, build: Build, seed: int) -> bool:
    built = _built(build, seed)
    return all(torch.equal(p, built[name]) for name, p in draws.replay(seed).items())


def _noted(build: Build, seed: int) -> tuple[Draws | None, dict[str, Tensor]]:
    """The draws by which the net of one seed was made, if all can be noted, and its parameters."""
    torch.manual_seed(seed)
    with _Notes() as notes:
        named = {name: p.detach() for name, p in build().named_parameters()}
    names = {p.data_ptr(): name for name, p in named.items() if p.numel()}
    kept, draws = {}, []
    for operation, target, arguments in notes.draws:
        name = names.get(target.data_ptr(), "")
        # Into a tensor of our own: the target belongs to the net.
        draws.append((operation, torch.empty_like(target), arguments))
        if name and target.shape == named[name].shape:
            kept[name] = draws[-1][1]  # the last draw into a parameter gives it its value
    return None if notes.others else Draws(draws, {**named, **kept}), named


class Draws:
    """The random draws that made a net, to be made again under other seeds.

    Args:
        draws: In-place operations, their targets and arguments, in order.
        parameters: The net's parameters by name: those targets, or constants.
    """

    def __init__(
        self, draws: list[tuple[Any, Tensor, tuple[Any, ...]]], parameters: Mapping[str, Tensor]
    ) -> None:
        self._draws, self._parameters = draws, parameters
        self._generator = torch.Generator()

    def replay(self, seed: int) -> Mapping[str, Tensor]:
        """The parameters of a seed; the next call writes over them."""
        self._generator.manual_seed(seed)
        for operation, target, arguments in self._draws:
            operation(target, *arguments, generator=self._generator)
        return self._parameters


class _Notes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every random operation on the way to a net."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws: list[tuple[Any, Tensor, tuple[Any, ...]]] = []
        self.others = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            schema = func._schema
            takes = any(argument.name == "generator" for argument in schema.arguments)
            if schema.is_mutable and takes and not kwargs:
                self.draws.append((func, args[0].detach(), args[1:]))
            else:
                self.others = True
        return result
