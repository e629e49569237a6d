"""Training problems: each wraps a model and a loss as a LightningModule."""

from toyml.tasks.supervised import Supervised

__all__ = ["Supervised"]
