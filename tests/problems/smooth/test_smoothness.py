"""What is not smooth about a rule or a loss, found in their graphs and judged by one-sided values and slopes of the mean step."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import sme
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT
from sme.problems.smooth.obstacles import obstacles
from tests.support.few import few
from tests.support.paper_rules import WithMomentum

F = nn.functional
NOISE = sme.GaussianNoise([[0.3]])
BOWL = sme.Problem(lambda theta: (0.7 * theta * theta).sum(), 1, NOISE)


@dataclass(frozen=True)
class Shaped(WithMomentum):
    """A step of some function of the average of gradients."""

    c: float = 0.8

    def shape(self, m):
        return m

    def update(self, state, gradient, tau, t):
        m = state["m"] + self.c * (gradient.step - tau * state["m"])
        return {"theta": state["theta"] - tau * self.shape(m), "m": m}


def rule(shape):
    return dataclass(frozen=True)(type("Shape", (Shaped,), {"shape": lambda self, m: shape(m)}))()


def line(*ends, steps=24, until=1.5):
    """Three paths that run straight from one state to another, the noisy ones a little beside the first."""
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64).unsqueeze(1)
    first, last = (torch.tensor(end, dtype=torch.float64) for end in ends)
    path, t = first + share * (last - first), until * share.squeeze(1)
    wave = 0.01 * torch.sin(40 * share)
    return [(t, path), (t, path + wave), (t, path - wave)]


JUMPING = {
    "sign": torch.sign, "unit": lambda m: m / m.abs(), "floor": lambda m: torch.floor(3 * m), "ceil": torch.ceil,
    "round": lambda m: torch.round(2 * m), "trunc": lambda m: m - torch.trunc(7 * m), "frac": lambda m: torch.frac(5 * m),
    "hardshrink": lambda m: F.hardshrink(m, 0.15), "signs": lambda m: torch.sgn(m - 0.07),
    "where": lambda m: torch.where(m > 0.1, m, 2 * m), "mask": lambda m: m * (m > -0.2),
    "step": lambda m: m * (m - 0.05 >= 0).double(),
    "remainder": lambda m: torch.remainder(m, 0.17), "threshold": lambda m: F.threshold(m, 0.1, -0.3),
    "root": lambda m: m / torch.sqrt(m * m), "norm": lambda m: m / m.norm(p=2), "whole": lambda m: m + (9 * m).to(torch.int64),
    "bucket": lambda m: m + torch.bucketize(m, torch.tensor([-0.1, 0.2], dtype=torch.float64)),
    "ratio": lambda m: torch.maximum(m, -m) / m, "slope": lambda m: m * torch.where(torch.logical_and(m > 0, m < 0.3), 1.0, 1.4),
}
KINKED = {
    "clamp": lambda m: m.clamp(-0.21, 0.13), "abs": torch.abs, "maximum": lambda m: torch.maximum(m, 0.3 * m), "relu": torch.relu,
    "where": lambda m: torch.where(m > 0.1, m, 0.1 + 2 * (m - 0.1)), "hardtanh": lambda m: F.hardtanh(m, -0.11, 0.17),
    "softshrink": lambda m: F.softshrink(m, 0.12), "leaky_relu": lambda m: F.leaky_relu(m, 0.2), "elu": lambda m: F.elu(m, 0.4),
    "sqrt": lambda m: torch.sqrt(m * m),
}
SMOOTH = {
    "square": lambda m: m * m.abs(), "gate": lambda m: torch.where(m > 0, m * m, -2 * m * m), "cube": lambda m: m**3,
    "relu squared": lambda m: torch.relu(m) ** 2 + m, "same": lambda m: torch.where(m > 0.1, m, 1 * m),
    "far": lambda m: m.clamp(-9, 9), "softplus": F.softplus, "celu": lambda m: F.celu(m) * m,
    "eps": lambda m: m / (m * m).sum().sqrt().clamp(min=1e-12) * m.abs(),
}


@pytest.mark.parametrize("name", few(JUMPING, "sign", "floor", "mask", "root", "ratio"))
def test_where_the_mean_step_of_a_rule_jumps_the_order_is_one(name):
    worst, *_ = obstacles(BOWL, rule(JUMPING[name]), BALLISTIC, line([0.4, 0.41], [-0.1, -0.33]))
    assert (worst.kind, worst.order, worst.most) == ("jump", 1, 1)
    assert worst.operation.endswith("in the update rule")
    assert 0 < worst.where[0] < 1.5
    anywhere = obstacles(BOWL, rule(JUMPING[name]), BALLISTIC)
    assert anywhere[0].order == 1


@pytest.mark.parametrize("name", few(KINKED, "clamp", "maximum", "softshrink", "sqrt"))
def test_a_kink_of_a_rule_keeps_order_two_where_it_is_crossed(name):
    worst, *_ = obstacles(BOWL, rule(KINKED[name]), BALLISTIC, line([0.4, 0.41], [-0.1, -0.33]))
    assert (worst.kind, worst.order, worst.most) == ("kink", 2, 2)
    anywhere = obstacles(BOWL, rule(KINKED[name]), BALLISTIC)[0]
    assert (anywhere.kind, anywhere.order, anywhere.most, anywhere.where) == ("kink", 1.5, 2, None)


def test_a_kink_that_the_run_rests_on_leaves_three_halves():
    leaky = rule(lambda m: torch.maximum(m, 0.3 * m))
    worst, *_ = obstacles(BOWL, leaky, BALLISTIC, line([0.0, 0.0], [0.0, 0.0]))
    assert (worst.kind, worst.order) == ("rest", 1.5)
    assert "maximum in the update rule makes a kink of the mean step, and the run rests there, where" in str(worst)


@pytest.mark.parametrize("name", few(SMOOTH, "square", "gate", "same", "far"))
def test_what_has_one_continuous_derivative_is_no_obstacle(name):
    assert obstacles(BOWL, rule(SMOOTH[name]), BALLISTIC, line([0.4, 0.41], [-0.1, -0.33])) == []


@pytest.mark.parametrize("run", [True, False])
@pytest.mark.parametrize(("more", "kinds"), [(0.0, {"jump"}), (4e-7, set())])
def test_a_root_whose_number_stays_above_zero_by_a_little_is_smooth(more, kinds, run):
    turned = rule(lambda m: m / (m.square().sum() + more).sqrt())
    found = obstacles(BOWL, turned, BALLISTIC, line([0.4, 0.4], [-0.2, -0.2]) if run else None)
    assert {each.kind for each in found} == kinds


LOSSES = {
    "abs": (lambda z: 3 * z + z.abs(), "jump"), "relu": (lambda z: 0.2 * z * z + torch.relu(z), "jump"),
    "clamp": (lambda z: z.clamp(-0.2, 0.1) + z, "jump"), "hinge": (lambda z: torch.relu(0.2 - z), "jump"),
    "maximum": (lambda z: torch.maximum(z, 0.4 * z), "jump"), "norm": (lambda z: z.norm(p=1), "jump"),
    "sqrt": (lambda z: torch.sqrt(z * z), "jump"), "where": (lambda z: torch.where(z > 0, z, 0.1 * z), "jump"),
    "square": (lambda z: z * z.abs(), "kink"), "relu squared": (lambda z: torch.relu(z) ** 2, "kink"),
    "huber": (lambda z: F.huber_loss(z, 0 * z, delta=0.1), "kink"), "celu": (F.celu, "kink"), "softsign": (F.softsign, "kink"),
    "cube": (lambda z: z * z * z.abs(), None),
}


@pytest.mark.parametrize("name", few(LOSSES, "abs", "hinge", "where", "square", "huber", "cube"))
def test_of_a_loss_it_is_the_gradient_that_counts(name):
    loss, kind = LOSSES[name]
    problem = sme.Problem(lambda theta: loss(theta).sum(), 1, NOISE)
    found = obstacles(problem, sme.SGD(), BALLISTIC, line([0.35], [-0.27]))
    assert [each.kind for each in found] == ([] if kind is None else [kind])
    assert all(each.operation.endswith("in the loss") for each in found)


@pytest.mark.parametrize("power", few([1.2, 1.4, 1.8], 2))
@pytest.mark.parametrize("side", [lambda z: z.abs(), torch.relu], ids=["both", "one"])
def test_a_slope_that_has_no_limit_is_not_decided(power, side):
    """The gradient of `|z|^p` is continuous, and its slope grows beyond all bounds on the two sides alike."""
    problem = sme.Problem(lambda theta: (theta + side(theta - 0.11) ** power).sum(), 1, NOISE)
    for run in (line([0.35], [-0.27]), None):
        found = obstacles(problem, sme.SGD(), BALLISTIC, run)
        assert {(each.kind, each.order, each.most) for each in found} == {("undecided", 1, 2)}
    smoother = sme.Problem(lambda theta: (theta + side(theta - 0.11) ** (power + 1)).sum(), 1, NOISE)
    assert all(each.order == 2 for each in obstacles(smoother, sme.SGD(), BALLISTIC, line([0.35], [-0.27])))


def test_the_place_and_the_time_are_named():
    problem = sme.Problem(lambda theta: (theta * theta + 2 * (theta - 0.125).abs()).sum(), 1, NOISE)
    found, = obstacles(problem, sme.SGD(), BALLISTIC, line([0.35], [-0.25]))
    assert str(found).startswith("torch.abs in the loss makes the mean step jump where theta = 0.125 (met at t ≈ 0.5")
    assert obstacles(problem, sme.SGD(), BALLISTIC, line([0.85], [0.15])) == []


def test_noise_may_jump_where_the_drift_may_only_have_a_kink():
    stairs = sme.GaussianNoise(lambda theta: (0.2 + 0.1 * torch.sign(theta - 0.1))[:, None])
    problem = sme.Problem(lambda theta: (theta * theta).sum(), 1, stairs)
    run = line([0.35], [-0.25])
    assert [each.order for each in obstacles(problem, sme.SGD(), BALLISTIC, run)] == [2]
    assert obstacles(problem, sme.SGD(), BATCH_EQUIVALENT, run)[0].order == 0.5
    run = line([0.35, 0.5], [-0.25, 0.5])
    assert obstacles(problem, sme.RMSProp(), BALLISTIC, run)[0].order == 1  # the variance is in the drift of v


def test_large_noise_makes_a_kink_cost_an_order():
    leaky, run = rule(lambda m: torch.maximum(m, 0.3 * m)), line([0.4, 0.41], [-0.1, -0.33])
    assert obstacles(BOWL, leaky, BATCH_EQUIVALENT, run)[0].order == 1


def test_the_losses_of_single_examples_are_searched():
    x = torch.tensor([-0.4, 0.1, 0.2], dtype=torch.float64)
    law = sme.MinibatchNoise(lambda theta, x: (theta[0] - x).abs(), (x,), batch_size=2)
    problem = sme.Problem(lambda theta: (theta[0] - x).abs().mean(), 1, law)
    assert obstacles(problem, sme.SGD(), BALLISTIC, line([0.35], [-0.25]))[0].order == 1
    assert obstacles(problem, sme.SignSGD(), BALLISTIC, line([0.35], [-0.25]))[0].order == 1


def test_a_loss_that_overflows_far_out_hides_no_jump():
    steep = sme.Problem(lambda theta: torch.exp(theta * theta).sum(), 2, sme.GaussianNoise(torch.eye(2)))
    assert [each.order for each in obstacles(steep, sme.Signum(), BALLISTIC)] == [1]


def test_what_cannot_be_traced_is_not_decided():
    found, = obstacles(BOWL, rule(lambda m: m if float(m.sum()) > 0 else 2 * m), BALLISTIC, line([0.4, 0.41], [-0.1, -0.33]))
    assert (found.kind, found.order, found.most) == ("undecided", 1, 2)
    assert "cannot be searched" in str(found)


@pytest.mark.parametrize(("share", "kept"), [(0.7, True), (0.45, False)])
def test_the_end_of_a_domain_counts_unless_every_step_leads_away_from_it(share, kept):
    """`v − m²` stays positive where `m` and `v` forget alike, `(g − m)²` being no less than 0, and else need not."""
    def centred(x, g, tau, t):
        m, v = x["m"] + share * (g.step - tau * x["m"]), x["v"] + 0.7 * tau * (g.square - x["v"])
        return {"theta": x["theta"] - g.step / ((v - m * m).sqrt() + 0.3), "m": m, "v": v}

    @dataclass(frozen=True)
    class Centred(sme.Optimizer):
        fields = ("theta", "m", "v")
        defaults = {"m": 0.0, "v": 1.0}  # noqa: RUF012
        nonnegative = ("v",)

        def update(self, state, gradient, tau, t):
            return centred(state, gradient, tau, t)

    assert (obstacles(BOWL, Centred(), BALLISTIC) == []) == kept


@pytest.mark.parametrize("loss", [
    lambda z: (z * z + torch.heaviside(z, torch.tensor(0.3, dtype=z.dtype))).sum(),
    lambda z: torch.special.zeta(z * z + 2, z * z + 1).sum(), lambda z: z.square().sum() * z[0].item(),
    lambda z: z * z, lambda z: z.sum() + torch.ones(3, dtype=z.dtype) @ z,
], ids=["heaviside", "zeta", "item", "no scalar", "shapes"])
def test_what_torch_cannot_differentiate_is_said_in_one_line(loss):
    problem = sme.Problem(loss, 2, sme.GaussianNoise(0.2 * torch.eye(2)))
    for ask in (lambda: sme.check_order(problem, sme.SGD()), lambda: sme.derive(problem, sme.Momentum(c=0.7))):
        with pytest.raises(sme.SMEError, match=r"^the loss (cannot be evaluated|must return a scalar)[^\n]*$"):
            ask()


def test_numbers_of_as_many_as_there_are_values_are_refused_in_one_line():
    problem = sme.Problem(lambda theta: torch.bincount((4 * theta).long().clamp(0)).double().sum() + theta.square().sum(), 2,
                          sme.GaussianNoise([[0.3, 0.0], [0.0, 0.2]]))
    with pytest.raises(sme.SMEError, match="it must make as many numbers on every path"):
        sme.check_order(problem, sme.SGD())


def test_an_unknown_operation_is_not_decided():
    loss = sme.Problem(lambda theta: theta.square().sum() + torch.special.bessel_j0(theta).sum().detach(), 3,
                       sme.GaussianNoise(torch.eye(3)))
    assert [each.kind for each in obstacles(loss, sme.SGD(), BALLISTIC)] == ["undecided"]


def test_signum_loses_an_order_only_where_it_rests():
    signum = sme.Signum(c=0.6)
    crossed, = obstacles(BOWL, signum, BALLISTIC, line([0.4, 0.41], [-0.1, -0.33]), shifted=True)
    rests, = obstacles(BOWL, signum, BALLISTIC, line([0.0, 0.0], [0.0, 0.0]), shifted=True)
    anywhere, = obstacles(BOWL, signum, BALLISTIC, shifted=True)
    assert [(each.order, each.most) for each in (crossed, rests, anywhere)] == [(2, 2), (1, 1), (1, 2)]
    assert obstacles(BOWL, signum, BALLISTIC, line([0.4, 0.41], [-0.1, -0.33]))[0].order == 1


OPTIMIZERS = [sme.SGD(), sme.Momentum(), sme.Nesterov(), sme.AdaGrad(), sme.RMSProp(v_floor=0.3), sme.RMSPropW(),
              sme.Adam(bias_correction=True, t0=2.0), sme.Adam(denominator="updated", eps_mode="inside"), sme.Adam(v_floor=0.0),
              sme.AdamW(), sme.AdaBayes(), sme.AdaBayesFilter(), sme.SignSGD()]
GROWING = sme.GaussianNoise(lambda theta: torch.diag(torch.sqrt(0.2 + theta * theta)))
FINE = [sme.Quadratic(), sme.Polynomial(), sme.Wells(noise="gaussian"), sme.Problem(
    lambda theta: (torch.log(torch.cosh(theta)) + F.softplus(theta)).sum(), 2, GROWING)]


@pytest.mark.parametrize("optimizer", few(OPTIMIZERS, 4), ids=lambda optimizer: optimizer.name)
@pytest.mark.parametrize("problem", few(FINE, 1),
                         ids=lambda problem: problem.name)
def test_smooth_rules_on_smooth_problems_have_no_obstacle(optimizer, problem):
    for regime in (BALLISTIC, BATCH_EQUIVALENT):
        assert obstacles(problem, optimizer, regime) == []


@dataclass(frozen=True)
class WarmedUp(sme.RMSProp):
    """A rate that rises from 0 up to a time, and falls from 1, or from a little more, after it."""

    warm: float = 0.3
    more: float = 0.0

    def update(self, state, gradient, tau, t):
        new, t = super().update(state, gradient, tau, t), torch.as_tensor(t, dtype=torch.float64)
        rate = torch.where(t < self.warm, t / self.warm, self.more + 1 / (1 + (t - self.warm).square() + t - self.warm))
        return {**new, "theta": state["theta"] + rate * (new["theta"] - state["theta"])}


@pytest.mark.parametrize(("more", "order"), [(0.0, 2.0), (0.2, 1.0)])
def test_the_end_of_a_warm_up_is_passed_at_once_by_every_run(more, order):
    """A kink in time alone costs nothing, a jump an order; at the start, where the rate is 0, rounding is no term."""
    found = sme.check_order(sme.Quadratic(dim=1), WarmedUp(more=more))
    assert found.proved == order, found.obstacle
