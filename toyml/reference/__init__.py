"""The same training written by hand, in NumPy alone, for step-by-step comparison with PyTorch."""

from toyml.reference.logistic import LogisticRegression, textbook_decay
from toyml.reference.losses import BCE, L1, MSE, BCEWithLogits, Huber, Loss, sigmoid
from toyml.reference.mlp import MLP, Activation, Identity, ReLU, Sigmoid, Tanh, train
from toyml.reference.optimizers import SGD, Adam, AdamW, Array, Optimizer
from toyml.reference.xor import HalfSum, HandWritten, hand_written, signal, uniform_start

__all__ = [
    "BCE",
    "L1",
    "MLP",
    "MSE",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Array",
    "BCEWithLogits",
    "HalfSum",
    "HandWritten",
    "Huber",
    "Identity",
    "LogisticRegression",
    "Loss",
    "Optimizer",
    "ReLU",
    "Sigmoid",
    "Tanh",
    "hand_written",
    "sigmoid",
    "signal",
    "textbook_decay",
    "train",
    "uniform_start",
]
