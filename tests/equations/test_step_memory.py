"""Step memory: exact over a step, of order 2 where independent motions are not, resolved where Milstein's part is kept."""

import math

import pytest
import torch

import sme
from sme.convergence.fit.predicted import predict
from sme.convergence.spec.job import Job
from sme.convergence.spec.specification import Specification
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from sme.simulate.integrators.schemes import scheme
from sme.simulate.integrators.torchsde import integrate
from tests.support import models

BATCH = regime("batch_equivalent")


def noise(substeps, paths=5, motions=2):
    generator = torch.Generator().manual_seed(4)
    return torch.randn((substeps, paths, motions), generator=generator, dtype=torch.float64) / math.sqrt(substeps) * 0.2


@pytest.mark.parametrize("derived", [False, True])
@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize("substeps", [1, 4])
def test_the_memory_of_a_step_is_exact_for_any_number_of_substeps(scaling, substeps, derived):
    optimizer, problem, tau = sme.RMSProp(c=0.7), models.gaussian(False), 0.04
    eq = (sme.derive(problem, optimizer, scaling, 2, "step_memory")(tau) if derived
          else equation(problem, optimizer, regime(scaling), tau, 2, "step_memory"))
    x, dW, dt = models.state(optimizer).repeat(5, 1), noise(substeps), tau / substeps
    total, y = torch.zeros_like(x), torch.zeros(5, 2, dtype=torch.float64)
    for part in dW:
        total, y = total + eq.remember(0.0, x, y, part, dt), y + part
    s = problem.noise.diffuse(x[:, :2], dW.sum(0))
    torch.testing.assert_close(total[:, 2:], 0.7 * (s * s - tau * problem.noise.variance(x[:, :2])), rtol=1e-12, atol=1e-14)
    assert total[:, :2].abs().max() == 0


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_an_integrated_step_follows_the_optimizers_own(name):
    """With step memory the equation is close to the chain path by path, much closer than with independent motions."""
    optimizer = {"rmsprop": sme.RMSProp(c=0.7), "adam": sme.Adam(c2=0.7)}[name]
    problem, tau, paths = models.gaussian(False), 1 / 64, 400
    setup_chain = sme.equations.chain.Chain(problem, optimizer, BATCH, tau)
    generator = torch.Generator().manual_seed(1)
    dW = torch.randn((16, paths, 2), generator=generator, dtype=torch.float64) * math.sqrt(tau / 16)
    second = torch.randn((16, paths, 2), generator=generator, dtype=torch.float64) * math.sqrt(tau / 16)
    x = models.state(optimizer).repeat(paths, 1)
    fields = dict(zip(optimizer.fields, x.split(2, -1), strict=True))
    wanted, _ = setup_chain.step(fields, dW.sum(0) / math.sqrt(tau), 0)
    ends = {}
    for brownian, motions in (("step_memory", dW), ("independent", torch.cat((dW, second), -1))):
        eq = equation(problem, optimizer, BATCH, tau, 2, brownian)
        ends[brownian] = integrate(eq, scheme(eq), x, motions, 0, 0.0)[:, -2:]
    off = {brownian: float((end - wanted["v"]).square().mean().sqrt()) for brownian, end in ends.items()}
    assert off["step_memory"] < 0.15 * off["independent"]


def test_minibatches_have_no_step_memory():
    with pytest.raises(sme.SMEError, match="Gaussian"):
        equation(models.minibatch(2), sme.RMSProp(), regime("ballistic"), 0.1, 2, "step_memory")


def test_the_constant_that_the_obstruction_leaves_is_predicted():
    start = {"theta": torch.tensor([0.8]), "v": torch.tensor([0.6])}
    names = ["|theta|^2", "mean v"]
    spec = Specification.of(sme.Polynomial(), sme.RMSProp(), "batch_equivalent", "independent", 1.0, start, names, None)
    job = Job.of(spec, tau=[1 / 16], order=[2], paths=65536, shards=None, tolerance=None, budget_s=None, seed=0, device="cpu",
                 processes=1, backend="auto")
    found = predict(job, job.obstructed, 8).constants
    value, stderr = found["|theta|^2 at end"]
    assert stderr < 5e-4
    assert abs(value - 0.0028) < 5 * stderr
    value, stderr = found["mean v at end"]
    assert abs(value) < 5 * stderr  # the leading equation of v is closed, so nothing is left there
