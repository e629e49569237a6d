"""What a count over seeds says about a chance."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson_interval(
    successes: float, trials: float, confidence: float = 0.95
) -> tuple[float, float]:
    r"""The interval of chances that a share of successes does not contradict.

    All p with :math:`|\hat p - p| \le z \sqrt{p (1 - p) / n}`, where :math:`\hat p` is the share
    and z the normal quantile of (1 + confidence) / 2; solved for p:

    .. math:: \frac{\hat p + z^2 / 2n \pm z \sqrt{\hat p (1 - \hat p) / n + z^2 / 4n^2}}{1 + z^2/n}

    (Wilson 1927). Unlike the interval around :math:`\hat p` it has a width at 0 and at n successes.

    Args:
        successes: 0 to ``trials``.
        trials: n; 0 says nothing, and the interval is (0, 1).
        confidence: Between 0 and 1.

    Returns:
        Lower and upper bound, in [0, 1].

    Raises:
        ValueError: A count or a confidence out of its range.

    Example:
        >>> [round(bound, 4) for bound in wilson_interval(18, 32)]
        [0.3933, 0.7183]
        >>> wilson_interval(0, 0)
        (0.0, 1.0)
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials}; give 0 <= successes <= trials")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it has to be between 0 and 1")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, unit = successes / trials, z * z / trials
    middle = share + unit / 2
    half = sqrt(unit * (share * (1 - share) + unit / 4))
    # At no and at all successes one bound is exact; rounding must not push it beyond.
    low = 0.0 if successes == 0 else (middle - half) / (1 + unit)
    high = 1.0 if successes == trials else (middle + half) / (1 + unit)
    return low, high
