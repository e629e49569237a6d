"""The parts of a sweep trained in this process, and what every engine has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl
import torch

from toyml.sweep.cell import train_part
from toyml.sweep.keys import Config
from toyml.sweep.outcome import Definition
from toyml.sweep.plan import Part

Progress = Callable[[int, float], None]
"""Called with a part's number and the share of it that is done."""


@dataclass(frozen=True)
class Job:
    """What every part of a sweep has in common; an engine may send it to another machine.

    Attributes:
        config: The complete config.
        definition: When a training counts as what.
        noted: Steps whose losses become columns.
        threads: Torch threads.
    """

    config: Config
    definition: Definition
    noted: tuple[int, ...] = ()
    threads: int = 1

    def train(self, part: Part, progress: Callable[[float], None] | None = None) -> pl.DataFrame:
        """Train one part."""
        torch.set_num_threads(self.threads)
        return train_part(self.config, part, self.definition, self.noted, progress)


class Engine(ABC):
    """Whoever trains the parts of a sweep."""

    @abstractmethod
    def train(
        self, job: Job, parts: Sequence[Part], progress: Progress
    ) -> Iterator[tuple[Part, pl.DataFrame]]:
        """Train parts; each comes with its rows as soon as it is done, in any order.

        Args:
            job: What they have in common.
            parts: The parts.
            progress: Called now and then.
        """


class Local(Engine):
    """One part after the other, here."""

    def train(
        self, job: Job, parts: Sequence[Part], progress: Progress
    ) -> Iterator[tuple[Part, pl.DataFrame]]:
        """Train parts in their order."""
        for part in parts:
            yield part, job.train(part, partial(progress, part.number))
