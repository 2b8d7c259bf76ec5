"""Formulas entry by entry are the numbers of the equations: two parameters, noise that couples them and does not commute."""

import dataclasses
import itertools

import pytest
import torch

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from tests.support import formulas, models, paper_rules
from tests.support.few import few
from tests.support.formulas import TAU, close, entries, state

REGIMES, BROWNIAN = ("ballistic", "batch_equivalent"), ("independent", "step_memory")


def compare(optimizer, place, brownian, problem):
    """Every term of two parameters with those of the equation, at random states and increments."""
    eq = equation(problem, optimizer, regime(place), TAU, 2, brownian)
    formula, leading = eq.formula(), type(eq)(problem, optimizer, TAU, 1, brownian)
    assert formula.parts.many
    generator = torch.Generator().manual_seed(3)
    for seed in range(2):
        at, t = state(optimizer, 2, seed), optimizer.t0 + 0.4 * seed
        x = torch.cat(list(at.values()))[None]
        dW, dV, y = (torch.randn(count, generator=generator, dtype=torch.float64) for count in (eq.first, eq.second, eq.first))
        none = torch.zeros_like(dV)
        first, small = eq.diffuse(t, x, torch.cat([dW, none])[None])[0], leading.diffuse(
            t, x, torch.cat([dW, torch.zeros(leading.second, dtype=torch.float64)])[None])[0]
        wanted = {"b": leading.drift(t, x)[0], "b1": (eq.drift(t, x) - leading.drift(t, x))[0] / TAU,
                  "G0": small / (TAU**0.5 if place == "ballistic" else 1), "G1": (first - small) / TAU}
        if eq.second:
            wanted["F"] = eq.diffuse(t, x, torch.cat([0 * dW, dV])[None])[0] / TAU**0.5
        if eq.remembers:
            wanted["R"] = eq.memory(t, x, y[None], dW[None])[0]
        given = dV if eq.second else torch.zeros(problem.noise.second_motions, dtype=torch.float64)
        for (term, values), (i, field) in itertools.product(wanted.items(), enumerate(optimizer.fields)):
            found = entries(formula, f"{term}, {field}", optimizer, problem, at, t, TAU, (dW, given, y))
            close(found, values[2 * i:2 * i + 2], f"{term}, {field} = {formula.terms.get(f'{term}, {field}')}")


RULES = {"rmsprop": sme.RMSProp(c=0.7, denominator="updated"), "adam": sme.Adam(c1=0.9, denominator="updated"), "sgd": sme.SGD(),
         "nesterov": sme.Nesterov(c=0.8), "nadam": paper_rules.NAdam()}
MOVED = ("rmsprop", "sgd", "nadam")
"""whose leading noise moves the parameters, so that batch-equivalent entries are of constant noise"""
CASES = [(name, place, brownian) for name in RULES for place in REGIMES for brownian in BROWNIAN
         if brownian == "independent" or name in ("rmsprop", "adam")]


@pytest.mark.parametrize(("name", "place", "brownian"), few(CASES, *(i for i, case in enumerate(CASES) if case[0] != "nadam")))
def test_entries_have_the_numbers_of_the_equation(name, place, brownian):
    still = place == "batch_equivalent" and name in MOVED
    compare(RULES[name], place, brownian, models.gaussian(not still))


@dataclasses.dataclass(frozen=True)
class Leaning(sme.Optimizer):
    """RMSProp whose memory depends on where it is, so that the memory's noise changes along the leading one."""

    c: float = 0.6
    fields = ("theta", "v")
    defaults = {"v": 1.0}  # noqa: RUF012
    nonnegative = ("v",)

    def update(self, state, gradient, tau, t):
        rate = self.c * (1.2 + torch.sin(state["theta"]))
        return {"theta": state["theta"] - gradient.step / (state["v"].sqrt() + 0.2),
                "v": state["v"] + tau * rate * (gradient.square - state["v"])}


def test_a_memory_that_changes_along_the_noise_has_its_numbers():
    compare(Leaning(), "batch_equivalent", "step_memory", models.gaussian(False))
    formulas.compare_line(Leaning(), "batch_equivalent", "step_memory", models.line())


def test_a_minibatch_has_its_third_moments():
    problem, optimizer = models.minibatch(1), sme.RMSProp(c=0.7, denominator="updated")
    compare(optimizer, "ballistic", "independent", problem)
    kappa = sme.formula(optimizer, elementwise=True, gaussian=False).terms
    assert "kappa" in str(kappa["b1, theta"])
    assert "K_dW" in str(kappa["G0, v"])


def test_entries_of_noise_that_depends_on_what_it_moves_are_refused():
    eq = equation(models.gaussian(True), sme.RMSProp(), regime("batch_equivalent"), TAU, 2, "step_memory")
    with pytest.raises(sme.SMEError, match=r"constant Σ.*elementwise=False"):
        eq.formula()
    assert "S''" in str(eq.formula(elementwise=False)["G1, theta"])
    with pytest.raises(sme.SMEError, match="independent motions"):
        sme.formula(Turned(), "batch_equivalent")


class Turned(sme.Optimizer):
    """A step whose size depends on where it is."""

    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - gradient.step * (2 + torch.cos(state["theta"]))}


def test_entries_that_mix_are_refused():
    class Lamb(sme.Optimizer):
        fields, defaults = ("theta", "m"), {"m": 0.0}

        def update(self, state, gradient, tau, t):
            m = state["m"] + 0.8 * (gradient.step - tau * state["m"])
            return {"theta": state["theta"] - tau * state["theta"].norm() * m, "m": m}

    with pytest.raises(sme.SMEError, match=r"mixes coordinates \(through norm\)"):
        sme.formula(Lamb(), elementwise=True)
    formulas.compare_line(Lamb(), "ballistic", "independent", models.line())
