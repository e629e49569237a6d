"""What one run looks like, as arrays: made once for a run, drawn by figures and pages alike.

A view is a function of a Run and of settings that can be hashed; it returns a tuple of NumPy arrays
and words, and draws nothing. What is drawn is thinned here, never the record.
"""

from toyml.views.curvature import CurvatureView, curvature_view
from toyml.views.forces import ForcesView, forces_view
from toyml.views.frames import frames
from toyml.views.kept import kept
from toyml.views.landscape import LandscapeView, landscape_view
from toyml.views.line import LineView, line_view
from toyml.views.planes import (
    CurvaturePlane,
    FilterNormalizedPlane,
    ParameterPlane,
    PlaneThrough,
    PrincipalPlane,
    RandomPlane,
    RunPlane,
)

__all__ = [
    "CurvaturePlane",
    "CurvatureView",
    "FilterNormalizedPlane",
    "ForcesView",
    "LandscapeView",
    "LineView",
    "ParameterPlane",
    "PlaneThrough",
    "PrincipalPlane",
    "RandomPlane",
    "RunPlane",
    "curvature_view",
    "forces_view",
    "frames",
    "kept",
    "landscape_view",
    "line_view",
]
