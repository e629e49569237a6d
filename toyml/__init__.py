"""A laboratory for training dynamics.

One YAML file is one experiment: ``python -m toyml fit --config configs/perceptron.yaml``.
From Python: ``from toyml import Run; Run.load("runs/perceptron/version_0")``.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toyml.run import Run

__version__ = "0.1.0"
__all__ = ["Run", "__version__"]


def _take_one_thread() -> None:
    """Let torch take one thread unless a number was chosen: a second makes a toy step slower.

    oneDNN, MKL and OpenMP read the variable once, when torch is loaded; torch that is there already
    is told. A number other than torch's default was chosen by somebody, and stays. ``--threads``,
    one of the variables, or ``torch.set_num_threads`` after the import raises it.
    """
    if any(name in os.environ for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")):
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        cores = os.cpu_count() or 1
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
        if torch.get_num_threads() in (cores, cores // 2, allowed, allowed // 2):
            torch.set_num_threads(1)  # by default all cores, or one of two that share a core


_take_one_thread()


def __getattr__(name: str) -> object:
    # torch and lightning take seconds to import; `import toyml` alone does not need them.
    if name == "Run":
        from toyml.run import Run

        return Run
    raise AttributeError(f"module 'toyml' has no attribute {name!r}")
