"""The panels of the page: arrays of views in, Plotly figures with moves out."""

from toyml.report.panels.boundary import boundary_panel
from toyml.report.panels.classes import classes_panel
from toyml.report.panels.curves import curvature_panel, loss_panel, weights_panel
from toyml.report.panels.fit import fit_panel
from toyml.report.panels.hidden import hidden_panel
from toyml.report.panels.landscape import Arrows, landscape_panel
from toyml.report.panels.rows import rows_panel

__all__ = [
    "Arrows",
    "boundary_panel",
    "classes_panel",
    "curvature_panel",
    "fit_panel",
    "hidden_panel",
    "landscape_panel",
    "loss_panel",
    "rows_panel",
    "weights_panel",
]
