"""The fast path: many optimizer steps inside one ``training_step``.

At toy size the frame around a step costs more than its arithmetic, so the loader hands over one
resident :class:`Block` that stands for K optimizer steps and :class:`Training` performs them. The
results are bit-equal to the plain loop

    ``optimizer.zero_grad(); loss_fn(net(x), y).backward(); optimizer.step()``

because the same ATen operations run in the same order; what is left out is what surrounds them:
module calls, the autograd graph of a plain chain, profiler hooks, ``zero_grad``. Where blocks would
change the meaning of a setting (DDP, mixed precision, gradient clipping, callbacks with per-step
hooks, ...) :func:`obstacle` says so and Lightning's ordinary automatic optimization runs instead.
"""

from toyml.engine.block import Block, batch_order
from toyml.engine.interruption import AtOnceError, Interruption, TogetherError, hold_back
from toyml.engine.route import StepObserver, at_its_end, between_updates, in_blocks, obstacle
from toyml.engine.rows import all_rows
from toyml.engine.training import COMPILE_FROM, Training

__all__ = [
    "COMPILE_FROM",
    "AtOnceError",
    "Block",
    "Interruption",
    "StepObserver",
    "TogetherError",
    "Training",
    "all_rows",
    "at_its_end",
    "batch_order",
    "between_updates",
    "hold_back",
    "in_blocks",
    "obstacle",
]
