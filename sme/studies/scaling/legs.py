"""One of several runs side by side: a chain, where it starts, and how many batches it takes at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.chain import Chain
from sme.optimizers.base import State
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.parts.clipping import Clipping
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.renoised import Renoised


@dataclass(frozen=True)
class Leg:
    """A chain, where it starts, and at what time.

    Attributes
    ----------
    clip
        of the physical gradient, the same whatever the batch.
    kappa
        so many batches are one of its own.
    """

    chain: Chain
    start: Mapping[str, Float[Tensor, " d"]]
    time: float
    clip: Clipping | None = None
    kappa: int = 1

    def spread(self, paths: int) -> State:
        """The start of every path."""
        return {name: field.expand(paths, -1).contiguous() for name, field in self.start.items()}

    def step(self, state: State, gradient: Float[Tensor, "paths d"], k: int) -> State:
        """The state after step `k` on the gradients of the batches, in physical units."""
        seen = gradient if self.clip is None else self.clip.clipped(gradient)
        return self.chain.moved(state, self.chain.scale * seen, self.time + k * self.chain.tau)


def leg(problem: Problem, law: MinibatchNoise, given: Hyperparameters, theta: Tensor) -> Leg:
    """The chain of these hyperparameters, as torch has it, and its start."""
    assert given.batch_size is not None
    here = Renoised(problem, law.changed(batch_size=given.batch_size, coupling="independent"))
    corrects = given.optimizer in ("adam", "adamw")  # of a fresh optimizer: step k has γ = 1 − β^{k+1}
    options = {"bias_correction": True, "t0": given.lr, "clock": (0, 0)} if corrects else {}
    optimizer, tau, *_ = given.scaled(BALLISTIC, **options)
    start = {"theta": theta, "m": torch.zeros_like(theta), "v": torch.zeros_like(theta)}
    if not corrects:
        start["v"] = (here.gradient(theta[None]).square() + here.noise.variance(theta[None]))[0]
    return Leg(Chain(here, optimizer, BALLISTIC, tau), {field: start[field] for field in optimizer.fields}, optimizer.t0)
