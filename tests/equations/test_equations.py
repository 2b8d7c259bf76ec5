"""Every closed form against the chain it models, by the deterministic one-step moment test."""

import pytest
import torch

import sme
from sme.equations.chain import Chain
from sme.equations.order.one_step import residual
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from tests.support import models
from tests.support.third_moments import obstruction

TAU = 2.0**-9
SGD, RMS, ADAM = sme.SGD(), sme.RMSProp(c=0.7), sme.Adam(c1=0.9, c2=0.6)
RMS_NEW, ADAM_NEW = sme.RMSProp(c=0.7, denominator="updated"), sme.Adam(c1=0.9, c2=0.6, denominator="updated")
ADAM_BIAS = sme.Adam(c1=0.9, c2=0.6, bias_correction=True, t0=1.5)
ADAM_CLOCK = sme.Adam(c1=0.9, c2=0.6, bias_correction=True, t0=1.0, clock=(2, 1), denominator="updated")
ADAMW_BIAS = sme.AdamW(c1=0.9, c2=0.6, bias_correction=True, t0=1.5, decay=0.7)
OPTIMIZERS = {"sgd": SGD, "rmsprop": RMS, "rmsprop-updated": RMS_NEW, "adam": ADAM, "adam-updated": ADAM_NEW,
              "adam-corrected": ADAM_BIAS, "adam-corrected-updated": ADAM_CLOCK,
              "adamw-corrected": ADAMW_BIAS}
PROBLEMS = {"constant": models.gaussian(False), "varying": models.gaussian(True),
            "batch-of-1": models.minibatch(1), "batch-of-2": models.minibatch(2)}


def ratios(optimizer, problem, scaling, order, tau=TAU, correct=None, phi=models.smooth, brownian="independent"):
    """Residual at τ over residual at τ/2, for every test function."""
    x, found = models.state(optimizer), []
    for step in (tau, tau / 2):
        eq = equation(problem, optimizer, regime(scaling), step, order, brownian)
        chain = Chain(problem, optimizer, regime(scaling), step)
        rest = residual(chain, eq, x, phi, optimizer.t0)
        found.append(rest - step**2 * correct(problem, eq, x, phi) if correct else rest)
    return found[0] / found[1]


def assert_order(ratio, order):
    low, high = {1: (3.4, 4.6), 2: (6.0, 10.0)}[order]
    assert ((ratio > low) & (ratio < high)).all(), ratio


BALLISTIC = [(name, noise, order) for name in OPTIMIZERS
             for noise, order in (*((noise, 2) for noise in PROBLEMS), ("varying", 1), ("batch-of-2", 1))
             if "corrected" not in name or (noise, order) in (("varying", 2), ("batch-of-2", 2), ("varying", 1))]


SLOW = pytest.mark.slow


def kept(cases, left):
    """All cases, some by default in the slow run alone: others have the same terms."""
    return [pytest.param(*each, marks=SLOW) if each in left else each for each in cases]


LEFT = [("adam-corrected", "batch-of-2", 2), *((name, "constant", 2) for name in OPTIMIZERS if name != "sgd"),
        *((name, "batch-of-1", 2) for name in OPTIMIZERS if not name.endswith("p"))]
"""constant noise is a case of varying noise, and a batch of one of batches"""


@pytest.mark.parametrize(("name", "noise", "order"), kept(BALLISTIC, LEFT))
def test_ballistic_equation_has_its_order(name, noise, order):
    assert_order(ratios(OPTIMIZERS[name], PROBLEMS[noise], "ballistic", order), order)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ode_has_order_one_in_the_ballistic_regime(name):
    assert_order(ratios(OPTIMIZERS[name], PROBLEMS["varying"], "ballistic", 1, brownian="none"), 1)


@pytest.mark.parametrize("noise", ["constant", "varying"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_batch_equivalent_equation_has_order_one(name, noise):
    assert_order(ratios(OPTIMIZERS[name], PROBLEMS[noise], "batch_equivalent", 1), 1)


def test_batch_equivalent_sgd_has_order_two():
    assert_order(ratios(SGD, PROBLEMS["constant"], "batch_equivalent", 2), 2)


@pytest.mark.parametrize(("name", "noise"), kept(
    [(name, "constant") for name in OPTIMIZERS if name != "sgd"]
    + [(name, "varying") for name in OPTIMIZERS if name.startswith("adam")],
    [("adam-corrected", "varying"), *((name, "constant") for name in OPTIMIZERS if "corrected" in name)]))
def test_the_obstruction_is_all_that_keeps_batch_equivalent_equations_from_order_two(name, noise):
    optimizer, problem = OPTIMIZERS[name], PROBLEMS[noise]
    assert_order(ratios(optimizer, problem, "batch_equivalent", 2, correct=obstruction), 2)
    uncorrected = ratios(optimizer, problem, "batch_equivalent", 2)
    assert ((uncorrected > 3.4) & (uncorrected < 4.6)).any(), uncorrected


CORRECTED = {"bias_correction": True, "t0": 0.75}
PAIRS = [(sme.RMSProp, sme.RMSPropW, {"c": 0.7}), (sme.Adam, sme.AdamW, {"c1": 0.9, "c2": 0.6}),
         (sme.Adam, sme.AdamW, {"c1": 1.7, "c2": 0.6, **CORRECTED}),
         (sme.Adam, sme.AdamW, {"c1": 0.4, "c2": 0.6, "clock": (2, 1), **CORRECTED})]


INSIDE = {"denominator": "updated", "eps_mode": "inside"}


@pytest.mark.parametrize(("options", "scaling"), [
    ({"denominator": "updated"}, "ballistic"), ({"denominator": "previous"}, "batch_equivalent"),
    *(pytest.param(*each, marks=SLOW) for each in (
        ({"denominator": "previous"}, "ballistic"), ({"denominator": "updated"}, "batch_equivalent"),
        (INSIDE, "ballistic"), (INSIDE, "batch_equivalent"))),
], ids=lambda each: each if isinstance(each, str) else "-".join(each.values()))
def test_one_rule_has_one_equation(options, scaling):
    """Without decay, at step sizes that are not small, where two equations of order 2 would differ."""
    for plain, decoupled, given in PAIRS:
        for noise, order, tau in (("constant", 2, 0.25), ("varying", 1, 0.25), ("constant", 2, 0.125)):
            both = [equation(PROBLEMS[noise], each, regime(scaling), tau, order, "step_memory")
                    for each in (plain(**given, **options), decoupled(**given, **options, decay=0.0))]
            x = models.state(both[0].optimizer)[None]
            dW, y = torch.randn((2, 1, both[0].motions), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
            for t in (0.75, 1.75):
                values = [(eq.drift(t, x), eq.diffuse(t, x, dW), eq.memory(t, x, y, dW)) for eq in both]
                for one, other in zip(*values, strict=True):
                    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


def test_equations_refuse_what_has_no_order():
    for optimizer, problem, scaling, order, brownian, word in [
        (RMS, PROBLEMS["batch-of-2"], "batch_equivalent", 2, "independent", "skewed"),
        (RMS, PROBLEMS["varying"], "batch_equivalent", 2, "independent", "step_memory"),
        (RMS, PROBLEMS["constant"], "batch_equivalent", 1, "none", "no order"),
        (RMS, PROBLEMS["constant"], "ballistic", 2, "none", "order 1 only"),
        (RMS, PROBLEMS["constant"], "ballistic", 3, "independent", "1 or 2"),
    ]:
        with pytest.raises(sme.SMEError, match=word):
            equation(problem, optimizer, regime(scaling), 0.1, order, brownian)


def test_closed_form_derivatives_agree_with_differentiated_losses():
    torch.manual_seed(0)
    for problem in (sme.Quadratic(3, seed=1), sme.Polynomial(), sme.Logistic(features=4, examples=50)):
        plain = sme.Problem(problem._loss, problem.dim, problem.noise)
        theta, u, w = (torch.randn(5, problem.dim, dtype=torch.float64) for _ in range(3))
        for name, arguments in {"loss": (), "gradient": (), "hessian": (u,), "third": (u, w)}.items():
            mine, theirs = (getattr(each, name)(theta, *arguments) for each in (problem, plain))
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
