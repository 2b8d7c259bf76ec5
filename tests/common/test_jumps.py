"""Numbers of jumps have Poisson's law, in each substep of a step."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, poisson

from sme.common.random.jumps import counts, levels


@pytest.mark.parametrize("mean", [0.04, 0.7, 3.0])
def test_normals_are_parted_as_poissons_law_parts_numbers(mean):
    cuts = norm.cdf([-math.inf, *levels(mean)])
    np.testing.assert_allclose(np.diff(cuts), poisson.pmf(np.arange(len(cuts) - 1), mean), rtol=0, atol=1e-12)


def test_a_step_has_as_many_jumps_of_each_motion_as_it_should_in_the_mean():
    tau, substeps, paths = 0.25, 4, 20_000
    normals = torch.special.ndtri((torch.arange(paths, dtype=torch.float64) + 0.5) / paths)
    dW = math.sqrt(tau / substeps) * normals[None, :, None].expand(substeps, -1, 2)
    for mean in ([0.3, 1.2], [0.6, 0.6]):
        found = counts(dW, torch.tensor(mean, dtype=torch.float64), tau)
        assert found.sum(0).mean(0).tolist() == pytest.approx(mean, abs=1e-3)
        assert found.var((0, 1)).tolist() == pytest.approx([each / substeps for each in mean], abs=1e-3)
