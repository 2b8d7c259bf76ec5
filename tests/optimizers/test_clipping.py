"""A clip round a rule: torch's own clipped runs, the equation against that of the clipped law, and refusals."""

import pytest
import torch

import sme
from sme.equations.derived.shifted.equation import Shifted
from sme.equations.derived.shifted.sampled import Sampled
from sme.equations.registry import equation
from sme.optimizers.base import updated
from sme.optimizers.imported.by_name import by_name
from sme.optimizers.regimes import BALLISTIC

TORCH, DOUBLE = torch.optim, torch.float64
CLIPS = {"norm": torch.nn.utils.clip_grad_norm_, "value": torch.nn.utils.clip_grad_value_}


@pytest.mark.parametrize(("kind", "limit"), [("norm", 1.4), ("value", 0.6)])
def test_fifty_clipped_steps_of_two_groups_are_torchs(kind, limit):
    starts = [[0.4, -0.7], [0.1, 1.2]], [0.9], [-0.3, 0.2]
    parameters = [torch.nn.Parameter(torch.tensor(each, dtype=DOUBLE)) for each in starts]
    optimizer = TORCH.AdamW([{"params": parameters[:2], "weight_decay": 0.3}, {"params": parameters[2:], "lr": 0.05}],
                            lr=0.02, betas=(0.8, 0.95), eps=1e-3)
    rule = sme.from_torch(optimizer, t0=0.02, clip=limit if kind == "norm" else (kind, limit))
    state, generator, clipped = None, torch.Generator().manual_seed(1), 0
    for k in range(51):
        seen = 1.5 * torch.randn(7, generator=generator, dtype=DOUBLE) / (1 + k % 3)
        for p, part in zip(parameters, seen.split([4, 1, 2]), strict=True):
            p.grad = part.reshape(p.shape).clone()
        CLIPS[kind](parameters, limit)
        optimizer.step()
        clipped += int(torch.cat([p.grad.flatten() for p in parameters]).sub(seen).abs().max() > 1e-3)
        theirs = torch.cat([p.detach().flatten() for p in parameters])
        if state is None:  # torch's first step lays out its averages
            state = {"theta": theirs, **{ours: torch.cat([optimizer.state[p][name].flatten() for p in parameters])
                                         for ours, name in (("m", "exp_avg"), ("v", "exp_avg_sq"))}}
            continue
        state = updated(rule, state, BALLISTIC.seen(seen, 0.02), 0.02, 0.02 * k)
        assert float((state["theta"] - theirs).abs().max()) < 1e-12
    assert 10 < clipped < 51


def test_its_equation_is_that_of_the_clipped_law():
    """Drift of both orders, and covariance, of SGD, against the moments of sme.Clipped; torch's 1e-6 beside the norm is all."""
    loss, law = (lambda theta: (theta**4).sum() / 4), sme.GaussianNoise(torch.tensor([[0.5, 0.0], [0.2, 0.4]], dtype=DOUBLE))
    x = torch.tensor([[0.9, -0.6], [0.3, 1.1]], dtype=DOUBLE)
    rule = sme.from_torch(TORCH.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1), clip=0.6)
    ours = equation(sme.Problem(loss, 2, law), rule, BALLISTIC, 0.1, 1)
    theirs = equation(sme.Problem(loss, 2, sme.Clipped(law, 0.6)), sme.SGD(), BALLISTIC, 0.1, 1)
    assert type(ours) is Shifted
    torch.testing.assert_close(ours.drift(0.0, x), theirs.drift(0.0, x), rtol=0, atol=5e-6)
    found = []
    for each in (ours, theirs):
        columns = torch.stack([each.diffuse(0.0, x, unit.expand(2, -1)) for unit in torch.eye(each.motions, dtype=DOUBLE)], -1)
        found.append(columns @ columns.mT)
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)


def test_many_batches_are_sampled():
    data = (torch.linspace(-1, 1, 60, dtype=DOUBLE),)
    loss = lambda theta, x: 0.5 * (theta - x).square().sum()  # noqa: E731
    problem = sme.Problem(lambda theta: loss(theta.unsqueeze(0), data[0].unsqueeze(1)) / 60, 3,
                          sme.MinibatchNoise(loss, data, batch_size=8))
    assert type(equation(problem, sme.Clipping(sme.Momentum(), 1.0), BALLISTIC, 0.1, 2)) is Sampled


def test_it_goes_with_the_other_parts():
    rule = sme.Averaged(sme.Clipping(sme.Groups((sme.SGD(), sme.Momentum()), ((0, 1), (1, 2))), 0.5, "value"), c=0.3)
    state = {name: torch.full((2, 3), 0.4, dtype=DOUBLE) for name in rule.fields}
    new = updated(rule, state, BALLISTIC.seen(torch.full((2, 3), -2.0, dtype=DOUBLE), 0.1), 0.1, 0.0)
    assert new["theta"][0, 0] == pytest.approx(0.4 + 0.05)
    assert rule.fields == ("theta", "m", "average")
    assert by_name("SGD", clip=1.0) == sme.from_torch(TORCH.SGD([torch.nn.Parameter(torch.zeros(1))]), clip=1.0)
    assert by_name("Muon", clip=["value", 0.5]).rule.shapes == ()


@pytest.mark.parametrize(("make", "words"), [
    (lambda: sme.Clipping(sme.SGD(), 0.0), "limit of clip.*> 0"), (lambda: sme.Clipping(sme.SGD(), 1.0, "entry"), "kind"),
    (lambda: sme.Clipping(sme.SignSGD(), 1.0), "reads the sign of the gradient"),
    (lambda: sme.derive(sme.Quadratic(), sme.Clipping(sme.SGD(), 1.0), "batch_equivalent")(0.1), "C₀/√τ")])
def test_refusals(make, words):
    with pytest.raises(sme.SMEError, match=words):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["norm", "value"])
def test_its_order_is_two(kind):
    problem = sme.Problem(lambda theta: (theta**4).sum() / 4, 1, sme.GaussianNoise(0.5 * torch.eye(1, dtype=DOUBLE)))
    found = sme.check_order(problem, sme.Clipping(sme.Momentum(), 0.6, kind))
    assert (found.proved, found.decided) == (2, True)
