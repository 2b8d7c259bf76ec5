"""Wrong equations must fail: a dropped term, a flipped sign, a wrong scaling, one at a time.

Each mutation rewrites one expression in the source of an equation and asks the one-step moment
test, which every unchanged equation passes (test_equations.py), to notice.
"""

import importlib
import inspect
import sys

import pytest

from sme.equations.closed import known
from tests.equations import test_equations as equations

ADAM, RMS, SGD = "sme.equations.closed.adam", "sme.equations.closed.rmsprop", "sme.equations.closed.sgd"

MUTATIONS = [
    # module, as it is, mutated, optimizer, noise, regime
    (SGD, "-g - 0.5 * self.tau * self.problem.hessian(x, g) if", "-g if", "sgd", "constant", "ballistic"),
    (SGD, "-self.tau**0.5 *", "-self.tau *", "sgd", "constant", "ballistic"),
    (SGD, "- 0.5 * curvature(self.problem, x, 1.0)", "", "sgd", "constant", "batch_equivalent"),
    (SGD, "-noise - 0.5 * self.tau", "-noise + 0.5 * self.tau", "sgd", "constant", "batch_equivalent"),
    (RMS, "p.slope * g * b_v + p.value * h", "p.value * h", "rmsprop", "constant", "ballistic"),
    (RMS, "p.slope * g * b_v + p.value * h", "p.slope * g * b_v", "rmsprop", "constant", "ballistic"),
    (RMS, "2 * g * h - b_v", "2 * g * h + b_v", "rmsprop", "constant", "ballistic"),
    (RMS, "if not self.law.constant:", "if False:", "rmsprop", "varying", "ballistic"),
    (RMS, "3 * sigma - v) + kappa", "2 * sigma - v) + kappa", "rmsprop-updated", "constant", "ballistic"),
    (RMS, "+ kappa)", ")", "rmsprop-updated", "batch-of-1", "ballistic"),
    (RMS, "2 * self.problem.gradient(theta) * noise + skew + second", "2 * self.problem.gradient(theta) * noise + skew",
     "rmsprop", "constant", "ballistic"),
    (RMS, "noise + skew + second", "noise + second", "rmsprop", "batch-of-2", "ballistic"),
    (RMS, "-self._preconditioner(v).value * noise", "self._preconditioner(v).value * noise", "rmsprop", "constant", "ballistic"),
    (RMS, " - 0.5 * curvature(self.problem, theta, p.value)", "", "rmsprop", "constant", "batch_equivalent"),
    (RMS, "p.value * bent - p.slope * b_v * g", "p.value * bent", "rmsprop", "constant", "batch_equivalent"),
    (RMS, "c * g * g + 0.5 * c * b_v", "0.5 * c * b_v", "rmsprop", "constant", "batch_equivalent"),
    (RMS, "- 0.5 * c * p.slope * (sigma - v) * noise", "", "rmsprop", "constant", "batch_equivalent"),
    (RMS, "2 * tau * c * g * noise", "tau * c * g * noise", "rmsprop", "constant", "batch_equivalent"),
    (RMS, "change + c * p.slope * (3 * sigma - v) * noise", "change", "rmsprop-updated", "constant", "batch_equivalent"),
    (ADAM, "sign * p.slope * m * b_v - p.value * b_m", "p.slope * m * b_v - p.value * b_m", "adam-updated",
     "constant", "ballistic"),
    (ADAM, "sign * p.slope * m * b_v - p.value * b_m", "sign * p.slope * m * b_v", "adam", "constant", "ballistic"),
    (ADAM, " - factor.gain * p.value * self.optimizer.eps * factor.root_slope", "", "adam-corrected", "constant", "ballistic"),
    (ADAM, "-0.5 * c1 * (h - b_m)", "-0.5 * c1 * h", "adam", "constant", "ballistic"),
    (ADAM, "self.optimizer.c1 * noise,", "self.optimizer.c2 * noise,", "adam", "constant", "ballistic"),
    (ADAM, "c2 * g * g + 0.5 * c2 * b_v", "c2 * g * g", "adam", "constant", "batch_equivalent"),
    (ADAM, "-0.5 * tau * c1 * factor.gain * p.value * noise", "0 * noise", "adam", "constant", "batch_equivalent"),
    (ADAM, "c1 * (1 + 0.5 * tau * c1) * noise", "c1 * noise", "adam", "constant", "batch_equivalent"),
    (ADAM, "on_m - 0.5 * tau * c1", "on_m + 0.5 * tau * c1", "adam", "varying", "batch_equivalent"),
]


@pytest.mark.parametrize(("module", "right", "wrong", "name", "noise", "scaling"), MUTATIONS,
                         ids=[f"{m[3]}-{m[5]}-{i}" for i, m in enumerate(MUTATIONS)])
def test_a_wrong_equation_does_not_pass(module, right, wrong, name, noise, scaling, monkeypatch):
    source = inspect.getsource(sys.modules[module])
    assert right in source, "the mutation no longer applies: the equation was rewritten"
    mutant = type(sys)("mutant")
    exec(compile(source.replace(right, wrong), module, "exec"), mutant.__dict__)
    optimizer = equations.OPTIMIZERS[name]
    key = (type(optimizer), scaling)
    monkeypatch.setitem(known._CLOSED, key, getattr(mutant, known._CLOSED[key].__name__))
    correct = equations.obstruction if scaling == "batch_equivalent" and name != "sgd" else None
    ratio = equations.ratios(optimizer, equations.PROBLEMS[noise], scaling, 2, correct=correct)
    with pytest.raises(AssertionError):
        equations.assert_order(ratio, 2)


def test_the_equations_module_is_whole_again():
    assert known._CLOSED[type(equations.RMS), "ballistic"] is importlib.import_module(RMS).BallisticRMSProp
