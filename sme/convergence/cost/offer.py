"""What quadrature would cost: of a study by it, or in place of random paths where that is cheaper."""

import math
import time
from collections.abc import Mapping

import torch

from sme.convergence.estimator.quadrature import settle
from sme.convergence.estimator.quadrature.method import lack
from sme.simulate.setup import Setup

RUNGS = 6.0
"""so many times the first rung's seconds a setup takes, about"""


def seconds(setup: Setup) -> float:
    """Of one setup, from its first rung."""
    began = time.perf_counter()
    with torch.no_grad():
        settle.first(setup)
    return RUNGS * (time.perf_counter() - began)


def said(setups: Mapping[tuple[int, int], Setup], looked: Mapping[tuple[int, int], Setup], paths_s: float) -> str:
    """A line that names quadrature where it takes less than these seconds of random paths; else none.

    `looked` has the finest setup over the steps that are looked at.
    """
    finest = max(setups, default=None, key=lambda which: which[1])
    if finest is None or any(map(lack, setups.values())):
        return ""
    cost = len(setups) * seconds(looked[finest]) * setups[finest].marks[-1] / looked[finest].marks[-1]
    return f"method=quadrature would take some {math.ceil(cost)} s, and draws no random paths" if cost < paths_s else ""
