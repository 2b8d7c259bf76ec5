"""LAMB."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import several, whole
from sme.optimizers.base import State
from sme.optimizers.bias import correction
from sme.optimizers.library.adam import TORCH, TwoMoments
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import Gradient


@dataclass(frozen=True)
class Lamb(TwoMoments):
    r"""LAMB, $1 - \beta_i = c_i\tau$, `lr = ητ` in both regimes: every block moves by a share of its own length.

    ```math
    u = \Gamma\, m'\circ 1/(\sqrt{w(v')} + \varepsilon\sqrt{\gamma_2}) + \lambda\theta, \qquad
    \Delta = -\tau\,\frac{|\theta|}{|u|}\, u
    ```

    Smooth where `θ ≠ 0` and `u ≠ 0`, so `m` starts at other values than 0. Source: You et al. 2019, arXiv 1904.00962.

    Parameters
    ----------
    blocks
        how many numbers each block of `θ` has, one after the other; empty for one block of all.

    Raises
    ------
    SMEError
        for a value outside its range; in a step, for blocks of more or fewer numbers than there are.
    """

    blocks: tuple[int, ...] = ()

    defaults = {"m": 0.1, "v": 1.0}
    powers = (1, 1)
    mixes = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "blocks", tuple(whole("the size of a block", n, 1) for n in several(self.blocks)))

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        theta = state["theta"]
        new = self.step(state, *self.seen(theta, gradient, tau), tau, t)
        return {**new, "theta": theta + self.rate * new["theta"]}

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        theta, (m, v) = state["theta"], self.averages(state, s, square, tau)
        factor = correction(t, tau, self.c1, self.c2, TORCH)
        u = factor.gain * m * preconditioner(v, self.eps * factor.root, self.v_floor).value + self.decay * theta
        sizes = self.blocks or (theta.shape[-1],)
        if sum(sizes) != theta.shape[-1]:
            raise SMEError(f"the blocks of Lamb have {sum(sizes)} numbers, and there are {theta.shape[-1]} parameters")
        moves = [(own * own).sum(-1, keepdim=True).sqrt() / (part * part).sum(-1, keepdim=True).sqrt() * part
                 for own, part in zip(theta.split(sizes, -1), u.split(sizes, -1), strict=True)]
        return {"theta": -tau * torch.cat(moves, -1), "m": m, "v": v}
