"""What a sweep trains: the product of seeds and values, in cells of one program each."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toyml.errors import UserError
from toyml.sweep.keys import MISSING, Config, find, near, word
from toyml.sweep.ranges import Value, parse_values

OPTIMIZER_NUMBERS = ("lr", "momentum", "dampening", "weight_decay", "eps", "betas.0", "betas.1")
"""Settings of SGD, Adam and AdamW that may differ among the replicas of one program."""

SPREADING = re.compile(r"((torch|toyml)\.optim\.([a-z]+\.)?)?(SGD|Adam|AdamW)")
"""Class paths of the optimizers that can do so; of all others each value is a cell."""

INITIAL = re.compile(r"initial\.([A-Za-z_][\w.]*)\[(\d+(?:\s*,\s*\d+)*)\]")
"""One entry of the initial parameters: ``initial.linear.weight[0,0]``."""

PART_BYTES = 2**26
"""Bytes of the parameters of a part; with optimizer state, copies and chunks 2 GiB and less."""

MOST_REPLICAS = 100_000
"""A product beyond this has to be confirmed."""

MOST_SEEDS = 10_000_000
"""More would fill the memory by their numbers alone."""

PART = 20_000
"""Replicas of a cell that are trained, and kept, at a time."""


@dataclass(frozen=True)
class Vary:
    """A key and the values it takes.

    Attributes:
        key: Dotted key of the config, ``init_args`` left out, or an entry of the initial
            parameters, ``initial.<name>[i,j]``.
        values: At least one.
        apart: Whether each value is a cell, although other optimizers could share a program.
    """

    key: str
    values: tuple[Value, ...]
    apart: bool = False

    @property
    def entry(self) -> tuple[str, tuple[int, ...]] | None:
        """Name and index of the initial parameter that is varied, if it is one."""
        found = INITIAL.fullmatch(self.key)
        return (found[1], tuple(int(i) for i in found[2].split(","))) if found else None

    @property
    def by_replica(self) -> bool:
        """Whether replicas of one program can differ in it."""
        name = self.key.removeprefix("model.optimizer.")
        number = name != self.key and name in OPTIMIZER_NUMBERS
        return self.entry is not None or (number and not self.apart)

    @property
    def numbers(self) -> bool:
        """Whether every value is a number."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)


@dataclass(frozen=True)
class Part:
    """Replicas that are trained in one program, and kept in one file.

    Attributes:
        number: Its place in the plan.
        changes: What its cell changes, by dotted key.
        labels: The same as the table holds it.
        seeds: Seed of each replica [r].
        settings: For each key that differs among replicas, its values [r].
        first: Number of its first replica in the whole sweep.
    """

    number: int
    changes: Mapping[str, Value]
    labels: Mapping[str, Value]
    seeds: Sequence[int]
    settings: Mapping[str, Sequence[float]]
    first: int

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def columns(self) -> dict[str, list[Value]]:
        """What tells its rows apart, [r] each: the seed and every varied key."""
        cell = {key: [value] * len(self) for key, value in self.labels.items()}
        return {"seed": list(self.seeds), **cell, **{k: list(v) for k, v in self.settings.items()}}


@dataclass(frozen=True)
class Plan:
    """The product of all values and seeds.

    Keys that replicas of one program can differ in (the optimizer's numbers, entries of the
    initial parameters, the seed) make the rows of a cell; every other key makes cells.

    Attributes:
        seeds: Seeds of the initial parameters.
        vary: The keys, in the order they were given; the last one varies fastest, and the seed
            faster still.
        part: Most replicas in one program.
    """

    seeds: tuple[int, ...]
    vary: tuple[Vary, ...] = ()
    part: int = PART

    @property
    def cells(self) -> int:
        """Number of cells."""
        return math.prod(len(v.values) for v in self.vary if not v.by_replica)

    @property
    def replicas(self) -> int:
        """Number of trainings in all."""
        return len(self.seeds) * math.prod(len(v.values) for v in self.vary)

    def parts(self) -> Iterator[Part]:
        """The parts, in order."""
        across = [v for v in self.vary if not v.by_replica]
        within = [v for v in self.vary if v.by_replica]
        size = len(self.seeds) * math.prod(len(v.values) for v in within)
        numbers = itertools.count()
        for cell, chosen in enumerate(itertools.product(*(v.values for v in across))):
            changes = {v.key: value for v, value in zip(across, chosen, strict=True)}
            labels = {v.key: changes[v.key] if v.numbers else word(changes[v.key]) for v in across}
            rows = itertools.product(*(v.values for v in within), self.seeds)
            for start in range(0, size, self.part):
                some = [*itertools.islice(rows, self.part)]
                settings = {v.key: [float(r[i]) for r in some] for i, v in enumerate(within)}
                seeds = [int(row[-1]) for row in some]
                first = cell * size + start
                yield Part(next(numbers), changes, labels, seeds, settings, first)

    def fitted(self, each: int) -> Plan:
        """The same trainings in parts whose parameters take at most ``PART_BYTES``.

        Args:
            each: Bytes that the parameters of one replica take.
        """
        return replace(self, part=max(1, min(self.part, PART_BYTES // max(1, each))))

    def as_dict(self) -> dict[str, Any]:
        """For ``sweep.yaml``."""
        vary = {v.key: list(v.values) for v in self.vary}
        return {"seeds": list(self.seeds), "vary": vary, "part": self.part}


def make_plan(
    config: Config, seeds: Any, vary: Mapping[str, Any], part: int = PART, yes: bool = False
) -> Plan:
    """Check what is asked for against a config.

    Args:
        config: The complete config.
        seeds: A number of seeds from 0 on, or a range such as ``range(5,10)``.
        vary: Values by key: a list, or a text for :func:`~toyml.sweep.ranges.parse_values`.
        part: Most replicas in one program.
        yes: The product may be as large as it is.

    Raises:
        UserError: A key the config does not have, values it cannot take, or too large a product.
    """
    if part < 1:
        raise UserError(f"part is {part}; give at least 1 replica to a program")
    keys = tuple(_checked(config, k, v) for k, v in vary.items())
    if not spreads(config, keys):
        keys = tuple(replace(v, apart=True) for v in keys)
    plan = Plan(parse_seeds(seeds), keys, part)
    if plan.replicas > MOST_REPLICAS and not yes:
        raise UserError(
            f"this is {plan.replicas:,} trainings in {plan.cells:,} cells; say --yes if that many "
            "are meant"
        )
    return plan


def parse_seeds(seeds: Any) -> tuple[int, ...]:
    """Seeds 0 to n - 1 for a number n, else those of a range or list.

    Raises:
        UserError: No seed, or one that is not a whole number from 0 on.

    Example:
        >>> parse_seeds(3), parse_seeds("range(5,7)"), parse_seeds([4])
        ((0, 1, 2), (5, 6), (4,))
    """
    text = str(seeds).strip()
    if isinstance(seeds, list | tuple):
        found: list[Any] = list(seeds)
    elif re.fullmatch(r"-?\d+", text):
        if not 1 <= int(text) <= MOST_SEEDS:
            raise UserError(f"seeds is {text}; give at least 1 and at most {MOST_SEEDS:,}")
        found = list(range(int(text)))
    else:
        found = parse_values(text)
    if not found:
        raise UserError("there is no seed; give at least 1")
    for seed in found:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise UserError(f"{seed!r} is no seed; give a number of seeds, or range(5,10)")
    refuse_twice("the seeds hold", found)
    return tuple(found)


def spreads(config: Config, vary: Sequence[Vary]) -> bool:
    """Whether the optimizer's numbers can differ among the replicas of every cell.

    SGD, Adam and AdamW have such a form, Adam with ``amsgrad`` and the others have none.
    """
    given = {v.key: v.values for v in vary}
    kinds = given.get("model.optimizer", (find(config, "model.optimizer"),))
    names = [kind.get("class_path") if isinstance(kind, Mapping) else kind for kind in kinds]
    flags = given.get("model.optimizer.amsgrad", (find(config, "model.optimizer.amsgrad"),))
    flags += tuple(find(kind, "amsgrad") for kind in kinds)
    return all(SPREADING.fullmatch(str(n)) for n in names) and all(
        flag in (False, None, MISSING) for flag in flags
    )


def refuse_twice(what: str, values: Sequence[Value]) -> None:
    """Refuse a value that comes twice: its trainings would count twice.

    Raises:
        UserError: One does.
    """
    written = [word(value) for value in values]
    twice = [w for w in written if written.count(w) > 1] if len({*written}) < len(written) else []
    if twice:
        raise UserError(f"{what} {twice[0]} twice; give each value once")


def _checked(config: Config, key: str, given: Any) -> Vary:
    try:
        values = parse_values(given) if isinstance(given, str) else given
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    if not isinstance(values, list | tuple):
        values = [values]
    if not values:
        raise UserError(f"{key} is varied over an empty list; give at least one value")
    refuse_twice(f"{key} is varied over", values)
    endless = [v for v in values if isinstance(v, float) and not math.isfinite(v)]
    if endless:
        raise UserError(f"{key} is varied over {endless[0]}; give finite numbers")
    vary = Vary(key, tuple(values))
    if key == "seed_everything":
        raise UserError("seed_everything is varied with --seeds")
    if key.startswith("initial."):
        if vary.entry is None:
            raise UserError(
                f"{key} names no entry of the initial parameters; write for example "
                "initial.linear.weight[0,0]"
            )
    else:
        _see_that_it_fits(config, vary)
    if vary.by_replica and not vary.numbers:
        raise UserError(f"{key} is varied over {list(values)[:3]}; give numbers")
    return vary


def _see_that_it_fits(config: Config, vary: Vary) -> None:
    old = find(config, vary.key)
    if old is MISSING:
        raise UserError(f"the config has no {vary.key!r} to vary{near(config, vary.key)}")
    if isinstance(old, int | float) and not isinstance(old, bool) and not vary.numbers:
        shown = ", ".join(map(str, vary.values[:3]))
        raise UserError(f"{vary.key} is a number ({old}), and is to be varied over {shown}")
