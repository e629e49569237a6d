"""Pictures of arrays: ``plot_x(ax, arrays..., *, style)`` draws on given Axes and returns artists.

Nothing here opens a figure behind your back, evaluates a model or saves a file. A picture:
``figure = new_figure(); ax = figure.add_subplot()``; one or more ``plot_x(ax, ...)``; then
``add_colorbar``, ``add_legend`` and ``set_title``.
"""

from toyml.plots.boundary import (
    Boundaries,
    DecisionSurface,
    choose_steps,
    plot_boundaries,
    plot_decision_surface,
)
from toyml.plots.classes import plot_class_map, plot_class_points
from toyml.plots.compare import plot_overlay, plot_paths
from toyml.plots.curvature import Curvature, plot_curvature
from toyml.plots.curves import plot_curves, plot_law, plot_parameters
from toyml.plots.decay import plot_mark, plot_sweep, plot_swing
from toyml.plots.fit import (
    Fit,
    Fits,
    Thresholds,
    plot_fit,
    plot_fits,
    plot_step_prediction,
    plot_thresholds,
)
from toyml.plots.forces import plot_force_sizes, plot_forces, spread_out
from toyml.plots.hidden import (
    Activations,
    HiddenLines,
    plot_activations_3d,
    plot_hidden_lines,
)
from toyml.plots.landscape import (
    Landscape,
    landscape_levels,
    plot_landscape,
    plot_minimum,
    plot_mistrust,
    plot_path,
)
from toyml.plots.line import plot_loss_line
from toyml.plots.motion import (
    Motion,
    move_class_map,
    move_fit,
    move_mark,
    move_point,
    move_responses,
    move_rows,
    move_space,
    move_surface,
    move_text,
    play,
)
from toyml.plots.parity import plot_deviations
from toyml.plots.points import plot_line, plot_points, plot_values
from toyml.plots.seeds import Distribution, Outcomes, plot_distribution, plot_outcomes
from toyml.plots.stability import plot_radii
from toyml.plots.style import (
    SAVE_OPTIONS,
    SAVE_RC,
    STYLE,
    Style,
    add_colorbar,
    add_legend,
    new_figure,
    set_title,
)
from toyml.plots.sweep import (
    Fan,
    RateCurve,
    map_colors,
    plot_basins,
    plot_fan,
    plot_limit,
    plot_map,
    plot_rate,
    plot_rate_bars,
    plot_shares,
    spaced_by_ratio,
)

__all__ = [
    "SAVE_OPTIONS",
    "SAVE_RC",
    "STYLE",
    "Activations",
    "Boundaries",
    "Curvature",
    "DecisionSurface",
    "Distribution",
    "Fan",
    "Fit",
    "Fits",
    "HiddenLines",
    "Landscape",
    "Motion",
    "Outcomes",
    "RateCurve",
    "Style",
    "Thresholds",
    "add_colorbar",
    "add_legend",
    "choose_steps",
    "landscape_levels",
    "map_colors",
    "move_class_map",
    "move_fit",
    "move_mark",
    "move_point",
    "move_responses",
    "move_rows",
    "move_space",
    "move_surface",
    "move_text",
    "new_figure",
    "play",
    "plot_activations_3d",
    "plot_basins",
    "plot_boundaries",
    "plot_class_map",
    "plot_class_points",
    "plot_curvature",
    "plot_curves",
    "plot_decision_surface",
    "plot_deviations",
    "plot_distribution",
    "plot_fan",
    "plot_fit",
    "plot_fits",
    "plot_force_sizes",
    "plot_forces",
    "plot_hidden_lines",
    "plot_landscape",
    "plot_law",
    "plot_limit",
    "plot_line",
    "plot_loss_line",
    "plot_map",
    "plot_mark",
    "plot_minimum",
    "plot_mistrust",
    "plot_outcomes",
    "plot_overlay",
    "plot_parameters",
    "plot_path",
    "plot_paths",
    "plot_points",
    "plot_radii",
    "plot_rate",
    "plot_rate_bars",
    "plot_shares",
    "plot_step_prediction",
    "plot_sweep",
    "plot_swing",
    "plot_thresholds",
    "plot_values",
    "set_title",
    "spaced_by_ratio",
    "spread_out",
]
