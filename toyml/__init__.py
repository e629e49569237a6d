"""A laboratory for training dynamics.

One YAML file is one experiment: ``python -m toyml fit --config configs/perceptron.yaml``.
From Python: ``from toyml import Run; Run.load("runs/perceptron/version_0")``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toyml.run import Run

__version__ = "0.1.0"
__all__ = ["Run", "__version__"]

# oneDNN, MKL and OpenMP read this once, when torch is loaded. A busy second thread makes a toy
# step ten times slower, so one is the default; --threads (or the variable itself) raises it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def __getattr__(name: str) -> object:
    # torch and lightning take seconds to import; `import toyml` alone does not need them.
    if name == "Run":
        from toyml.run import Run

        return Run
    raise AttributeError(f"module 'toyml' has no attribute {name!r}")
