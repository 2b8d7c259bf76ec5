"""Numbers of random jumps, as a function of normals: antithetic where these are."""

import functools
import math

import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor

REACH = 6.8
"""largest normal that there is: `√(−2 log u)` of the smallest `u`, 2⁻³³"""


@functools.lru_cache(maxsize=256)
def levels(mean: float) -> tuple[float, ...]:
    """`q_k` with `P(z > q_k) = P(N > k)`, `N` of Poisson's law, as far as normals reach: so many does a normal `z` exceed."""
    found: list[float] = []
    while not found or found[-1] < REACH:
        found.append(-float(special.ndtri(special.pdtrc(len(found), mean))))
    return tuple(found)


def counts(dW: Float[Tensor, "substeps paths motions"], mean: Float[Tensor, " motions"],
           tau: float) -> Float[Tensor, "substeps paths motions"]:
    """The jumps in each substep of a step of length `τ`, of each motion so many in a step in the `mean`, from its increments."""
    normals = dW / math.sqrt(tau / len(dW))
    each = mean.unique()
    columns = [torch.searchsorted(torch.tensor(levels(float(one) / len(dW)), dtype=dW.dtype, device=dW.device),
                                  normals.contiguous()) for one in each]
    if len(each) == 1:
        return columns[0].to(dW.dtype)
    which = torch.searchsorted(each, mean)
    return torch.stack(columns).gather(0, which.expand_as(dW)[None])[0].to(dW.dtype)
