"""Rank ranges: the places in an order of models that their paired differences leave open."""

import numpy as np
from jaxtyping import Float, Float64

from bitproof.metrics.paired import holm

LEVEL = 0.05
"""Chance that any pair of alike models is told apart."""


def rank_ranges(scores: Float[np.ndarray, "k n"]) -> list[tuple[int, int]]:
    """The best and the worst place of each of k models, 1 being the highest mean.

    A model's best place is behind those that are significantly better, its worst before those that are significantly
    worse, so models that are not told apart share places. All pairs are tested (`pair_p_values`) and corrected by
    Holm's procedure: all ranges hold the true place together with 95% (Mogstad, Romano, Shaikh & Wilhelm 2024).

    Args:
        scores: in [0, 1], on the same examples.

    Example:
        >>> rank_ranges(np.array([[1.0] * 100, [1.0] * 99 + [0.0], [0.0] * 100]))
        [(1, 2), (1, 2), (3, 3)]
    """
    k = len(scores)
    if k == 1:
        return [(1, 1)]
    upper = np.triu_indices(k, 1)
    apart = np.zeros((k, k), bool)
    apart[upper] = holm(pair_p_values(scores)[upper]) < LEVEL
    apart |= apart.T
    means = scores.mean(axis=1)
    better = apart & (means[None] > means[:, None])
    worse = apart & (means[None] < means[:, None])
    return [(1 + int(above), k - int(below)) for above, below in zip(better.sum(1), worse.sum(1), strict=True)]


def pair_p_values(scores: Float[np.ndarray, "k n"]) -> Float64[np.ndarray, "k k"]:
    """The two-sided p-value of each pair's mean difference on the same examples; 1 where nothing differs.

    Of right and wrong McNemar's exact test; else the normal limit of the sign-flip test, as draws of coins are too
    coarse for the many pairs of a long list.
    """
    from scipy.special import bdtrc, erfc  # here: the import takes longer than most uses of this room

    scores = scores.astype(np.float64)
    gram = scores @ scores.T
    squares = np.diag(gram)
    spread = squares[:, None] + squares[None] - 2 * gram  # sums of squared differences
    gap = scores.sum(axis=1)[:, None] - scores.sum(axis=1)[None]
    if np.isin(scores, (0, 1)).all():
        apart = spread.round()  # examples on which the two differ
        more = ((apart + np.abs(gap)) / 2).round()  # of them right by the better one alone
        return np.minimum(1.0, np.where(apart > 0, 2 * bdtrc(more - 1, apart, 0.5), 1.0))
    moved = spread > 1e-9
    return np.where(moved, erfc(np.abs(gap) / np.sqrt(2 * np.where(moved, spread, 1.0))), 1.0)
