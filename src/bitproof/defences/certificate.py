"""What counts of answers under Gaussian noise prove of an image (Cohen, Rosenfeld & Kolter 2019, arXiv 1902.02918).

If a model gives class c under noise of standard deviation sigma with a probability of at least p > 1/2, then the class
that it gives most often is c for all images within sigma Phi^-1(p) in l2. A lower confidence bound of p (Clopper &
Pearson 1934) makes it a statement that fails with probability alpha (Algorithm CERTIFY).
"""

import math

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.stats import beta, binomtest, norm

Counts = Int64[np.ndarray, " n"]


def lower_bound(successes: Counts, draws: int, alpha: float) -> Float64[np.ndarray, " n"]:
    """The probability that a rate lies above with confidence 1 - alpha, one-sided; 0 without a success."""
    return np.where(successes > 0, beta.ppf(alpha, np.maximum(successes, 1), draws - successes + 1), 0.0)


def upper_bound(successes: Counts, draws: int, alpha: float) -> Float64[np.ndarray, " n"]:
    """The same from above; 1 without a failure."""
    failures = np.maximum(draws - successes, 1)
    return np.where(successes < draws, beta.ppf(1 - alpha, successes + 1, failures), 1.0)


def radius(probability: Float64[np.ndarray, " n"], sigma: float) -> Float64[np.ndarray, " n"]:
    """The l2 radius that a lower bound of the class's probability certifies; 0 where it is not above 1/2."""
    return sigma * norm.ppf(np.maximum(probability, 0.5))


def fewest(alpha: float) -> int:
    """The least draws of which any are decided: the two-sided p-value of n equal answers is 2^(1 - n).

    Example:
        >>> fewest(0.001)
        11
    """
    return math.ceil(1 - math.log2(alpha))


def undecided(counts: Int64[np.ndarray, "n k"], alpha: float) -> Bool[np.ndarray, " n"]:
    """Whether the two most frequent answers are too close to say which one is (Algorithm PREDICT)."""
    pairs = np.sort(counts, 1)[:, ::-1][:, :2].tolist()
    return np.array([binomtest(first, first + second, 0.5).pvalue > alpha for first, second in pairs], bool)
