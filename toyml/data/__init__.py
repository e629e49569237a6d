"""Synthetic data sets: a pure sampler and its LightningDataModule in each file."""

from toyml.data.memory import InMemory
from toyml.data.moons import Moons, moons
from toyml.data.noisy_parabola import NoisyParabola, noisy_parabola
from toyml.data.two_points import TwoPoints, two_points

__all__ = [
    "InMemory",
    "Moons",
    "NoisyParabola",
    "TwoPoints",
    "moons",
    "noisy_parabola",
    "two_points",
]
