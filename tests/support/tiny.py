"""Runs that take a moment: few pairs, as few substeps as there are levels, and no control variates, which take longer."""

import pytest

from sme.convergence.estimator import paired
from sme.simulate.control_variates import controls
from sme.simulate.integrators.schemes import Euler, SmallNoise


def tiny(patch: pytest.MonkeyPatch, pairs: int = 32) -> None:
    """Of this many pairs a block."""
    patch.setattr(paired, "BLOCK_PAIRS", pairs)
    patch.setattr(controls, "LONGEST", 0)
    coarse(patch)


def coarse(patch: pytest.MonkeyPatch, substeps: int = 4) -> None:
    """So many substeps of the finest level in a step; of fewer than eight nothing is known of halving them."""
    for each in (Euler, SmallNoise):
        patch.setattr(each, "fewest", substeps)
        patch.setattr(each, "finest", 1.0)
