"""When to record, draw and judge: the callbacks of a fit."""

from toyml.callbacks.checkpoint import LastCheckpoint
from toyml.callbacks.progress import Progress
from toyml.callbacks.recorder import Recorder

__all__ = ["LastCheckpoint", "Progress", "Recorder"]
