"""Rules as people write them: what is expanded at their own rates and sizes, and why the others are not."""

import pytest
import torch

import sme
from sme.equations.derived.shifted.equation import ScaleFree, Shifted
from sme.equations.derived.step import Step
from sme.equations.registry import equation
from sme.optimizers.regimes import Gradient, RawGradientError, regime
from tests.support import models
from tests.support.few import few

V = {"v": 1.0}


def rule(body, fields=("theta",), defaults=None, nonnegative=(), rates=None):
    """An optimizer with this update."""
    own = {"update": lambda _, *inputs: body(*inputs), "fields": fields, "defaults": defaults or {}, "nonnegative": nonnegative}
    return type("Own", (sme.Optimizer,), own | ({"rates": lambda _: rates} if rates else {}))()


def moments(x, g, tau, c1=0.8, c2=0.6):
    return x["m"] + c1 * (g.step - tau * x["m"]), x["v"] + tau * c2 * (g.square - x["v"])


def belief(x, g, tau, t):
    m = x["m"] + 0.8 * (g.step - tau * x["m"])
    v = x["v"] + 0.6 * (tau * g.square - 2 * m * g.step + tau * m * m - tau * x["v"])
    return {"theta": x["theta"] - tau * m / (v.sqrt() + 0.2), "m": m, "v": v}


def centred(x, g, tau, t):
    m, v = moments(x, g, tau)
    return {"theta": x["theta"] - g.step / ((v - m * m).sqrt() + 0.2), "m": m, "v": v}


def coupled(x, g, tau, t):
    """RMSProp of the gradient of `f + ¼ |θ|²`, whose square has a product with gradient.step."""
    pull = 0.5 * x["theta"]
    v = x["v"] + 0.6 * (tau * g.square + 2 * pull * g.step + tau * pull * pull - tau * x["v"])
    return {"theta": x["theta"] - (g.step + tau * pull) / (v.sqrt() + 0.2), "v": v}


ALL = ("theta", "m", "v")
AFFINE = {"AdaBelief": rule(belief, ALL, {"m": 0.0, **V}, ("v",)), "centred": rule(centred, ALL, {"m": 0.0, "v": 3.0}, ("v",)),
          "coupled decay": rule(coupled, ("theta", "v"), V, ("v",))}


TWO, ONE = models.gaussian(True), models.line()


@pytest.mark.parametrize(("name", "problem"), few([*((name, TWO) for name in AFFINE), ("coupled decay", ONE)], 3))
def test_rules_that_are_affine_in_small_steps_are_expanded(name, problem):
    optimizer = AFFINE[name]
    at = {"theta": torch.tensor([0.6, -0.3]), "m": torch.tensor([0.2, 0.4]), "v": torch.tensor([1.9, 2.3])}
    found = sme.check_order(problem, optimizer, states={field: at[field][: problem.dim] for field in optimizer.fields})
    expected = found.moments["expected"]
    assert ((expected - found.moments["found"]).abs() <= 1e-6 * (1 + expected.abs())).all()
    assert found.proved == (1 if name == "centred" else 2)  # here m and v forget at two rates, so that steps lead past v = m²


SETTINGS = [(3e-4, (0.9, 0.95), 0.1), (2e-5, (0.85, 0.98), 0.05), (6e-3, (0.8, 0.9), 0.3)]


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize(("lr", "betas", "decay"), few(SETTINGS, 0))
def test_common_settings_are_expanded_at_their_own_rates(lr, betas, decay, scaling):
    """Rates from 50 to 3e8 per unit of time: without decay the closed form, with it a further −λθ at order 1."""
    problem = models.gaussian(False)
    x = torch.tensor([[0.4, -0.2, 0.1, 0.3, 0.7, 0.5]], dtype=torch.float64)
    adam, tau, *_ = sme.Hyperparameters("adam", lr, *betas, eps=1e-3).uncorrected(scaling)
    for order in (1, 2):
        closed = equation(problem, adam, regime(scaling), tau, order)
        assert not type(closed).__name__.startswith("Derived")
        torch.testing.assert_close(sme.derive(problem, adam, scaling, order)(tau).drift(0.0, x), closed.drift(0.0, x), rtol=1e-9,
                                   atol=0)
    adamw, tau, *_ = sme.Hyperparameters("adamw", lr, *betas, eps=1e-3, weight_decay=decay).uncorrected(scaling)
    pull = adamw.decay * torch.cat((x[:, :2], torch.zeros(1, 4, dtype=torch.float64)), -1)
    plain = equation(problem, adam, regime(scaling), tau, 1).drift(0.0, x)
    torch.testing.assert_close(sme.derive(problem, adamw, scaling, 1)(tau).drift(0.0, x), plain - pull, rtol=1e-9, atol=0)


def test_common_settings_have_a_regime_report():
    given = sme.Hyperparameters("adamw", 4e-4, 0.9, 0.95, weight_decay=0.1)
    found = sme.regime_report(sme.Quadratic(), given, torch.tensor([1.0, 0.5]), steps=60, compared=20)
    assert (found.errors["largest difference"].to_numpy() < [1e-3, 1e-4]).all()


def clipped(x, g, tau, t):
    m = x["m"] + g.step - tau * x["m"]
    return {"theta": x["theta"] - tau * m * torch.clamp(50.0 / m.norm(), max=1.0), "m": m}


def test_a_clip_that_only_large_states_meet_couples_coordinates():
    assert not Step(rule(clipped, ("theta", "m"), {"m": 0.0}), 3).separate
    assert Step(sme.Adam(), 3).separate


@pytest.mark.parametrize("limit", [30.0, 400.0])
def test_a_clip_of_the_raw_gradient_is_seen_however_wide(limit):
    def body(x, g, tau, t):
        return {"theta": x["theta"] - g.step * torch.clamp(limit / g.square.sum().sqrt(), max=1.0)}

    with pytest.raises(sme.SMEError, match=r"not affine.*sqrt, clamp"):
        Step(rule(body), 2)


def forgetting(x, g, tau, t):
    v = 0.97 * x["v"] + 0.03 * g.square
    return {"theta": x["theta"] - g.step / (v.sqrt() + 0.1), "v": v}


CAUSES = {
    "forgotten field": (rule(lambda x, g, tau, t: {"theta": x["theta"] - g.step}, ("theta", "buf"), {"buf": 0.0}),
                        ["does not return 'buf'"]),
    "extra field": (rule(lambda x, g, tau, t: {"theta": x["theta"] - g.step, "u": x["theta"]}), ["returns 'u'", "no field"]),
    "unnamed field": (rule(lambda x, g, tau, t: {"theta": x["theta"] - g.step - tau * x["u"]}), ["state['u']", "`fields`"]),
    "tuple": (rule(lambda x, g, tau, t: (x["theta"] - g.step,)), ["returned a tuple, not a dictionary"]),
    "shape": (rule(lambda x, g, tau, t: {"theta": (x["theta"] - g.step).sum()}), ["shape ()", "theta"]),
    "single": (rule(lambda x, g, tau, t: {"theta": x["theta"] - (g.step * 3.0).to(torch.float32)}), ["float32", "(in `to`)"]),
    "half": (rule(lambda x, g, tau, t: {"theta": x["theta"] - torch.tanh(g.step.half())}), ["float16"]),
    "nan": (rule(lambda x, g, tau, t: {"theta": x["theta"] - g.step * (1 - 0.9 ** (t / tau)) / (2 + t / tau)}),
            ["not a number at τ = 0", "t / tau"]),
    "maximum": (rule(lambda x, g, tau, t: {"theta": x["theta"] - g.step / x["top"].sqrt(), "v": moments({**x, "m": 0}, g, tau)[1],
                                           "top": torch.maximum(x["top"], x["v"])},
                     ("theta", "v", "top"), {**V, "top": 1.0}, ("v", "top")), ["top is a running maximum", "AMSGrad"]),
    "minimum": (rule(lambda x, g, tau, t: {"theta": x["theta"] - g.step * x["low"], "low": torch.minimum(x["low"], x["theta"])},
                     ("theta", "low"), {"low": 1.0}), ["low is a running minimum"]),
    "largest gradient": (rule(lambda x, g, tau, t: {"theta": x["theta"] - g.step / x["u"],
                                                    "u": torch.maximum((1 - tau) * x["u"], g.square.sqrt())},
                              ("theta", "u"), {"u": 1.0}, ("u",)), ["u is a running maximum of the gradients", "no limit"]),
    "fixed β": (rule(forgetting, ("theta", "v"), V, ("v",)), ["keeps the share 0.97", "1 − β = c τ", "memory=0"]),
    "rate": (rule(lambda x, g, tau, t: {"theta": x["theta"] - 0.03 * g.step / tau}),
             ["theta moves by a fixed number times the gradient", "learning rate"]),
    "previous": (rule(lambda x, g, tau, t: {"theta": x["theta"] - 1.4 * g.step + 0.4 * x["last"], "last": 1.0 * g.step},
                      ("theta", "last"), {"last": 0.0}), ["last keeps nothing of itself", "previous gradient is not offered"]),
    "another point": (rule(lambda x, g, tau, t: {"theta": x["theta"] - g.at(x["theta"] + g.step)}),
                      ["gradient.at is not offered", "gradient at another point (SAM"]),
    "Hessian": (rule(lambda x, g, tau, t: {"theta": x["theta"] - tau * g.hessian_product(x["theta"])}),
                ["gradient.hessian_product is not offered", "Hessian product"]),
    "unknown name": (rule(lambda x, g, tau, t: {"theta": x["theta"] - second_draw(g.step)}),
                     ["'second_draw' is not defined", "a second draw"]),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_has_its_own_message(cause):
    optimizer, said = CAUSES[cause]
    with pytest.raises(sme.SMEError) as caught:
        sme.derive(sme.Quadratic(), optimizer)(0.1)
    for words in said:
        assert words in str(caught.value)


RAW = {
    "norm": rule(lambda x, g, tau, t: {"theta": x["theta"] - tau * g.step / (g.step.norm() + 1e-11)}),
    "outer": rule(lambda x, g, tau, t: {"theta": x["theta"] - g.step * (x["w"] + 1), "w": x["w"] + g.step.square() / tau},
                  ("theta", "w"), {"w": 1.0}, ("w",)),
    "scaled": rule(lambda x, g, tau, t: {"theta": x["theta"] - g.unit * g.scaled.tanh()}),
}


@pytest.mark.parametrize("name", RAW)
def test_a_rule_of_the_raw_gradient_has_no_expansion_and_a_shifted_equation(name):
    with pytest.raises(RawGradientError, match="not affine"):
        Step(RAW[name], 2)
    assert isinstance(sme.derive(sme.Quadratic(), RAW[name])(0.1), Shifted)
    with pytest.raises(sme.SMEError, match=r"third and fourth moments of order τ² \(T₃, T₄\)"):
        sme.derive(sme.Quadratic(), RAW[name], regime="batch_equivalent")(0.1)
    family = sme.derive(sme.Quadratic(), RAW[name], regime="batch_equivalent", order=1)
    if name == "outer":  # its w moves by ĝ∘ĝ in one step
        with pytest.raises(sme.SMEError, match="grows without bound"):
            family(0.1)
    else:
        assert isinstance(family(0.1), ScaleFree)


def test_a_gradient_has_what_it_offers_and_nothing_else():
    one = torch.ones(2)
    assert not hasattr(Gradient(one, one), "previous")
    with pytest.raises(AttributeError, match="not offered"):
        _ = Gradient(one, one).raw


def bad_slope(x, g, tau, t):
    """A rule that hides a part of its rate from differentiation."""
    return {"theta": x["theta"] - g.step - 3e-6 * tau.detach() * x["theta"]} if isinstance(tau, torch.Tensor) else {
        "theta": x["theta"] - (1 + 3e-6) * g.step}


def bad_bend(x, g, tau, t):
    """The same of its second order, at a rate of 400."""
    late = tau.detach() if isinstance(tau, torch.Tensor) else tau
    m = x["m"] + 400 * (g.step - tau * x["m"])
    return {"theta": x["theta"] - tau * m * (1 + 2.0 * late), "m": m}


@pytest.mark.parametrize("body", [bad_slope, bad_bend])
def test_a_rule_that_is_not_near_its_expansion_is_refused(body):
    fields = ("theta", "m") if body is bad_bend else ("theta",)
    with pytest.raises(sme.SMEError, match="not near its expansion"):
        Step(rule(body, fields, {"m": 0.0}), 2)
