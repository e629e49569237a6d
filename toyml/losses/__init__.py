"""Losses that torch.nn lacks."""

from toyml.losses.percentage import PercentageError

__all__ = ["PercentageError"]
