"""Formulas as numbers: their symbols at a state, from a problem's own derivatives."""

import functools
import itertools

import numpy as np
import sympy
import torch
from sympy.core.function import AppliedUndef
from torch.func import jacfwd

import sme

TAU = 0.037


def settings(optimizer):
    return {name: value for name, value in vars(optimizer).items() if isinstance(value, float)}


def line(formula, key, optimizer, problem, state, t, tau):
    """A term in one dimension at a state, 0 where it is not there."""
    if key not in formula.terms:
        return 0.0
    theta, one = state["theta"][None], torch.ones(1, 1, dtype=torch.float64)
    size = lambda z: problem.noise.diffuse(z[None], one)[0, 0]  # noqa: E731
    values = {"f'": problem.gradient(theta), "f''": problem.hessian(theta, one), "f'''": problem.third(theta, one, one)}
    function = size
    for name in ("S", "S'", "S''"):
        values[name] = function(state["theta"])
        function = lambda z, inner=function: jacfwd(inner)(z)[0]  # noqa: E731
    values |= {**state, **settings(optimizer), "t": t, "tau": tau}
    return evaluated(formula, key, values)


def entries(formula, key, optimizer, problem, state, t, tau, increments):
    """A term of many parameters at a state and with increments `dW`, `dW²`, `y`."""
    if key not in formula.terms:
        return np.zeros(problem.dim)
    law, theta = problem.noise, state["theta"][None]
    dW, second, y = (each[None] for each in increments)
    wide = theta.repeat(law.motions, 1)
    columns = law.diffuse(wide, torch.eye(law.motions, dtype=torch.float64))

    def row(given):
        return (problem.gradient(theta) if given is None else torch.as_tensor(np.broadcast_to(given, problem.dim).copy()))[None]

    applied = {
        "H": lambda u: problem.hessian(theta, row(u))[0].numpy(),
        "dsigma": lambda u: law.variance_slope(theta, row(u))[0].numpy(),
        "dS": lambda u: law.diffuse_slope(theta, row(u), dW)[0].numpy(),
        "third": lambda u: problem.third(wide, columns * row(u), columns * row(u)).sum(0).numpy(),
    }
    noise, skew = (each[0] for each in law.diffuse_square(theta, dW))
    values = {**state, **settings(optimizer), "t": t, "tau": tau, "g": problem.gradient(theta)[0],
              "sigma": law.variance(theta)[0], "S_dW": noise, "K_dW": skew,
              "S_y": law.diffuse(theta, y)[0], "root_dW": law.second(theta, second)[0] / 2**0.5,
              "kappa": law.third(theta)[0]}
    return evaluated(formula, key, values, applied)


@functools.cache
def compiled(expression):
    """An expression as a function of its symbols, and of what is applied in it."""
    symbols = sorted(expression.free_symbols, key=str)
    names, held = sorted({each.func.__name__ for each in expression.atoms(AppliedUndef)}), {}
    own = {name: lambda u, name=name: held[name](u) for name in names}
    return symbols, sympy.lambdify(symbols, expression, [own, "scipy", "numpy"]), held


def evaluated(formula, key, values, applied=None):
    """A term, its letters by what they stand for."""
    known, ground = dict(values), formula.parts.ground

    def number(expression):
        symbols, function, held = compiled(expression)
        for symbol in symbols:
            if symbol.name not in known:
                assert symbol in ground, symbol
                known[symbol.name] = number(ground[symbol])
        held.update(applied or {})
        return np.asarray(function(*(np.asarray(torch.as_tensor(known[each.name], dtype=torch.float64).squeeze())
                                     for each in symbols)))

    return number(formula[key])


def state(optimizer, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: 2 * torch.rand(dim, generator=generator, dtype=torch.float64) - 1 for name in optimizer.fields}
    return {name: value.abs() + 0.3 if name in optimizer.nonnegative else value for name, value in drawn.items()}


def close(found, wanted, what):
    np.testing.assert_allclose(found, np.asarray(wanted), rtol=1e-12, atol=2e-12, err_msg=what)


def compare_line(optimizer, place, brownian, problem, make=None):
    """Every term of one dimension with those of the equation, at random states."""
    formula = sme.formula(optimizer, place, brownian)
    eq = (make or (lambda tau: sme.derive(problem, optimizer, place, 2, brownian)(tau)))(TAU)
    leading, one = type(eq)(problem, optimizer, TAU, 1, brownian), torch.ones(1, 1, dtype=torch.float64)
    root = TAU**0.5 if place == "ballistic" else 1.0
    for seed in range(2):
        at, t = state(optimizer, 1, seed), optimizer.t0 + 0.4 * seed
        x = torch.cat(list(at.values()))[None]
        dW = torch.zeros(1, eq.motions, dtype=torch.float64)
        dW[0, 0] = 1
        first, small = eq.diffuse(t, x, dW)[0], leading.diffuse(t, x, dW[:, : leading.motions])[0]
        wanted = {"b": leading.drift(t, x)[0], "b1": (eq.drift(t, x) - leading.drift(t, x))[0] / TAU, "G0": small / root,
                  "G1": (first - small) / TAU}
        if eq.second:
            wanted["F"] = eq.diffuse(t, x, 1 - dW)[0] / TAU**0.5
        if eq.remembers:
            wanted["R"] = eq.memory(t, x, one, one)[0]
        for (term, values), (i, field) in itertools.product(wanted.items(), enumerate(optimizer.fields)):
            close(line(formula, f"{term}, {field}", optimizer, problem, at, t, TAU), values[i],
                  f"{term}, {field} = {formula.terms.get(f'{term}, {field}')}")
