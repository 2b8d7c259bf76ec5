"""A proposed equation tried at one state, before a run takes it at many."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.equations.proposed.equation import ProposedEquation
from sme.optimizers.layout import Layout

APART = (0.0, 1.0, 3.0, 2.0)
"""how far the states lie apart at which it is tried, the given one first"""
ALIKE = 1e-9
"""relative difference of what must be the same"""


def tried(equation: ProposedEquation, start: Mapping[str, Tensor], t: float) -> None:
    """Try the functions at a state of named fields `(d,)` and near it.

    Raises
    ------
    SMEError
        if they fail, give no numbers, others each time, or mix paths, or the diffusion is not linear in its increments.
    """
    shifts = torch.tensor(APART, dtype=torch.float64).unsqueeze(1) / 64
    x = Layout(equation.optimizer.fields, equation.problem.dim).whole(dict(start))
    points = x * (1 + shifts.to(x)) + shifts.to(x) * (x == 0)
    _finite(equation, "drift", points[:1], equation.drift(t, points[:1]))
    _alike("drift", lambda some: equation.drift(t, points[some]))
    if not equation.motions:
        return
    generator = torch.Generator().manual_seed(0)
    u, w = (torch.randn(len(points), equation.motions, generator=generator, dtype=torch.float64).to(x) for _ in range(2))
    _finite(equation, "diffusion", points[:1], equation.diffuse(t, points[:1], u[:1]))
    _alike("diffusion", lambda some: equation.diffuse(t, points[some], u[some]))
    parts = [equation.diffuse(t, points[:1], each[:1]) for each in (u, w, 2 * u - 3 * w)]
    if not _same(2 * parts[0] - 3 * parts[1], parts[2]):
        raise SMEError("diffusion is not linear in dW: diffusion(2 u − 3 w) is not 2 diffusion(u) − 3 diffusion(w). It is the "
                       "product of the noise factor with the increments, such as -tau**0.5 * noise.diffuse(theta, dW)"
                       + (". Of a minibatch, noise.second is a product of two motions: give its root, or sme.GaussianNoise"
                          if equation.law.bilinear else ""))


def _finite(equation: ProposedEquation, what: str, point: Tensor, found: Tensor) -> None:
    for name, field, here in zip(equation.optimizer.fields, equation.split(found), equation.split(point), strict=True):
        if not bool(torch.isfinite(field).all()):
            raise SMEError(f"{what} of {name} is {short(field[0])} at the start, where {name} is {short(here[0])}, at τ = "
                           f"{equation.tau:g}: it is not finite. Give a start at which it is, or mend it")


def _alike(what: str, at: Callable[[slice], Tensor]) -> None:
    whole, again, halves = at(slice(None)), at(slice(None)), torch.cat((at(slice(0, 1)), at(slice(1, None))))
    if not torch.equal(whole.nan_to_num(), again.nan_to_num()):
        raise SMEError(f"{what} has another value each time, for the same state: it counts its calls, or is random. All noise "
                       "comes by dW")
    if not _same(whole, halves):
        raise SMEError(f"{what} mixes paths: the value of a path changes with the others beside it. State and result are (paths, "
                       "d): reduce the last axis alone, with keepdim=True")


def _same(one: Tensor, other: Tensor) -> bool:
    size = float(torch.maximum(one, other).nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(one, other, rtol=ALIKE, atol=ALIKE * max(size, 1e-300), equal_nan=True)
