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
from toyml.claims.hidden import Enclosed, FloorHolds, LossBetween, RegionsOf
from toyml.claims.seeds import SeedQuantile, SeedsBelow, SeedsLeftBetter, SeedsLower
from toyml.claims.sides import (
    BetterSide,
    LeftShare,
    MeanSquare,
    SideError,
    SmallestTarget,
    WorstRowShare,
)
from toyml.claims.values import LossAt, MetricAt, ParameterAt

__all__ = [
    "FAILS",
    "HOLDS",
    "NOT_APPLICABLE",
    "REFUTED",
    "AngleAt",
    "AngleLaw",
    "BetterSide",
    "Claim",
    "DistanceGrows",
    "Enclosed",
    "Equals",
    "FloorHolds",
    "LeftShare",
    "LossAt",
    "LossBetween",
    "MeanSquare",
    "MetricAt",
    "MisclassifiedSteps",
    "NotApplicable",
    "ParameterAt",
    "Refuted",
    "RegionsOf",
    "SeedQuantile",
    "SeedsBelow",
    "SeedsLeftBetter",
    "SeedsLower",
    "SideError",
    "SmallerDistance",
    "SmallestTarget",
    "Verdict",
    "WorstRowShare",
]
