"""Measures of nets and trajectories: torch only, pure, batched over snapshots."""

from toyml.measures.behaviour import Behaviour, behaviour
from toyml.measures.bounds import best_constant, least_squares_loss
from toyml.measures.curvature import (
    Eigenpairs,
    curvature_plane,
    hessian,
    hessian_spectrum,
    hessian_vector_products,
    lanczos,
    leading_eigenpairs,
    sharpness,
)
from toyml.measures.directions import (
    filter_normalized_plane,
    plane_through,
    planes_along,
    principal_plane,
    random_plane,
)
from toyml.measures.evaluate import gradients, losses, outputs, snapshot
from toyml.measures.flat import flatten, scalar_names, unflatten
from toyml.measures.forces import forces
from toyml.measures.forward import Parameters
from toyml.measures.geometry import angle, distances, norms, tensor_norms
from toyml.measures.grid import decision_grid, margin_box
from toyml.measures.hidden import (
    NEAR,
    Units,
    activations,
    first_layer,
    hidden_lines,
    hidden_units,
    step_prediction,
    thresholds,
)
from toyml.measures.landscape import landscape, landscapes
from toyml.measures.line import losses_along
from toyml.measures.meaning import Meaning, class_numbers, loss_targets, meaning
from toyml.measures.plane import (
    Plane,
    at,
    coordinates,
    off_plane_distance,
    plane_of_parameters,
    plane_of_rows,
)
from toyml.measures.projection import Projection, height_errors, project, verdict

__all__ = [
    "NEAR",
    "Behaviour",
    "Eigenpairs",
    "Meaning",
    "Parameters",
    "Plane",
    "Projection",
    "Units",
    "activations",
    "angle",
    "at",
    "behaviour",
    "best_constant",
    "class_numbers",
    "coordinates",
    "curvature_plane",
    "decision_grid",
    "distances",
    "filter_normalized_plane",
    "first_layer",
    "flatten",
    "forces",
    "gradients",
    "height_errors",
    "hessian",
    "hessian_spectrum",
    "hessian_vector_products",
    "hidden_lines",
    "hidden_units",
    "lanczos",
    "landscape",
    "landscapes",
    "leading_eigenpairs",
    "least_squares_loss",
    "loss_targets",
    "losses",
    "losses_along",
    "margin_box",
    "meaning",
    "norms",
    "off_plane_distance",
    "outputs",
    "plane_of_parameters",
    "plane_of_rows",
    "plane_through",
    "planes_along",
    "principal_plane",
    "project",
    "random_plane",
    "scalar_names",
    "sharpness",
    "snapshot",
    "step_prediction",
    "tensor_norms",
    "thresholds",
    "unflatten",
    "verdict",
]
