"""From blocks to means and standard errors, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float

from sme.convergence.estimator.block import Block, Gap
from sme.convergence.estimator.crossfit import estimate
from sme.convergence.estimator.moments import Moments

PERCENT = 100


@dataclass(frozen=True)
class Estimates:
    """Of every kind of number, a row being an observable at a time."""

    mean: Float[np.ndarray, "kinds rows"]
    stderr: Float[np.ndarray, "kinds rows"]
    undefined: list[str]
    """by row, on which share of the paths it has no value, in words; empty where it has one on all that did not diverge"""
    paths: int
    diverged: float
    floored: float
    """shares of the paths"""


def estimates(folds: Sequence[Sequence[Block]], kinds: int, rows: int) -> Estimates:
    """Means with control variates; without them for a row that has no value on some pairs, from those on which it has one.

    The control variates of such a row are left out for all others: these have the numbers that they have without it.
    """
    merged = [reduce(Block.merge, fold) for fold in folds]
    whole = reduce(Block.merge, merged)
    mean, stderr = (np.full((kinds, rows), np.nan) for _ in range(2))
    sound = [row for row in range(rows) if row not in whole.gaps]
    moments = [block.moments for block in merged]
    if whole.gaps:
        columns = [row + i * rows for i in range(len(whole.moments.mean) // rows) for row in sound]
        moments = [each.part(columns) for each in moments]
    if sound:
        found = estimate(moments, kinds * len(sound))
        mean[:, sound], stderr[:, sound] = (part.reshape(kinds, -1) for part in found)
    for row, gap in whole.gaps.items():
        mean[:, row], stderr[:, row] = _plain(gap.moments)
    words = [_share(whole.gaps.get(row), whole.paths) for row in range(rows)]
    return Estimates(mean, stderr, words, whole.paths, whole.diverged / whole.paths, whole.floored / whole.paths)


def _plain(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard errors of all variables; not a number from fewer than two samples."""
    if moments.count < 2:
        return np.full(len(moments.mean), np.nan), np.full(len(moments.mean), np.nan)
    return moments.mean, np.sqrt(np.diag(moments.comoment) / (moments.count - 1) / moments.count)


def _share(gap: Gap | None, paths: int) -> str:
    """`not a number on 23 % of the paths`."""
    said = () if gap is None else ((gap.none, "not a number"), (gap.beyond, "infinite or beyond 1e50"))
    return ", ".join(f"{what} on {_percent(PERCENT * count / paths)} % of the paths" for count, what in said if count)


def _percent(share: float) -> str:
    """With two digits."""
    return f"{share:.0f}" if share >= 10 else f"{share:.2g}"
