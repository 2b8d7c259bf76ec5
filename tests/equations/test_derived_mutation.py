"""A wrong derivation must fail: a dropped term or a flipped sign in its source, one at a time."""

import inspect
import sys
from dataclasses import dataclass

import pytest
import torch

import sme
from sme.equations import registry
from sme.equations.derived import ballistic, batch_equivalent, expectation, second_order
from tests.equations.test_equations import assert_order, ratios
from tests.support import models


@dataclass(frozen=True)
class Filter(sme.Optimizer):
    """A variance that each gradient shrinks, `1/v' = 1/v + τ q`: the one rule here whose increments are quartic in the noise."""

    fields = ("theta", "v")
    defaults = {"v": 1.0}  # noqa: RUF012
    nonnegative = ("v",)

    def update(self, state, gradient, tau, t):
        v = state["v"] / (1 + tau * gradient.square * state["v"])
        return {"theta": state["theta"] - gradient.step * v, "v": v}


NOISE = {"constant": models.gaussian(False), "varying": models.gaussian(True), "batch-of-1": models.minibatch(1)}
@dataclass(frozen=True)
class Scheduled(sme.Optimizer):
    """SGD whose step changes with time."""

    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - (1 + 0.5 * torch.cos(torch.as_tensor(3 * t + 1))) * gradient.step}


RULES = {"rmsprop": sme.RMSPropW(c=0.7), "rmsprop-updated": sme.RMSPropW(c=0.7, denominator="updated"),
         "adam": sme.AdamW(c1=0.9), "momentum": sme.Momentum(c=0.8), "adagrad-updated": sme.AdaGrad(denominator="updated"),
         "scheduled": Scheduled(), "filter": Filter(),
         "mixed": sme.RMSProp(c=0.7, eps_mode="inside", denominator="updated")}
BALLISTIC, BATCH, CURVE, EXPECT = (module.__name__ for module in (ballistic, batch_equivalent, second_order, expectation))

MUTATIONS = [
    # module, as it is, mutated, rule, noise, regime, brownian
    (BALLISTIC, "bend - 0.5 * change", "bend", "rmsprop", "constant", "ballistic", "independent"),
    (BALLISTIC, "bend - 0.5 * change", "bend + 0.5 * change", "adam", "constant", "ballistic", "independent"),
    (BALLISTIC, "bend - 0.5 * change", "-0.5 * change", "rmsprop-updated", "constant", "ballistic", "independent"),
    (BALLISTIC, "self.leading(t + e, x + e * b)", "self.leading(t, x + e * b)", "scheduled", "constant", "ballistic",
     "independent"),
    (BALLISTIC, "g * g + variance(self.law, theta)", "g * g", "rmsprop", "constant", "ballistic", "independent"),
    (BALLISTIC, "square = square + self.second_noise", "square = square + 0 * self.second_noise", "rmsprop", "constant",
     "ballistic", "independent"),
    (BALLISTIC, "square = self.square_memory(", "square = 0.5 * self.square_memory(", "rmsprop", "constant",
     "ballistic", "step_memory"),
    (CURVE, "+ self.law.third(theta), x)", ", x)", "rmsprop-updated", "batch-of-1", "ballistic", "independent"),
    (CURVE, "self._second(t, x, g, q, zero, one) *", "0 *", "filter", "constant", "ballistic", "independent"),
    (CURVE, "return 0.5 * (self._by_moments", "return 0.25 * (self._by_moments", "mixed", "constant", "ballistic", "independent"),
    (BATCH, "0.5 * self._spread(self.leading, t, x)", "0 * x", "rmsprop", "constant", "batch_equivalent", "step_memory"),
    (BATCH, "fourth - 0.5 * change", "-0.5 * change", "rmsprop", "constant", "batch_equivalent", "step_memory"),
    (BATCH, "fourth - 0.5 * change", "fourth", "momentum", "varying", "batch_equivalent", "independent"),
    (BATCH, "total - 0.5 * self.expansion.slope(lambda e: self.leading(t, x + e * leading), x)", "total", "adam", "constant",
     "batch_equivalent", "step_memory"),
    (BATCH, "total - 0.5 * self.expansion.slope(lambda e: self.leading_noise(t + e, x + e * b, dW), x)", "total", "adam",
     "varying", "batch_equivalent", "step_memory"),
    (BATCH, "total - 0.25 * self._spread", "total - 0.5 * self._spread", "rmsprop", "varying", "batch_equivalent", "step_memory"),
    (BATCH, "total if self.fixed else total - 0.5 * self._memory_slope(t, x, dW, dW)", "total", "rmsprop", "varying",
     "batch_equivalent", "step_memory"),
    (BATCH, "total if self.additive else total - self._along(t, x, self.expansion.kick(t, x, past), dW)", "total", "rmsprop",
     "varying", "batch_equivalent", "step_memory"),
    (EXPECT, "sigma * (f2 - 4 * f1 + 3 * f0) / 4", "0 * f0", "filter", "constant", "batch_equivalent", "step_memory"),
    (EXPECT, "sigma * (f2 - 2 * f1) / 2", "0 * f1", "rmsprop-updated", "constant", "batch_equivalent", "step_memory"),
]


def proved(name, noise, scaling, brownian):
    return ratios(RULES[name], NOISE[noise], scaling, 2, brownian=brownian)


# two of three in the slow list, to keep the default run short
CASES = [pytest.param(*m, id=f"{m[3]}-{m[5]}-{i}", marks=[pytest.mark.slow] * (i % 3 > 0)) for i, m in enumerate(MUTATIONS)]


@pytest.mark.parametrize(("module", "right", "wrong", "name", "noise", "scaling", "brownian"), CASES)
def test_a_wrong_derivation_does_not_pass(module, right, wrong, name, noise, scaling, brownian, monkeypatch):
    source = inspect.getsource(sys.modules[module])
    assert source.count(right) >= 1, "the mutation no longer applies: the derivation was rewritten"
    mutant = type(sys)(module)
    exec(compile(source.replace(right, wrong), module, "exec"), mutant.__dict__)
    if module in (BALLISTIC, BATCH):
        kind = "DerivedBallistic" if module == BALLISTIC else "DerivedBatchEquivalent"
        monkeypatch.setattr(registry, kind, getattr(mutant, kind))
    elif module == CURVE:
        monkeypatch.setattr(ballistic, "Curvature", mutant.Curvature)
    else:
        monkeypatch.setattr(batch_equivalent, "Separate", mutant.Separate)
    with pytest.raises(AssertionError):
        assert_order(proved(name, noise, scaling, brownian), 2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "noise", "scaling", "brownian"), sorted({tuple(m[3:]) for m in MUTATIONS}))
def test_the_right_derivation_passes(name, noise, scaling, brownian):
    assert_order(proved(name, noise, scaling, brownian), 2)
