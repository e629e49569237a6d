"""What a sweep trains: the product of seeds and values, in cells of one program each."""

from __future__ import annotations

import copy
import difflib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toyml.errors import UserError
from toyml.sweep.ranges import Value, parse_values

Config = dict[str, Any]

OPTIMIZER_NUMBERS = ("lr", "momentum", "dampening", "weight_decay", "eps", "betas.0", "betas.1")
"""Settings of SGD, Adam and AdamW that may differ among the replicas of one program."""

INITIAL = re.compile(r"initial\.([A-Za-z_][\w.]*)\[(\d+(?:\s*,\s*\d+)*)\]")
"""One entry of the initial parameters: ``initial.linear.weight[0,0]``."""

MOST_REPLICAS = 100_000
"""A product beyond this has to be confirmed."""

PART = 20_000
"""Replicas of a cell that are trained, and kept, at a time."""

MISSING = object()


@dataclass(frozen=True)
class Vary:
    """A key and the values it takes.

    Attributes:
        key: Dotted key of the config, ``init_args`` left out, or an entry of the initial
            parameters, ``initial.<name>[i,j]``.
        values: At least one.
    """

    key: str
    values: tuple[Value, ...]

    @property
    def entry(self) -> tuple[str, tuple[int, ...]] | None:
        """Name and index of the initial parameter that is varied, if it is one."""
        found = INITIAL.fullmatch(self.key)
        return (found[1], tuple(int(i) for i in found[2].split(","))) if found else None

    @property
    def by_replica(self) -> bool:
        """Whether replicas of one program can differ in it."""
        name = self.key.removeprefix("model.optimizer.")
        return self.entry is not None or (name != self.key and name in OPTIMIZER_NUMBERS)

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
        rows = [*itertools.product(*(v.values for v in within), self.seeds)]
        numbers = itertools.count()
        for cell, chosen in enumerate(itertools.product(*(v.values for v in across))):
            changes = {v.key: value for v, value in zip(across, chosen, strict=True)}
            labels = {v.key: changes[v.key] if v.numbers else word(changes[v.key]) for v in across}
            for start in range(0, len(rows), self.part):
                some = rows[start : start + self.part]
                settings = {v.key: [float(r[i]) for r in some] for i, v in enumerate(within)}
                seeds = [int(row[-1]) for row in some]
                first = cell * len(rows) + start
                yield Part(next(numbers), changes, labels, seeds, settings, first)

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
    plan = Plan(parse_seeds(seeds), tuple(_checked(config, k, v) for k, v in vary.items()), part)
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
        if int(text) < 1:
            raise UserError(f"seeds is {text}; give at least 1")
        found = list(range(int(text)))
    else:
        found = parse_values(text)
    if not found:
        raise UserError("there is no seed; give at least 1")
    for seed in found:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise UserError(f"{seed!r} is no seed; give a number of seeds, or range(5,10)")
    return tuple(found)


def _checked(config: Config, key: str, given: Any) -> Vary:
    values = parse_values(given) if isinstance(given, str) else given
    if not isinstance(values, list | tuple):
        values = [values]
    if not values:
        raise UserError(f"{key} is varied over an empty list; give at least one value")
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


def find(config: Any, key: str) -> Any:
    """A value by dotted key (``init_args`` may be left out, list items are numbers), or MISSING."""
    for part in key.split("."):
        if isinstance(config, Mapping) and part not in config and "init_args" in config:
            config = config["init_args"]
        if isinstance(config, Mapping) and part in config:
            config = config[part]
        elif isinstance(config, list | tuple) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            return MISSING
    return config


def near(config: Config, key: str) -> str:
    """A hint with the nearest keys there are, or nothing."""
    known = {k: None for part in ("model", "data", "trainer") for k in short_keys(config, part)}
    close = difflib.get_close_matches(key, list(known), n=2, cutoff=0.6)
    last = key.rsplit(".", 1)[-1]
    close += [k for k in known if k.rsplit(".", 1)[-1] == last and k not in close][:2]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def short_keys(config: Config, part: str) -> Iterator[str]:
    """Dotted keys of everything below ``part``, without ``init_args`` and ``class_path``."""

    def walk(value: Any, prefix: str) -> Iterator[str]:
        yield prefix
        if isinstance(value, Mapping):
            for key, item in value.items():
                if key == "init_args":
                    yield from itertools.islice(walk(item, prefix), 1, None)
                elif key != "class_path":
                    yield from walk(item, f"{prefix}.{key}")

    return itertools.islice(walk(config.get(part), part), 1, None)


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of all leaves of a config."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    if not items:
        yield prefix[:-1], value
    for key, item in items:
        yield from leaves(item, f"{prefix}{key}.")


def override(config: Config, changes: Mapping[str, Value]) -> Config:
    """A copy of a config with values changed by dotted key; ``init_args`` may be left out.

    Raises:
        UserError: A key that is not in the config.

    Example:
        >>> override({"data": {"class_path": "A", "init_args": {"n": 1}}}, {"data.n": 2})
        {'data': {'class_path': 'A', 'init_args': {'n': 2}}}
        >>> override({"widths": [2, 1, 1]}, {"widths.1": 5})
        {'widths': [2, 5, 1]}
    """
    changed = copy.deepcopy(config)
    for key, value in changes.items():
        before, _, last = key.rpartition(".")
        place = find(changed, before) if before else changed
        if isinstance(place, dict) and last not in place and "init_args" in place:
            place = place["init_args"]
        if isinstance(place, dict) and last in place:
            place[last] = copy.deepcopy(value)
        elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
            place[int(last)] = copy.deepcopy(value)
        else:
            raise UserError(f"the config has no {key!r} to override{near(config, key)}")
    return changed


def word(value: Value) -> str:
    """A value as a word: itself, or JSON for what is no text.

    Example:
        >>> word([2, 3, 1]), word("torch.nn.ReLU"), word(True)
        ('[2, 3, 1]', 'torch.nn.ReLU', 'true')
    """
    return value if isinstance(value, str) else json.dumps(value)


def end_column(key: str) -> str:
    """Column of the last value of a varied initial parameter.

    Example:
        >>> end_column("initial.linear.weight[0,0]")
        'end.linear.weight[0,0]'
    """
    return "end." + key.removeprefix("initial.")
