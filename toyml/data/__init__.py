"""Synthetic data sets: a pure sampler and its LightningDataModule in each file."""

from toyml.data.memory import InMemory
from toyml.data.moons import Moons, moons
from toyml.data.two_points import TwoPoints, two_points

__all__ = ["InMemory", "Moons", "TwoPoints", "moons", "two_points"]
