"""Formulas as numbers: their symbols at a state, from a problem's own derivatives."""

import numpy as np
import sympy
import torch
from torch.func import jacfwd


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
    return evaluated(formula.expanded(key), values)


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
        "H": lambda u: problem.hessian(theta, row(u))[0].numpy(), "dsigma": lambda u: law.variance_slope(theta, row(u))[0].numpy(),
        "dS": lambda u: law.diffuse_slope(theta, row(u), dW)[0].numpy(),
        "third": lambda u: problem.third(wide, columns * row(u), columns * row(u)).sum(0).numpy(),
        "rowH": lambda u: (problem.hessian(wide, columns * row(u)) * columns).sum(0).numpy(),
    }
    values = {**state, **settings(optimizer), "t": t, "tau": tau, "g": problem.gradient(theta)[0], "sigma": law.variance(theta)[0],
              "S_dW": law.diffuse(theta, dW)[0], "S_y": law.diffuse(theta, y)[0], "root_dW": law.second(theta, second)[0] / 2**0.5,
              "kappa": law.third(theta)[0]}
    return evaluated(formula.expanded(key), values, applied)


def evaluated(expression, values, applied=None):
    symbols = sorted(expression.free_symbols, key=str)
    missing = [each.name for each in symbols if each.name not in values]
    assert not missing, missing
    numbers = [np.asarray(torch.as_tensor(values[each.name], dtype=torch.float64).squeeze()) for each in symbols]
    return np.asarray(sympy.lambdify(symbols, expression, [applied or {}, "scipy", "numpy"])(*numbers))
