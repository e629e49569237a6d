"""Many trainings of one experiment at once: planned, trained in parts, judged, kept."""

from toyml.sweep.folder import Sweep
from toyml.sweep.plan import Plan, make_plan

__all__ = ["Plan", "Sweep", "make_plan"]
