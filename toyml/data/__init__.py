"""Synthetic data sets: a pure sampler and its LightningDataModule in each file."""

from toyml.data.damped_sine import DampedSine, damped_sine
from toyml.data.memory import InMemory
from toyml.data.moons import Moons, moons
from toyml.data.noisy_parabola import NoisyParabola, noisy_parabola
from toyml.data.rings import Rings, rings
from toyml.data.two_points import TwoPoints, two_points

__all__ = [
    "DampedSine",
    "InMemory",
    "Moons",
    "NoisyParabola",
    "Rings",
    "TwoPoints",
    "damped_sine",
    "moons",
    "noisy_parabola",
    "rings",
    "two_points",
]
