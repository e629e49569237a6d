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
from toyml.claims.minimum import (
    DistanceFrom,
    ExcessLoss,
    HighestValue,
    LowestValue,
    MinimumDistance,
    MinimumLoss,
)
from toyml.claims.printed import Printed
from toyml.claims.quadratic import (
    BestLearningRate,
    CompanionPath,
    HessianEigenvalue,
    SpectralRadius,
    StabilityLimit,
    StabilityMargin,
)
from toyml.claims.replay import SameTraining
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
    "BestLearningRate",
    "BetterSide",
    "Claim",
    "CompanionPath",
    "DistanceFrom",
    "DistanceGrows",
    "Enclosed",
    "Equals",
    "ExcessLoss",
    "FloorHolds",
    "HessianEigenvalue",
    "HighestValue",
    "LeftShare",
    "LossAt",
    "LossBetween",
    "LowestValue",
    "MeanSquare",
    "MetricAt",
    "MinimumDistance",
    "MinimumLoss",
    "MisclassifiedSteps",
    "NotApplicable",
    "ParameterAt",
    "Printed",
    "Refuted",
    "RegionsOf",
    "SameTraining",
    "SeedQuantile",
    "SeedsBelow",
    "SeedsLeftBetter",
    "SeedsLower",
    "SideError",
    "SmallerDistance",
    "SmallestTarget",
    "SpectralRadius",
    "StabilityLimit",
    "StabilityMargin",
    "Verdict",
    "WorstRowShare",
]
