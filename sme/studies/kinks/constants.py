"""Leading constants at a corner, `error ≈ C τ^p`, discrete run less equation: derived in docs/theory/kinks.md, section 22."""

from itertools import pairwise

import numpy as np
from scipy.linalg import expm_frechet
from scipy.special import ndtr

from sme.studies.kinks.exact import REACH, Elements, normal, panels

DECAY = 10.0
"""lengths `size²/b`, over which what a jump does dies out, that are looked at on either side"""
NODES = 8
"""of a panel as wide as a step's noise"""
FAR = 6.0
"""half-width of the line in sizes of the noise over the time"""
LEAST, LARGEST = 0.03, 0.1
"""the smallest and the largest element, in half-widths of the line"""


def small_jump(before: float, after: float) -> float:
    """How far ahead of its equation the run is once it has crossed a jump of its drift, over `τ`, to first order in the jump."""
    return 0.5 * (before - after)


def crossed(before: float, after: float, size: float) -> float:
    r"""The same for any jump: `−b₊ (A − A°)`, drifts `b₋` and `b₊` both positive, gradient noise of this size.

    $A$ and $A^\circ$ are the times that the walk $\xi' = \xi + b(\xi) + \mathrm{size}\,z$ and the diffusion
    $d\xi = b\,ds + \mathrm{size}\,dW$ lose at the jump on their way from far below to far above.
    """
    low, high = (REACH * (2 * size + before) + DECAY * size**2 / drift for drift in (before, after))
    first = REACH * size - low  # a step from here is begun in, of which all places are as likely
    stops = [-low, first, first + before, 0.0, high]
    edges = np.concatenate([np.linspace(*each, 1 + int(np.ceil((each[1] - each[0]) / size)))[:-1] for each in pairwise(stops)])
    x, weights = panels(np.append(edges, high), NODES)
    lost, mean = 1 / before - 1 / after, x + np.where(x < 0, before, after)
    step = normal(x[None] - mean[:, None], size) * weights
    step[:, 0] += ndtr((-low - mean) / size)  # as much is lost from further below
    ahead = mean * ndtr(mean / size) + size**2 * normal(mean, size)
    walk = np.linalg.solve(np.eye(len(x)) - step, lost * (ahead - np.where(x > 0, mean, 0.0)))
    begun = (x > first) & (x < first + before)
    return float(size**2 * lost / 2 - after * (walk[begun] @ weights[begun]) / before)


def rest(slope: float) -> float:
    """`E|θ|` at rest in a corner `slope |θ|` of the loss, over `τ`, whatever the size of the noise."""
    return 0.5 * slope


def kink(below: float, above: float, size: float, horizon: float) -> float:
    r"""The error of `E θ` over `τ^{3/2}` of a run that begins and rests in a kink of its drift, with these slopes on its sides.

    $-s^2\int_0^T\mathbb E\bigl[\tfrac14\,[b']\,\delta(y)\,\partial u + \tfrac12\,b'\,\partial^2u\bigr]dt$ along
    $dy = b(y)\,dt + s\,dW$, $y = \theta/\sqrt\tau$, $s$ the size, $u(t, y)$ the mean of the end.
    """
    far = FAR * size * horizon**0.5
    line = Elements([0.0], (-far, far), LEAST * far, LARGEST * far)
    here, slopes = line.nearest(0.0), np.where(line.edges[1:] > 0, above, below)
    change = -0.5 * size**2 * line.second(slopes)
    change[here] -= 0.25 * size**2 * (above - below) / line.mass[here] * line.derivative(here, np.eye(len(line.x)))
    made = line.generator(lambda y: np.where(y < 0, below, above) * y, size**2)
    _, moved = expm_frechet(horizon * made, horizon * change)
    return float(moved[here] @ line.x)
