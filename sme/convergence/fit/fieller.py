"""The ratio of two means with Fieller's interval."""

import math
from collections.abc import Sequence

from scipy.special import stdtrit


def factor(means: Sequence[float], variances: Sequence[float], pairs: float = math.inf,
           level: float = 0.95) -> tuple[float, float, float]:
    """`|E D₁| / |E D₂|` with Fieller's interval, from the means and their variances and covariance `(v₁, v₂, c)`.

    The interval holds every `|k|` with `(m₁ − k m₂)² ≤ q (v₁ − 2 k c + k² v₂)`, `q` the quantile of the square of Student's
    `t` for variances from so many pairs; its end is infinite where `m₂` may be 0.
    """
    (m1, m2), (v1, v2, c), q = means, variances, float(stdtrit(pairs - 1, 0.5 + level / 2)) ** 2
    a, b, free = m2 * m2 - q * v2, m1 * m2 - q * c, m1 * m1 - q * v1
    if a <= 0:  # m₂ may be 0
        low = 0.0 if free <= 0 or b * b - a * free <= 0 else min(abs((b + s * math.sqrt(b * b - a * free)) / a) for s in (-1, 1))
        return abs(m1 / m2) if m2 else math.inf, low, math.inf
    ends = sorted((b + s * math.sqrt(max(0.0, b * b - a * free))) / a for s in (-1, 1))
    low = 0.0 if ends[0] <= 0 <= ends[1] else min(map(abs, ends))
    return abs(m1 / m2), low, max(map(abs, ends))
