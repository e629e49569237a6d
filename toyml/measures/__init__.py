"""Measures of nets and trajectories: torch only, pure, batched over snapshots."""

from toyml.measures.curvature import (
    hessian,
    hessian_spectrum,
    hessian_vector_products,
    lanczos,
    sharpness,
)
from toyml.measures.evaluate import gradients, losses, outputs, snapshot
from toyml.measures.flat import flatten, scalar_names, unflatten
from toyml.measures.forward import Parameters
from toyml.measures.geometry import angle, distances, norms, tensor_norms
from toyml.measures.grid import decision_grid, margin_box
from toyml.measures.hidden import (
    activations,
    first_layer,
    hidden_lines,
    step_prediction,
    thresholds,
)
from toyml.measures.landscape import landscape
from toyml.measures.plane import (
    Plane,
    at,
    coordinates,
    off_plane_distance,
    plane_of_parameters,
)

__all__ = [
    "Parameters",
    "Plane",
    "activations",
    "angle",
    "at",
    "coordinates",
    "decision_grid",
    "distances",
    "first_layer",
    "flatten",
    "gradients",
    "hessian",
    "hessian_spectrum",
    "hessian_vector_products",
    "hidden_lines",
    "lanczos",
    "landscape",
    "losses",
    "margin_box",
    "norms",
    "off_plane_distance",
    "outputs",
    "plane_of_parameters",
    "scalar_names",
    "sharpness",
    "snapshot",
    "step_prediction",
    "tensor_norms",
    "thresholds",
    "unflatten",
]
