"""Where an equation in powers of τ can be trusted: eigenvalues of the mean step, by hand."""

import warnings

import numpy as np
import pytest
import torch

import sme
from sme.cli import command
from sme.convergence.estimator import paired
from sme.convergence.spec.specification import Specification
from sme.simulate import stability

CURVATURES = torch.tensor([3.0, 0.5], dtype=torch.float64)
START = {"theta": torch.tensor([1.0, 0.5])}


def quadratic():
    return sme.Problem(lambda theta: 0.5 * (CURVATURES * theta**2).sum(), 2, sme.GaussianNoise(factor=[[0.1, 0], [0, 0.1]]))


def seen(problem, optimizer, tau, horizon=1.0, start=START, regime="ballistic"):
    spec = Specification.of(problem, optimizer, regime, "independent", horizon, start, None, None)
    return stability.stability(spec.setup(1, spec.steps(tau)))


@pytest.mark.parametrize("regime", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize("tau", [1 / 16, 1 / 2, 1.0])
def test_sgd_has_step_size_times_curvature(tau, regime):
    found = seen(quadratic(), sme.SGD(), tau, regime=regime)
    assert found.radius == pytest.approx(3 * tau, rel=1e-12)
    assert found.growth == pytest.approx(max(abs(1 - 3 * tau), 1 - 0.5 * tau), rel=1e-12)
    assert found.trusted == (tau < 1 / 3)
    assert found.stable == (tau <= 2 / 3)


def two_by_two(trace, determinant):
    root = np.sqrt(complex(trace**2 - 4 * determinant))
    return np.array([(trace + root) / 2, (trace - root) / 2])


@pytest.mark.parametrize("tau", [1 / 8, 1 / 2])
def test_momentum_and_adam_have_the_eigenvalues_of_their_linear_steps(tau):
    c, eps = 0.8, 0.1
    # (m, θ): m' − m = cτ (a θ − m), θ' − θ = −τ p m', so trace −cτ − cτ² p a and determinant cτ² p a
    blocks = [two_by_two(-c * tau - c * tau**2 * a, c * tau**2 * a) for a in CURVATURES.tolist()]
    assert seen(quadratic(), sme.Momentum(c=c), tau).radius == pytest.approx(abs(np.concatenate(blocks)).max(), rel=1e-9)
    # at the minimum with no momentum v does not couple to the rest: its own eigenvalue is −c₂τ
    p = 1 / (np.sqrt(0.25) + eps)
    start = {"theta": torch.zeros(2), "v": torch.full((2,), 0.25)}
    adam = sme.Adam(c1=c, c2=1.9, eps=eps)
    blocks = [two_by_two(-c * tau - c * tau**2 * p * a, c * tau**2 * p * a) for a in CURVATURES.tolist()]
    values = np.concatenate([*blocks, [-1.9 * tau]])
    found = seen(quadratic(), adam, tau, horizon=tau, start=start)
    assert found.radius == pytest.approx(abs(values).max(), rel=1e-9)
    assert found.growth == pytest.approx(abs(1 + values).max(), rel=1e-9)


def test_a_rule_of_signs_has_the_slope_of_its_mean():
    # E sign(aθ + σz) = erf(aθ/σ√2) has the slope a √(2/π)/σ at 0
    found = seen(quadratic(), sme.SignSGD(), 1 / 16, start={"theta": torch.zeros(2)})
    assert found.radius == pytest.approx(3 / 16 * np.sqrt(2 / np.pi) / 0.1, rel=1e-9)


@pytest.mark.parametrize("optimizer", [sme.SGD(), sme.Momentum(), sme.RMSProp()])
def test_a_large_state_has_the_same_radius(optimizer, monkeypatch):
    start = {"theta": torch.linspace(0.2, 1.0, 9)}
    dense = seen(sme.Quadratic(dim=9), optimizer, 1 / 4, start=start)
    monkeypatch.setattr(stability, "DENSE", 1)
    sparse = seen(sme.Quadratic(dim=9), optimizer, 1 / 4, start=start)
    assert sparse.radius == pytest.approx(dense.radius, rel=1e-3)
    assert sparse.growth == pytest.approx(dense.growth, rel=1e-3)


def test_a_run_that_blows_up_is_looked_at_while_it_is_finite():
    wild = sme.Problem(lambda theta: (theta**4).sum(), 1, sme.GaussianNoise(factor=[[0.1]]))
    found = seen(wild, sme.SGD(), 1.0, horizon=32.0, start={"theta": torch.tensor([1.0])})
    assert found.radius >= 12
    assert not found.stable


def warned(optimizer, taus, horizon=1.0, start=START, model="sme", orders=(1, 2)):
    spec = Specification.of(quadratic(), optimizer, "ballistic", "independent", horizon, start, None, None, model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        stability.warn([spec.setup(order, spec.steps(tau)) for order in orders for tau in taus])
    return [str(each.message) for each in caught if each.category is UserWarning]


def test_every_step_size_outside_is_named_once():
    (said,) = warned(sme.SGD(), [1, 1 / 2, 1 / 4])
    assert said == ("tau = 1, 0.5: step size × curvature (the spectral radius of one step) is 3 at t = 0, 1.5 at t = 0.5; an "
                    "equation in powers of tau can only be trusted below 1: use tau below about 0.33, or model='midpoint', "
                    "which is stable where the discrete run is; "
                    "at tau = 1 the discrete run itself is unstable")
    assert warned(sme.SGD(), [1 / 4, 1 / 8]) == []


def test_of_the_midpoint_equation_it_is_said_what_holds_there():
    (said,) = warned(sme.SGD(), [1 / 2, 1 / 4], model="midpoint", orders=(2,))
    assert "stable where the discrete run is" in said
    assert "its rate is another one: use tau below about 0.33" in said
    assert "model=" not in said


@pytest.mark.parametrize("edge", [1.98, 2.02])
def test_the_midpoint_equation_is_stable_where_the_run_is(edge):
    tau = edge / 3
    spec = Specification.of(quadratic(), sme.SGD(), "ballistic", None, tau, START, None, None, "midpoint")
    one = spec.setup(2, 1).equation()
    slope = one.drift(0.0, torch.eye(2, dtype=torch.float64))[0, 0]
    assert (slope < 0) == seen(quadratic(), sme.SGD(), tau, horizon=tau).stable == (edge < 2)


def test_a_long_horizon_may_lead_to_where_the_steps_are_too_large():
    start = {"theta": torch.tensor([0.3, 0.3]), "v": torch.ones(2)}
    assert warned(sme.RMSProp(), [1 / 4], 1.0, start) == []
    assert "0.25" in warned(sme.RMSProp(), [1 / 4], 8.0, start)[0]


def test_growth_that_the_equation_shares_is_no_instability():
    # f = cos: at its maximum λ = τ > 0, and flow and run both leave it
    hill = sme.Problem(lambda theta: theta.cos().sum(), 1, sme.GaussianNoise(factor=[[0.1]]))
    found = seen(hill, sme.SGD(), 1.0, start={"theta": torch.zeros(1)})
    assert found.radius == pytest.approx(1)
    assert found.stable
    assert not found.trusted


def test_a_study_warns_and_goes_on(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 16)
    with pytest.warns(UserWarning, match="can only be trusted below 1: use tau below about 0.33"):
        study = sme.weak_error(quadratic(), sme.SGD(), tau=1 / 2, start=START, paths=1, order=1, brownian="none")
    assert len(study.errors) == 3


def test_the_command_line_prints_a_warning_as_one_plain_line():
    said = []
    command.cli(lambda: said.append(warnings.formatwarning("too large", UserWarning, __file__, 1)))
    assert said == ["warning: too large\n"]
    assert __file__ in warnings.formatwarning("too large", UserWarning, __file__, 1)


@pytest.mark.parametrize("dense", [stability.DENSE, 1])
def test_a_jacobian_that_is_not_finite_is_not_judged(dense, monkeypatch):
    """`√v` at v = 0 without a floor."""
    monkeypatch.setattr(stability, "DENSE", dense)
    start = {**START, "v": torch.zeros(2)}
    assert np.isnan(seen(quadratic(), sme.RMSProp(v_floor=0.0), 1 / 16, horizon=1 / 16, start=start).radius)
