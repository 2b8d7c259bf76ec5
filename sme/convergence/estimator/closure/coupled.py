"""The weak errors of a large model: the noiseless difference, and what the noise adds to it, from a few pairs of paths."""

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sme.common.random.increments import Increments
from sme.convergence.estimator.closure.closure import Predicted
from sme.equations.base import Equation
from sme.optimizers.base import updated
from sme.optimizers.regimes import Gradient
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

MANY = 100
"""parameters from which on few paths are followed"""
PAIRS = 8
FEWEST, FINEST = 2, 1 / 32
"""least number of substeps of the equations in one step, and the substep in time that is short enough"""
SIGMAS = 2.5
"""standard errors of a mean of so few pairs on either side: 95 % of Student's law with 7 degrees of freedom, and some"""


def large(setup: Setup) -> bool:
    """Whether a model is too large for whole shards of paths."""
    return setup.problem.dim > MANY


def errors(setups: Sequence[Setup], seed: int, pairs: int = PAIRS) -> list[Predicted]:
    """Of several equations of one discrete run, all on the same increments.

    Path 0 has no noise: the discrete run takes `E[gradient]`, the equations their drift. The others are antithetic pairs. The
    discrete run sees `S ΔW/√τ` of the equations' increments, Gaussian and of the minibatch's covariance at its own θ: drawn
    batches would share nothing with the equations. Of the law's cumulants that changes the third and higher ones alone, which
    weigh `O(τ²)`.
    """
    first = setups[0]
    every = [setup.equation() for setup in setups]
    motions = max(max(each.first for each in every), first.problem.noise.motions)
    second = max(each.second for each in every)
    with torch.no_grad():
        substeps = max(FEWEST, math.ceil(first.tau / FINEST))
        increments = Increments((seed, first.steps, 0, 0), pairs, substeps, first.tau, first.start["theta"].device)
        x = first.whole(1 + 2 * pairs)
        states = [x] * len(every)
        for k in range(first.marks[-1]):
            dW = _still(increments.first(k, motions))
            more = _still(increments.second(k, second)) if second else None
            states = [_through(each, setup, y, dW, more, k) for each, setup, y in zip(every, setups, states, strict=True)]
            x = _step(first, x, dW.sum(0), k)
        seen = first.observe(first.fields(x))
        return [_error(seen - setup.observe(setup.fields(y)), pairs) for setup, y in zip(setups, states, strict=True)]


def seconds(setup: Setup, pairs: int = PAIRS) -> float:
    """Of one core, of one equation among those of `errors`, from one substep of it."""
    equation = setup.equation()
    method, x, took = scheme(equation), setup.whole(1 + 2 * pairs), 0.0
    substeps = max(FEWEST, math.ceil(setup.tau / FINEST))
    dW = x.new_zeros(len(x), equation.motions)
    for _ in range(2):  # the first loads what torch needs
        began = time.process_time()
        with torch.no_grad():
            method.rates(equation, setup.chain.time(0), setup.tau / substeps, x, dW, torch.zeros_like(dW[:, : equation.first]))
        took = time.process_time() - began
        if took > 1:
            break
    return took * substeps * setup.marks[-1]


def _still(increments: Float[Tensor, "substeps paths motions"]) -> Float[Tensor, "substeps more motions"]:
    """With a first path that has no noise."""
    return torch.cat((torch.zeros_like(increments[:, :1]), increments), 1)


def _step(setup: Setup, x: Tensor, dW: Tensor, k: int) -> Tensor:
    """One step of the discrete run: the first path by the mean gradient and square."""
    chain, tau = setup.chain, setup.tau
    theta, t = x[:, : setup.problem.dim], chain.time(k)
    mean, law = chain.mean(theta), setup.problem.noise
    scaled = tau ** (chain.regime.mean_power / 2) * mean + law.diffuse(theta, dW[:, : law.motions]) / tau**0.5
    square = scaled * scaled
    square[0] += law.variance(theta[:1])[0]
    unit = tau ** (chain.regime.step_power / 2)

    def update(state: dict[str, Tensor], scaled: Tensor, square: Tensor) -> dict[str, Tensor]:
        return updated(chain.optimizer, state, Gradient(unit * scaled, square, None, (scaled, unit)), tau, t)

    return chain.layout.whole(vmap(update)(chain.layout.named(x), scaled, square))


def _through(equation: Equation, setup: Setup, x: Tensor, dW: Tensor, more: Tensor | None, k: int) -> Tensor:
    """One step of the optimizer in time, by the equation's own scheme."""
    method, dt, t = scheme(equation), setup.tau / len(dW), setup.chain.time(k)
    y = torch.zeros_like(dW[0, :, : equation.first])
    for i, part in enumerate(dW):
        own = part[:, : equation.first]
        both = torch.cat((own, more[i, :, : equation.second]), 1) if more is not None and equation.second else own
        rate, noise = method.rates(equation, t + i * dt, dt, x, both, y)
        x, y = x + dt * rate + noise, y + own
    return x


def _error(difference: Float[Tensor, "paths observables"], pairs: int) -> Predicted:
    """The mean over the pairs, which has the noiseless difference in it, and its interval."""
    mean = 0.5 * (difference[1 : 1 + pairs] + difference[1 + pairs :])
    error, half = mean.mean(0), SIGMAS * mean.std(0) / pairs**0.5
    return Predicted(error.numpy(), np.asarray(half), "" if bool(torch.isfinite(error).all()) else "the run diverges")
