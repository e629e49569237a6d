"""Nets: plain ``torch.nn`` modules with readable parameter names and optional initial values."""

from toyml.models.linear import Linear
from toyml.models.mlp import MLP

__all__ = ["MLP", "Linear"]
