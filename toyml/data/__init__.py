"""Synthetic data sets: a pure sampler and its LightningDataModule in each file."""

from toyml.data.damped_sine import DampedSine, damped_sine
from toyml.data.logistic_rows import LogisticRows, logistic_rows
from toyml.data.memory import InMemory
from toyml.data.moons import Moons, moons
from toyml.data.noisy_parabola import NoisyParabola, noisy_parabola
from toyml.data.rings import Rings, rings
from toyml.data.two_points import TwoPoints, two_points
from toyml.data.two_rows import TwoRows, two_rows
from toyml.data.xor import Xor, xor

__all__ = [
    "DampedSine",
    "InMemory",
    "LogisticRows",
    "Moons",
    "NoisyParabola",
    "Rings",
    "TwoPoints",
    "TwoRows",
    "Xor",
    "damped_sine",
    "logistic_rows",
    "moons",
    "noisy_parabola",
    "rings",
    "two_points",
    "two_rows",
    "xor",
]
