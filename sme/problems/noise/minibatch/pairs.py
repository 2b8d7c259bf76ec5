"""What is left of the square of a batch mean without its sum over the batch: a noise in pairs of examples."""

import torch
from jaxtyping import Float
from torch import Tensor

from sme.problems.noise.base import Matrix, Paths
from sme.problems.noise.factor import factored
from sme.problems.noise.minibatch.per_example import Examples
from sme.problems.noise.minibatch.sampling import Sampling, centred


def root(examples: Examples, sampling: Sampling, theta: Paths, dW: Float[Tensor, "paths d"]) -> Paths:
    """By a triangular factor of its covariance, linear in `dW`."""
    second, fourth = moments(examples, theta, bool(sampling.products()[1]))
    scale = sampling.products()[0] * sampling.count * second.diagonal(dim1=-2, dim2=-1)
    return factored(sampling.pairs(second, fourth), scale * scale, dW)


def product(examples: Examples, sampling: Sampling, theta: Paths, dW: Float[Tensor, "paths second"]) -> Paths:
    """As `(S dV)∘(S ζ)`: of the motions `n` are `V`, and the others are read by their signs `ζ`."""
    n, (factor, ratio) = sampling.count, sampling.products()
    # products of two signs: unchanged when an antithetic path turns every increment's sign
    v, signs = dW[:, :n], torch.sign(dW[:, n : 2 * n]) * torch.sign(dW[:, 2 * n :])
    by_v, by_sign = (examples.weigh(theta, centred(weights))[0] for weights in (v, signs))
    found = by_v * by_sign
    if ratio:
        found = found + _degenerate(examples, theta, v, signs, ratio)
    return factor * found


def _degenerate(examples: Examples, theta: Paths, v: Tensor, signs: Tensor, ratio: float) -> Paths:
    """`Σ_{i≠j} (X_i∘X_j + r (X_i∘X_i + X_j∘X_j) − c) V_i ζ_j` without `(Σ X_i V_i)∘(Σ X_j ζ_j)`; `c` makes the
    sum over `j` vanish.
    """
    own, sums = v * signs, (v.sum(1, keepdim=True), signs.sum(1, keepdim=True))
    weights = ratio * (v * sums[1] + signs * sums[0]) - (1 + 2 * ratio) * own
    mean, square = examples.averages(theta)
    linear, squares = examples.weigh(theta, weights, weights)
    total = weights.sum(1, keepdim=True)
    constant = ratio * examples.count / (examples.count - 1) * (square - mean * mean)
    return squares - 2 * mean * linear + mean * mean * total - constant * (sums[0] * sums[1] - own.sum(1, keepdim=True))


def moments(examples: Examples, theta: Paths, fourth: bool = False) -> tuple[Matrix, Matrix | None]:
    """`E X Xᵀ` of one example, and if it is asked for `E (X∘X)(X∘X)ᵀ`."""
    m, p = examples.gradient(theta), examples.outer(theta)
    row, column = m.unsqueeze(-1), m.unsqueeze(-2)
    if not fourth:
        return p - row * column, None
    half = column * (column * p.diagonal(dim1=-2, dim2=-1).unsqueeze(-1) - 2 * examples.outer(theta, 2, 1))
    return p - row * column, examples.outer(theta, 2, 2) + half + half.mT + row * column * (4 * p - 3 * row * column)
