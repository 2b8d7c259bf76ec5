"""What stands for a tensor does what torch does, and says what it cannot."""

import inspect
import math
import sys
from dataclasses import dataclass

import pytest
import sympy
import torch

import sme
from sme.equations.formula.operations import OTHERS, PLAIN
from sme.equations.formula.stand_in import NoFormError, Run, StandIn, Watched, symbolic

A, B, C, TAU = sympy.symbols("a b c tau", positive=True)
NUMBERS = {A: 0.7, B: 0.4, C: 0.9}
IN_PYTHON = {"rpow": "__rpow__", "radd": "__radd__", "rsub": "__rsub__", "rmul": "__rmul__", "rtruediv": "__rtruediv__",
             "truediv": "__truediv__", "iadd": "__iadd__", "isub": "__isub__", "imul": "__imul__", "itruediv": "__itruediv__",
             "lt": "__lt__", "le": "__le__", "gt": "__gt__", "ge": "__ge__", "eq": "__eq__", "ne": "__ne__", "pos": "__pos__"}


def stands():
    run = Run(NUMBERS, TAU)
    return [StandIn(each, run) for each in NUMBERS]


def torch_function(name):
    if name in IN_PYTHON:
        return getattr(torch.Tensor, IN_PYTHON[name], None)
    for place in (torch, torch.nn.functional, torch.linalg):
        if hasattr(place, name):
            return getattr(place, name)
    return None


@pytest.mark.parametrize("name", [*PLAIN, "add", "sub", "addcmul", "addcdiv", "clamp_min", "clamp_max"])
def test_every_function_is_that_of_torch(name):
    table, function = PLAIN.get(name) or OTHERS[name], torch_function(name)
    count = len([each for each in inspect.signature(table).parameters.values() if each.default is each.empty]) - (name in OTHERS)
    if table in (sympy.Max, sympy.Min):
        count = 2
    if inspect.isclass(table) and table not in (sympy.Max, sympy.Min):
        count = 1
    given = stands()[:count]
    values = [torch.tensor(value, dtype=torch.float64) for value in NUMBERS.values()][:count]
    if name in ("clamp_min", "clamp_max", "full_like"):
        given[1], values[1] = 0.5, 0.5
    with Watched():
        made = function(*given) if name not in IN_PYTHON else getattr(given[0], IN_PYTHON[name])(*given[1:])
    wanted = function(*(each.clone() if isinstance(each, torch.Tensor) else each for each in values))
    found = bool(made) if made.value in (sympy.true, sympy.false) or made.value.is_Relational else float(made.value.subs(NUMBERS))
    assert float(found) == pytest.approx(float(wanted), rel=1e-14)


def test_methods_keywords_and_writing_in_place():
    a, b, c = stands()
    assert a.mul(b).add(c, alpha=2).value == A * B + 2 * C
    assert a.clone().addcmul_(b, c, value=-3).value == A - 3 * B * C
    held = a.clone()
    assert held.mul_(b).add_(1) is held
    assert held.value == A * B + 1
    assert a.value == A
    assert (a.clamp(min=0.5, max=b)).value == sympy.Min(B, sympy.Max(A, sympy.Rational(1, 2)))
    assert torch.lerp(a, b, c).value == A + C * (B - A)
    assert (torch.tensor(2.0, dtype=torch.float64) - a / torch.tensor([4.0], dtype=torch.float64)).value == 2 - A / 4
    with Watched():
        assert torch.as_tensor(a, dtype=torch.float64).value == A
        assert torch.where(torch.as_tensor(a) > b, a, b).value == A


def test_numbers_are_read_as_they_are_written():
    for given, wanted in ((0.1, "1/10"), (1 / 3, "1/3"), (1e-8, "1/100000000"), (3, "3"), (0.96, "24/25"),
                          (1e-12, "1/1000000000000"), (-math.pi / 4, "-pi/4"), (-math.sqrt(0.5), "-sqrt(2)/2"),
                          (2.5e-10, "1/4000000000")):
        assert str(symbolic(given)) == wanted
    odd = 0.12345678901234567
    assert float(symbolic(odd)) == odd


def test_a_branch_is_taken_as_the_settings_say_for_small_steps():
    a, b, _ = stands()
    tau = StandIn(TAU, a.run)
    assert bool(a > b)
    assert bool(a - b)
    assert not bool(a * tau > 0.01)
    assert bool((b * tau).abs() < a)
    assert float(a + b) == pytest.approx(1.1)
    x = StandIn(sympy.Symbol("x", real=True), a.run)
    for undecided in (lambda: bool(x > 0), lambda: torch.where(x > a, x, a), lambda: float(x), lambda: x[0], lambda: x.shape,
                      lambda: bool(tau * x < 0)):
        with pytest.raises(NoFormError), Watched():
            undecided()


def rule(body, fields=("theta", "m")):
    return type("Own", (sme.Optimizer,), {"update": lambda _, *given: body(*given), "fields": fields, "defaults": {"m": 0.0}})()


def kept(x, made):
    return {**x, "theta": x["theta"] - made}


REFUSED = {
    "sort": (lambda x, g, tau, t: kept(x, tau * x["m"].sort()), "`sort` has no symbolic form"),
    "cumsum": (lambda x, g, tau, t: kept(x, tau * torch.cumsum(x["m"], -1)), "`cumsum` has no symbolic form"),
    "branch": (lambda x, g, tau, t: kept(x, tau * x["m"] if x["m"] > 0 else 0 * tau), "branch on data"),
    "where": (lambda x, g, tau, t: kept(x, tau * torch.where(x["m"] > 0, x["m"], 2 * x["m"])), "where, a branch on data"),
    "several": (lambda x, g, tau, t: kept(x, g.step * torch.tensor([1.0, 2.0])), "a tensor of 2 numbers"),
    "shape": (lambda x, g, tau, t: kept(x, tau * x["m"] / x["m"].shape[0]), "`shape` has no symbolic form"),
    "rate": (lambda x, g, tau, t: kept(x, 0.1 * g.step / tau), "not a number at τ = 0|moves although τ is 0"),
    "fixed": (lambda x, g, tau, t: {**kept(x, tau * x["m"]), "m": 0.9 * x["m"] + g.step}, "m moves although τ is 0"),
    "raw": (lambda x, g, tau, t: kept(x, tau * torch.tanh(g.square)), "not affine in gradient.step and gradient.square"),
    "cubic": (lambda x, g, tau, t: kept(x, tau * g.step * g.square * g.square), "not quadratic in gradient.step"),
    "stops": (lambda x, g, tau, t: kept(x, tau * x["none"]), "it stops .*KeyError"),
    "lacks": (lambda x, g, tau, t: {"theta": x["theta"] - g.step}, "it stops .*KeyError: 'm'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_formula_says_why_in_one_sentence(name):
    body, said = REFUSED[name]
    with pytest.raises(sme.SMEError, match=said) as caught:
        sme.formula(rule(body))
    assert "Own" in str(caught.value)


def test_powers_that_are_no_roots_and_kinks_have_letters_and_sides():
    root = sme.formula(rule(lambda x, g, tau, t: {
        "theta": x["theta"] - g.step / (x["m"] ** 2 + 0.1) ** (1 / 3), "m": x["m"] + g.step}))
    assert [str(value) for value in root.where.values()] == ["(m**2 + 1/10)**(-1/3)", "-2*P**4*m/3"]
    bent = sme.formula(rule(lambda x, g, tau, t: kept({**x, "m": x["m"] + g.step}, tau * x["m"].sign())), "batch_equivalent")
    assert "DiracDelta" not in str(bent.terms)
    late = sme.formula(rule(lambda x, g, tau, t: kept(x, g.step * 0.96**t)))
    signs = {sympy.log(sympy.Rational(24, 25)), sympy.log(sympy.Rational(25, 24))}  # by version
    assert late["b1, theta"].atoms(sympy.log) & signs


def test_settings_are_letters_and_those_that_are_zero_are_off():
    class Own(sme.Optimizer):
        rate = 0.3

        def __init__(self):
            self.sigma, self.betas, self.off, self.power, self.name_of = 0.7, (0.9, 0.5), 0.0, 2, "x"

        def update(self, state, gradient, tau, t):
            pull = self.betas[0] * self.betas[1] + self.off + self.rate / self.sigma if self.sigma > 0.5 else None
            return {"theta": state["theta"] - pull * gradient.step - tau * state["theta"] ** self.power}

    names = sympy.symbols("betas1 betas2 rate sigma0", positive=True)
    found = sme.formula(Own())["G0, theta"]
    one, two, rate, sigma = names
    assert sympy.expand(found + (one * two + rate / sigma) * sympy.Symbol("S", real=True)) == 0
    assert Own().betas == (0.9, 0.5)


@pytest.mark.parametrize(("given", "said"), [
    ({"optimizer": sme.SignSGD(), "brownian": "step_memory"}, "steps by signs"),
    ({"optimizer": sme.Signum(), "regime": "batch_equivalent"}, "Signum for any"),
    ({"optimizer": sme.Adam(memory=0, c1=0.1, c2=0.1)}, "memory = 0"), ({"optimizer": "adam"}, "sme.Optimizer"),
    ({"regime": "balistic"}, "did you mean 'ballistic'"), ({"brownian": "none"}, "allowed are independent, step_memory"),
    ({"elementwise": "yes"}, "elementwise must be true or false"), ({"gaussian": 0}, "gaussian must be true or false"),
    ({"order": 3}, "order must be 1 or 2"), ({"gaussian": False, "regime": "batch_equivalent"}, "gaussian=False is for"),
    ({"optimizer": sme.RMSProp(), "regime": "batch_equivalent", "elementwise": True, "gaussian": False}, "gaussian=False is for"),
])
def test_bad_input_is_refused_in_one_line(given, said):
    with pytest.raises(sme.SMEError, match=said):
        sme.formula(**{"optimizer": sme.Adam(), **given})


def test_equations_of_others_have_no_formula():
    eq = sme.derive(sme.Quadratic(), sme.Adam())(0.1)
    assert eq.formula(elementwise=False).terms == sme.formula(sme.Adam()).terms

    bare = sme.derive(sme.Quadratic(), sme.Adam(), order=1, brownian="none")(0.1).formula()
    assert set(bare.terms) == {"b, theta", "b, m", "b, v"}
    assert r"dx = b\,dt \\" in bare.latex
    assert "brownian = none" in bare.title

    class Theirs(type(eq)):
        pass

    with pytest.raises(sme.SMEError, match="Theirs does not follow"):
        Theirs(eq.problem, eq.optimizer, 0.1, 2, "independent").formula()


def test_without_sympy_one_line_says_what_to_install(monkeypatch):
    for name in [each for each in sys.modules if each.startswith("sme.equations.formula.") and not each.endswith(".formula")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(sme.SMEError, match=r"formulas need sympy.*pip install 'sme\[formula\]'"):
        sme.formula(sme.Adam(c1=0.123))


@dataclass(frozen=True)
class Still(sme.Optimizer):
    """A rule that reads a field and leaves it as it is."""

    fields = ("theta", "v")
    defaults = {"v": 1.0}  # noqa: RUF012

    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - gradient.step / (state["v"] + 1), "v": state["v"]}


def test_a_field_that_stays_has_no_letter_for_its_drift():
    found = sme.formula(Still())
    assert "b, v" not in found.terms
    assert not any("b_v" in str(value) for value in found.terms.values())
    assert "b1, theta" in found.terms
