"""The compiled route: many optimizer steps in one call of a generated C program.

For a small fully connected net the arithmetic of a step takes a tenth of a microsecond, a
thousandth of what calling PyTorch operations takes. ``compile_training`` writes the loop over
steps as C for one net, loss and optimizer, compiles it with the system's compiler and keeps it;
``compile_losses`` does the same for the losses at many parameters, as landscapes need them.
"""

from toyml.compiled.compiler import NotCompilable
from toyml.compiled.evaluation import LossKernel, compile_losses
from toyml.compiled.kernel import Kernel, Result, compile_training

__all__ = [
    "Kernel",
    "LossKernel",
    "NotCompilable",
    "Result",
    "compile_losses",
    "compile_training",
]
