"""What counts over seeds say about chances."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, lgamma, log, sqrt
from statistics import NormalDist

ROUNDING = 1e-9
"""Outcomes whose probabilities differ by this share are equally likely."""


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


def binomial_test(successes: int, trials: int, chance: float) -> float:
    """Probability, if the chance is the given one, of a count at least as unlikely as this one.

    The exact two-sided test: the sum of all binomial probabilities up to that of the count.

    Args:
        successes: 0 to ``trials``.
        trials: n.
        chance: 0 to 1.

    Raises:
        ValueError: A count or a chance out of its range.

    Example:
        >>> round(binomial_test(0, 5, 0.5), 6), binomial_test(3, 3, 0.0)
        (0.0625, 0.0)
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials}; give 0 <= successes <= trials")
    if not 0 <= chance <= 1:
        raise ValueError(f"chance is {chance}; it has to be between 0 and 1")
    if chance in (0, 1):
        return float(successes == trials * chance)
    logs = [
        log_binomial(trials, k) + k * log(chance) + (trials - k) * log(1 - chance)
        for k in range(trials + 1)
    ]
    return as_unlikely(logs, successes)


def fisher_test(successes: int, trials: int, others: int, other_trials: int) -> float:
    """Probability, if two counts have one chance, of a split at least as unlikely as this one.

    Fisher's exact two-sided test: with the sum of the successes fixed, how they fall on the two
    samples is hypergeometric, whatever the chance.

    Args:
        successes: Of the first sample.
        trials: Its size.
        others: Successes of the second sample.
        other_trials: Its size.

    Raises:
        ValueError: A count out of its range.

    Example:
        >>> round(fisher_test(1, 10, 9, 10), 6)
        0.001093
    """
    if not (0 <= successes <= trials and 0 <= others <= other_trials):
        raise ValueError(
            f"{successes} of {trials} and {others} of {other_trials}; give 0 <= successes <= trials"
        )
    whole = successes + others
    first = max(0, whole - other_trials)
    logs = [
        log_binomial(trials, k) + log_binomial(other_trials, whole - k)
        for k in range(first, min(whole, trials) + 1)
    ]
    return as_unlikely(logs, successes - first)


def log_binomial(n: int, k: int) -> float:
    """Logarithm of n over k."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def as_unlikely(logs: Sequence[float], place: int) -> float:
    """Share of all weights that are at most that at a place; weights as logarithms."""
    top = max(logs, default=-inf)
    weights = [exp(value - top) for value in logs]
    bound = weights[place] * (1 + ROUNDING)
    return min(1.0, sum(w for w in weights if w <= bound) / sum(weights))
