"""The compiled route: many optimizer steps in one call of a generated C program.

For a small fully connected net the arithmetic of a step takes a tenth of a microsecond, a
thousandth of what calling PyTorch operations takes. ``compile_training`` writes the loop over
steps as C for one net, loss and optimizer, compiles it with the system's compiler and keeps it.
"""

from toyml.compiled.compiler import NotCompilable
from toyml.compiled.kernel import Kernel, Result, compile_training

__all__ = ["Kernel", "NotCompilable", "Result", "compile_training"]
