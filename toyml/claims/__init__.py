"""Claims: predicates on a Run, judged when the fit is over."""

from toyml.claims.boundary import (
    AngleAt,
    AngleLaw,
    DistanceGrows,
    MisclassifiedSteps,
    SmallerDistance,
)
from toyml.claims.claim import (
    FAILS,
    HOLDS,
    NOT_APPLICABLE,
    REFUTED,
    Claim,
    Equals,
    NotApplicable,
    Refuted,
    Verdict,
)
from toyml.claims.values import LossAt, MetricAt, ParameterAt

__all__ = [
    "FAILS",
    "HOLDS",
    "NOT_APPLICABLE",
    "REFUTED",
    "AngleAt",
    "AngleLaw",
    "Claim",
    "DistanceGrows",
    "Equals",
    "LossAt",
    "MetricAt",
    "MisclassifiedSteps",
    "NotApplicable",
    "ParameterAt",
    "Refuted",
    "SmallerDistance",
    "Verdict",
]
