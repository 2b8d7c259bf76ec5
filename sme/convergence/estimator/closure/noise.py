"""The joint moments of the noise and of its square, which are all that a step reads that is affine in both."""

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import GradientLaw, Paths
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.minibatch.linear import LinearExamples
from sme.problems.noise.minibatch.per_example import CHUNK, LossExamples

SIXTH = 6
"""the skewness of a square takes so many moments"""
MOST = 4096
"""draws of one step: those of a rule, or else so many random batches"""
SEED = 25_011


def check(law: GradientLaw) -> None:
    """Raise `SMEError` for a law whose moments are not had here."""
    if law.transforms:
        raise SMEError("a clipped or otherwise transformed gradient is no polynomial in the noise")
    if law.moments <= SIXTH:
        raise SMEError(f"the noise has no moments of order {SIXTH}")
    if not law.independent_steps:
        raise SMEError("the batches of a reshuffled epoch depend on each other")
    if law.bilinear and type(law) is not MinibatchNoise:
        raise SMEError("the covariance of the noise's square has no short form for these batches")


def joint(law: GradientLaw, theta: Paths) -> tuple[Float[Tensor, "paths d d"], ...]:
    """`Cov(n, n)`, `Cov(n, n∘n)` and `Cov(n∘n, n∘n)` of the noise `n = S z` of one step, at every θ."""
    if type(law) is MinibatchNoise:
        return _batches(law, theta)
    first, rest = [], []
    for unit in torch.eye(law.motions, dtype=theta.dtype):
        noise, skew = law.diffuse_square(theta, unit.expand(len(theta), -1))
        first.append(noise)
        rest.append(skew)
    a, b = torch.stack(first, -1), torch.stack(rest, -1)
    squares = b @ b.mT
    if law.second_motions:
        units = torch.eye(law.second_motions, dtype=theta.dtype)
        c = torch.stack([law.second(theta, unit.expand(len(theta), -1)) for unit in units], -1)
        squares = squares + c @ c.mT
    return a @ a.mT, a @ b.mT, squares


def _batches(law: MinibatchNoise, theta: Paths) -> tuple[Tensor, ...]:
    """Of a batch mean: `s₂ Σ¹`, the third moments and `(s₃/s₂)²` of the fourth, and the part that is no sum over the batch."""
    shares = law.sampling.shares
    rows, found = max(1, CHUNK // (law.motions * theta.shape[1])), []
    tilt = shares.third / shares.second if shares.second else 0.0
    for part in theta.split(rows):
        x = _centred(law, part)
        square = x * x - (x * x).mean(1, keepdim=True)
        sigma, third, fourth = (a.mT @ b / law.motions for a, b in ((x, x), (x, square), (square, square)))
        whole = sigma * (law.scale**2 * shares.second)
        pairs = law.sampling.pairs(sigma, (x * x).mT @ (x * x) / law.motions)
        found.append((whole, third * (law.scale**3 * shares.third),
                      law.scale**4 * (fourth * (shares.second * tilt**2) + pairs)))
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


def _centred(law: MinibatchNoise, theta: Paths) -> Float[Tensor, "paths n d"]:
    """`X_i = g_i − ḡ` of every example."""
    examples = law.examples
    if isinstance(examples, LossExamples):
        g = examples._gradients(theta, examples.data)
    elif isinstance(examples, LinearExamples):
        g = examples.residual(examples.features @ theta.T, examples.targets.unsqueeze(1)).T.unsqueeze(-1) * examples.features
    else:
        units = torch.eye(law.motions, dtype=theta.dtype)
        g = torch.stack([examples.weigh(theta, unit.expand(len(theta), -1))[0] for unit in units], 1)
    return g - g.mean(1, keepdim=True)


def draws(law: GradientLaw) -> rules.Rule:
    """Draws of one step with weights, for the third cumulant: a rule that is exact for polynomials of degree 6 in the noise.

    Of minibatches all batches, or where these are more than `MOST` so many random ones.
    """
    if isinstance(law, MinibatchNoise):
        try:
            found = next(iter(law.quadrature()))
            if len(found[0]) <= MOST:
                return found
        except SMEError:
            pass
        generator = torch.Generator().manual_seed(SEED)
        order = torch.rand(MOST, law.motions, generator=generator, dtype=torch.float64)
        batches = (order.argsort(1)[:, : law.batch_size] if law.sampling.name != "with_replacement"
                   else torch.randint(law.motions, (MOST, law.batch_size), generator=generator))
        return batches, torch.full((MOST,), 1 / MOST, dtype=torch.float64)
    try:
        found = next(iter(law.quadrature()))
    except StopIteration:
        raise SMEError("the law of its noise has no rule of few nodes") from None
    if len(found[0]) > MOST:
        raise SMEError(f"one step has {len(found[0])} nodes of noise")
    return found
