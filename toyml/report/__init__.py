"""The page that answers the question of an experiment: ``write(Page(...), "report.html")``."""

from toyml.report.page import (
    FigureItem,
    MetricRow,
    Page,
    TableItem,
    VerdictRow,
    render,
    write,
)
from toyml.terminal import format_value

__all__ = [
    "FigureItem",
    "MetricRow",
    "Page",
    "TableItem",
    "VerdictRow",
    "format_value",
    "render",
    "write",
]
