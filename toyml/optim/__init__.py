"""Optimizers whose settings may differ per replica; otherwise those of ``torch.optim``."""

from toyml.optim.adam import Adam, AdamW
from toyml.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW"]
