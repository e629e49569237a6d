"""When to record, draw and judge: the callbacks of a fit."""

from toyml.callbacks.after import AfterFit
from toyml.callbacks.animation import Animation
from toyml.callbacks.basin_figures import SweepBasins
from toyml.callbacks.checkpoint import LastCheckpoint
from toyml.callbacks.convention_figures import TwoConventions
from toyml.callbacks.curvature_figures import Curvature
from toyml.callbacks.curve_figures import Fit, SideErrors, Thresholds
from toyml.callbacks.descent_figures import CompanionCheck, Lines, Stability
from toyml.callbacks.figure import Drawing, Figure
from toyml.callbacks.figures import AngleLaw, Boundary, Curves, Parameters
from toyml.callbacks.force_figures import Forces
from toyml.callbacks.hidden_figures import Activations, HiddenLines
from toyml.callbacks.landscape_figures import Landscape, LossLine
from toyml.callbacks.logistic_figures import Oscillation, SweepOfDecay
from toyml.callbacks.loss_landscapes import LossLandscapes
from toyml.callbacks.moving import (
    Moving,
    MovingHidden,
    MovingInputs,
    MovingLandscape,
    MovingLoss,
)
from toyml.callbacks.parity import Parity
from toyml.callbacks.progress import Progress
from toyml.callbacks.recorder import Recorder
from toyml.callbacks.references import Bisector, DescentLimit, Reference, RegularizedMinimum
from toyml.callbacks.replay import Replay
from toyml.callbacks.replica_figures import ReplicaLosses
from toyml.callbacks.report import Report
from toyml.callbacks.sweep_cells import SweepOutcomes, SweepSides
from toyml.callbacks.sweep_figures import SweepFan, SweepMap, SweepRates
from toyml.callbacks.sweep_report import SweepReport
from toyml.callbacks.verdicts import Verdicts
from toyml.callbacks.xor_figures import Ladder, ScriptLoss

__all__ = [
    "Activations",
    "AfterFit",
    "AngleLaw",
    "Animation",
    "Bisector",
    "Boundary",
    "CompanionCheck",
    "Curvature",
    "Curves",
    "DescentLimit",
    "Drawing",
    "Figure",
    "Fit",
    "Forces",
    "HiddenLines",
    "Ladder",
    "Landscape",
    "LastCheckpoint",
    "Lines",
    "LossLandscapes",
    "LossLine",
    "Moving",
    "MovingHidden",
    "MovingInputs",
    "MovingLandscape",
    "MovingLoss",
    "Oscillation",
    "Parameters",
    "Parity",
    "Progress",
    "Recorder",
    "Reference",
    "RegularizedMinimum",
    "Replay",
    "ReplicaLosses",
    "Report",
    "ScriptLoss",
    "SideErrors",
    "Stability",
    "SweepBasins",
    "SweepFan",
    "SweepMap",
    "SweepOfDecay",
    "SweepOutcomes",
    "SweepRates",
    "SweepReport",
    "SweepSides",
    "Thresholds",
    "TwoConventions",
    "Verdicts",
]
