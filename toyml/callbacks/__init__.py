"""When to record, draw and judge: the callbacks of a fit."""

from toyml.callbacks.after import AfterFit
from toyml.callbacks.checkpoint import LastCheckpoint
from toyml.callbacks.figure import Drawing, Figure
from toyml.callbacks.figures import AngleLaw, Boundary, Curves, Parameters
from toyml.callbacks.progress import Progress
from toyml.callbacks.recorder import Recorder
from toyml.callbacks.references import Bisector, DescentLimit, Reference, RegularizedMinimum
from toyml.callbacks.report import Report
from toyml.callbacks.verdicts import Verdicts

__all__ = [
    "AfterFit",
    "AngleLaw",
    "Bisector",
    "Boundary",
    "Curves",
    "DescentLimit",
    "Drawing",
    "Figure",
    "LastCheckpoint",
    "Parameters",
    "Progress",
    "Recorder",
    "Reference",
    "RegularizedMinimum",
    "Report",
    "Verdicts",
]
