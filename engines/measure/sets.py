"""Set metrics: do two sets of pictures look alike, whichever pictures they hold.

Both are unbiased squared maximum mean discrepancies (Gretton et al. 2012) of
features: KID with the cubic kernel (Binkowski et al. 2018; here on DINOv2,
which follows people's judgement better than Inception, Stein et al. 2023) and
CMMD with a Gaussian kernel on CLIP (Jayasumana et al. 2024).  Around 0 for two
sets of one distribution, also below it.

Pictures of the same prompts and seeds come in pairs, and one of a pair says
something about the other.  Leaving a pair's own term out keeps the estimate
unbiased then too, and makes it 0 for the same pictures (the one-sample
U-statistic, Gretton et al., lemma 6).

FID needs as many pictures as its features have dimensions before its
covariances have full rank, and is biased by their number long after that
(Chong and Forsyth, arXiv 1911.07023); it is refused below 2,049.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.errors import WorkloadError
from engines.measure import bootstrap
from engines.measure.bootstrap import Interval

Features = NDArray[np.float64]
Kernel = Callable[[Features, Features], Features]
"""From features (N, D) and (M, D) to (N, M)."""

LEAST_FOR_FRECHET: Final = 2049
CMMD_SCALE: Final = 1000.0
_SIGMA: Final = 10.0


def cubic(a: Features, b: Features) -> Features:
    """KID's kernel."""
    return np.asarray((a @ b.T / a.shape[1] + 1.0) ** 3)


def gaussian(a: Features, b: Features) -> Features:
    """CMMD's kernel on features of length 1, its bandwidth 10 and its factor 1000."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(CMMD_SCALE * np.exp(-np.maximum(squares, 0.0) / (2 * _SIGMA**2)))


def paired(kernel: Kernel, ours: Features, theirs: Features) -> NDArray[np.float64]:
    """What each pair adds to the discrepancy of two sets of pairs, (N,); NaN below two.

    Their mean is the unbiased estimate, and their spread over N its variance
    (jackknife pseudo-values of a U-statistic of order two).
    """
    count = len(ours)
    if count < 2:
        return np.full(count, math.nan)
    across = kernel(ours, theirs)
    terms = kernel(ours, ours) + kernel(theirs, theirs) - across - across.T
    np.fill_diagonal(terms, 0.0)
    rows = terms.sum(axis=1) / (count - 1)
    return np.asarray(2 * rows - rows.mean())


def apart(kernel: Kernel, ours: Features, theirs: Features) -> Interval:
    """The unbiased discrepancy of two sets that have nothing to do with each other, with its interval."""
    counts = len(ours), len(theirs)
    if min(counts) < 2:
        return Interval(math.nan, math.nan, math.nan)
    across = kernel(ours, theirs)
    within = [_without_self(kernel(one, one)) for one in (ours, theirs)]
    value = float(within[0].mean() + within[1].mean() - 2 * across.mean())
    # each picture's pull on the value: resampling one set moves the mean of its own pulls
    pulls = (2 * (within[0] - across.mean(axis=1)), 2 * (within[1] - across.mean(axis=0)))
    width = math.hypot(*(_half_width(one, seed) for seed, one in enumerate(pulls)))
    return Interval(value, value - width, value + width)


def discrepancy(kernel: Kernel, ours: Features, theirs: Features, *, pairs: bool) -> Interval:
    """The unbiased discrepancy with its 95 % interval; `pairs`: of the same prompts and seeds."""
    return bootstrap.mean(paired(kernel, ours, theirs)) if pairs else apart(kernel, ours, theirs)


def frechet(ours: Features, theirs: Features) -> float:
    """The Fréchet distance of two sets of features (Heusel et al. 2017).

    Raises:
        WorkloadError: fewer than 2,049 pictures in one of them.
    """
    least = min(len(ours), len(theirs))
    if least < LEAST_FOR_FRECHET:
        raise WorkloadError(why_no_frechet(least))
    covariances = [np.cov(one, rowvar=False) for one in (ours, theirs)]
    shift = ours.mean(axis=0) - theirs.mean(axis=0)
    # tr sqrt(A B) = sum of the roots of the eigenvalues of A B, which are real and not negative
    roots = np.sqrt(np.maximum(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0.0)).sum()
    return float(shift @ shift + sum(np.trace(one) for one in covariances) - 2 * roots)


def why_no_frechet(count: int) -> str:
    """Why FID is refused for so few pictures."""
    return (
        f"FID is not given for {count:,} pictures: below {LEAST_FOR_FRECHET:,} it measures how many there are"
        " more than what they show; look at KID or CMMD, which are unbiased."
    )


def _without_self(kernel: Features) -> NDArray[np.float64]:
    """Mean over the others, by row."""
    return np.asarray((kernel.sum(axis=1) - np.diagonal(kernel)) / (len(kernel) - 1))


def _half_width(values: NDArray[np.float64], seed: int) -> float:
    found = bootstrap.mean(values, seed=seed)
    return (found.high - found.low) / 2
