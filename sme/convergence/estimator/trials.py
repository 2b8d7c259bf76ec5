"""How many shards a tolerance takes, decided by trial shards, which are in no table.

A rule that looks at the shards that it reports stops where their mean happens to lie far from 0, and so reports a mean that is
too far from it. Trial shards have numbers of their own, so that what is reported is independent of how much there is of it.
"""

import math

import numpy as np
from jaxtyping import Float

FIRST = 2**20
"""the number of the first trial shard: beyond those of all others"""
SHARE = 4
"""so many shards to report, at most, are decided by one trial shard"""
MOST_SHARDS = 64
"""where a relative tolerance stops adding shards"""


def needed(error: Float[np.ndarray, " rows"], stderr: Float[np.ndarray, " rows"], trials: int, tolerance: float) -> int | None:
    """The shards for which every standard error is within the tolerance, or None if more trial shards must say.

    With errors `e ± s` of `n` trial shards `n (s/(tolerance·(|e| − s)))²`, rounded up: a standard error less than `e`, lest
    every second one be missed.
    """
    left = np.maximum(np.abs(error) - stderr, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(stderr == 0, 0.0, stderr / (tolerance * left)) ** 2
    wanted = trials * float(np.max(np.nan_to_num(shares, nan=math.inf), initial=0))
    if wanted > SHARE * trials < MOST_SHARDS:
        return None
    return max(1, math.ceil(min(wanted, MOST_SHARDS)))
