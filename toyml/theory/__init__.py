"""Exact answers: what training has to reach, how fast, and how it gets there.

Everything is float64 whatever goes in, in closed form or by a small solver that ends at rounding
error. A separating line (hyperplane) is the pair w [d], b [] with w·x + b = 0.
"""

from toyml.theory.logistic import (
    logistic_hessian,
    logistic_sharpness,
    misclassification_threshold,
    regularized_logistic,
    two_point_threshold,
)
from toyml.theory.margin import (
    angle,
    descent_asymptote,
    distances,
    fit_log_t,
    log_t_constant,
    max_margin,
    max_margin_augmented,
    perpendicular_bisector,
    residual,
    support_vector_log_ratios,
    support_vectors,
)
from toyml.theory.proportion import binomial_test, fisher_test, wilson_interval
from toyml.theory.quadratic import (
    companion_matrix,
    optimal_learning_rate,
    optimal_momentum,
    path,
    sharpness_limit,
    spectral_radius,
    stability_limit,
)
from toyml.theory.rings import (
    DataFloor,
    Floor,
    best_line,
    best_strip,
    line_on_data,
    lines_to_enclose,
    monotone_floor,
    strip_on_data,
    tail,
    tangent_line,
)
from toyml.theory.robust import huber_minimizer, l1_minimizer
from toyml.theory.squares import least_squares, mse_hessian, ridge

__all__ = [
    "DataFloor",
    "Floor",
    "angle",
    "best_line",
    "best_strip",
    "binomial_test",
    "companion_matrix",
    "descent_asymptote",
    "distances",
    "fisher_test",
    "fit_log_t",
    "huber_minimizer",
    "l1_minimizer",
    "least_squares",
    "line_on_data",
    "lines_to_enclose",
    "log_t_constant",
    "logistic_hessian",
    "logistic_sharpness",
    "max_margin",
    "max_margin_augmented",
    "misclassification_threshold",
    "monotone_floor",
    "mse_hessian",
    "optimal_learning_rate",
    "optimal_momentum",
    "path",
    "perpendicular_bisector",
    "regularized_logistic",
    "residual",
    "ridge",
    "sharpness_limit",
    "spectral_radius",
    "stability_limit",
    "strip_on_data",
    "support_vector_log_ratios",
    "support_vectors",
    "tail",
    "tangent_line",
    "two_point_threshold",
    "wilson_interval",
]
