"""What one run looks like, as arrays: made once for a run, drawn by figures and pages alike.

A view is a function of a Run and of settings that can be hashed; it returns a tuple of NumPy arrays
and words, and draws nothing. What is drawn is thinned here, never the record.
"""

from toyml.views.boundary import BoundaryView, boundary_view
from toyml.views.classes import ClassesView, classes_view
from toyml.views.curvature import CurvatureView, curvature_view
from toyml.views.findings import DIVERGED, FindingsView, findings_view
from toyml.views.fit import FitView, fit_view
from toyml.views.forces import ForcesView, forces_view
from toyml.views.frames import frames
from toyml.views.hidden import HiddenView, hidden_view
from toyml.views.kept import kept
from toyml.views.landscape import LandscapeView, landscape_view
from toyml.views.line import LineView, line_view
from toyml.views.loss import LossView, loss_view
from toyml.views.planes import (
    CurvaturePlane,
    FilterNormalizedPlane,
    ParameterPlane,
    PlaneThrough,
    PrincipalPlane,
    RandomPlane,
    RunPlane,
)
from toyml.views.rows import RowsView, rows_view
from toyml.views.weights import WeightsView, weights_view

__all__ = [
    "DIVERGED",
    "BoundaryView",
    "ClassesView",
    "CurvaturePlane",
    "CurvatureView",
    "FilterNormalizedPlane",
    "FindingsView",
    "FitView",
    "ForcesView",
    "HiddenView",
    "LandscapeView",
    "LineView",
    "LossView",
    "ParameterPlane",
    "PlaneThrough",
    "PrincipalPlane",
    "RandomPlane",
    "RowsView",
    "RunPlane",
    "WeightsView",
    "boundary_view",
    "classes_view",
    "curvature_view",
    "findings_view",
    "fit_view",
    "forces_view",
    "frames",
    "hidden_view",
    "kept",
    "landscape_view",
    "line_view",
    "loss_view",
    "rows_view",
    "weights_view",
]
