"""Training problems: each wraps a model and a loss as a LightningModule."""

from toyml.tasks.replicas import Replicas
from toyml.tasks.supervised import Supervised

__all__ = ["Replicas", "Supervised"]
