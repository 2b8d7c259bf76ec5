"""Chains and equations that are linear with constant noise: their means and covariances, and so the weak error, are closed."""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float

from sme.common.errors import SMEError
from sme.equations.base import join
from sme.simulate.setup import Setup


class Moments(NamedTuple):
    """Mean and covariance of the whole state at the horizon."""

    mean: Float[np.ndarray, " state"]
    covariance: Float[np.ndarray, "state state"]


def chain(setup: Setup) -> Moments:
    """Of the discrete run: `x' = M x + N z`."""
    units, rest, still, each = _inputs(setup)

    def stepped(points: torch.Tensor, z: torch.Tensor) -> np.ndarray:
        return join(*setup.chain.step(setup.fields(points), z, 0)[0].values()).numpy().T

    matrix, noise = _linear(stepped(units, still)), stepped(rest, each)
    mean, covariance = setup.whole(1)[0].numpy(), np.zeros((len(units) - 1,) * 2)
    for _ in range(setup.steps):
        mean, covariance = matrix @ mean, matrix @ covariance @ matrix.T + noise @ noise.T
    return Moments(mean, covariance)


def equation(setup: Setup) -> Moments:
    """Of the equation: `dx = B x dt + G dW`."""
    units, rest, _, each = _inputs(setup)
    there = setup.equation()
    drift, diffusion = _linear(there.drift(0.0, units).numpy().T), there.diffuse(0.0, rest, each).numpy().T
    # Van Loan: ∫ e^{Bs} G Gᵀ e^{Bᵀs} ds
    block = scipy.linalg.expm(setup.grid.horizon * np.block([[drift, diffusion @ diffusion.T], [np.zeros_like(drift), -drift.T]]))
    size = len(drift)
    flow = block[:size, :size]
    return Moments(flow @ setup.whole(1)[0].numpy(), block[:size, size:] @ flow.T)


def exact(setup: Setup) -> dict[str, float]:
    """The weak error of `|field|²` and `mean field` at the horizon, by name.

    Raises
    ------
    SMEError
        if the chain or the equation is not linear, or its noise not constant.
    """
    if setup.problem.noise.constant is False or setup.equation().second:
        raise SMEError("the weak error has a closed form for constant noise alone")
    dim, errors = setup.problem.dim, dict[str, float]()
    discrete, continuous = chain(setup), equation(setup)
    for i, field in enumerate(setup.optimizer.fields):
        part = slice(i * dim, (i + 1) * dim)
        squares = [mean[part] @ mean[part] + np.trace(covariance[part, part]) for mean, covariance in (discrete, continuous)]
        errors[f"|{field}|^2"] = float(squares[0] - squares[1])
        errors[f"mean {field}"] = float((discrete.mean[part] - continuous.mean[part]).mean())
    return errors


def _inputs(setup: Setup) -> tuple[torch.Tensor, ...]:
    """The unit states and −2 times their sum, states at rest, no noise, and unit noises."""
    size, motions = setup.whole(1).shape[1], setup.problem.noise.motions
    units = torch.eye(size, dtype=torch.float64)
    return (torch.cat((units, -2 * units.sum(0, keepdim=True))), torch.zeros(motions, size, dtype=torch.float64),
            torch.zeros(size + 1, motions, dtype=torch.float64), torch.eye(motions, dtype=torch.float64))


def _linear(images: Float[np.ndarray, "state images"]) -> Float[np.ndarray, "state state"]:
    """The matrix with the images of the unit states, if it gives the last image too."""
    matrix = images[:, :-1]
    if not np.allclose(-2 * matrix.sum(1), images[:, -1], rtol=1e-12, atol=1e-12):
        raise SMEError("the weak error has a closed form for linear chains and equations alone")
    return matrix
