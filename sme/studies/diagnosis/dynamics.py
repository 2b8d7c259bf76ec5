"""What a few steps show: the noiseless run, its ODE, and noisy runs beside them."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.random.increments import Increments
from sme.equations.chain import Chain
from sme.optimizers.base import Optimizer, State
from sme.optimizers.grid import StepGrid
from sme.optimizers.parts.clipping import NORM, Clipping
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem
from sme.problems.networks.network import Network
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.wrapped.clipped import Clipped
from sme.problems.renoised import Renoised
from sme.simulate import noiseless
from sme.simulate.setup import Setup
from sme.studies.scaling.legs import Leg

PAIRS, SEED = 4, 0
"""half the noisy runs, and their seed"""
MARKS = 8
TOLERANCE, EVALUATIONS = 1e-4, 200
"""of the drift's solver"""


@dataclass(frozen=True)
class Dynamics:
    """The loss along so many steps, without noise, of the drift of order 1 and 2, and of noisy runs.

    Attributes
    ----------
    steps
        at which it is taken.
    discrete, ode
        of the noiseless run; of the drifts by order.
    noisy
        of each noisy run.
    lack
        why there is no drift, in words; empty if there is one.
    """

    steps: Float[np.ndarray, " marks"]
    discrete: Float[np.ndarray, " marks"]
    ode: dict[int, Float[np.ndarray, " marks"]]
    noisy: Float[np.ndarray, "marks runs"]
    lack: str

    @property
    def way(self) -> float:
        """How far the loss of the noiseless run goes."""
        return float(np.ptp(self.discrete)) or math.nan

    def drift(self, order: int) -> float:
        """The largest difference of the drift of this order, as a share of the way."""
        return float(np.abs(self.ode[order] - self.discrete).max()) / self.way if order in self.ode else math.nan

    @property
    def added(self) -> tuple[float, float]:
        """What the noise adds to the loss in the end, and 1.96 standard errors, as shares of the way."""
        extra = self.noisy[-1] - self.discrete[-1]
        return float(extra.mean()) / self.way, 1.96 * float(extra.std(ddof=1)) / math.sqrt(len(extra)) / self.way


@dataclass(frozen=True)
class Beginning:
    """Where a run begins.

    Attributes
    ----------
    fields
        of the rule, as torch's averages stand.
    time
        of the first step.
    late
        whether the averages are 0, and an equation has a start after the first step alone.
    """

    fields: State
    time: float
    late: bool


def follow(net: Network, rule: Optimizer, tau: float, start: Beginning, steps: int, clip: Clipping | None) -> Dynamics:
    """Run it; behind a `clip` that acts, whose mean step is no closed form, the run without noise clips the full gradient.

    Where the averages start at 0, the drift starts after the first step of the noiseless run.
    """
    still = _still(net, clip)
    chain, first = Chain(still, rule, BALLISTIC, tau), int(start.late)
    fields = chain.mean_step(start.fields, start.time) if first else start.fields
    marks = sorted({0, *np.linspace(first, steps, MARKS + 1).round().astype(int).tolist()})
    setup = Setup(still, rule, BALLISTIC, 1, "independent", StepGrid.of(tau, max(1, steps - first)), fields, (steps - first,), {})
    dim, lack, ode, later = net.dim, "", {}, [k - first for k in marks if k >= first]

    def loss(states: Tensor) -> np.ndarray:
        return net.loss(states[:, :dim]).numpy()

    zero = net.loss(start.fields["theta"][None]).numpy()[: len(marks) - len(later)]
    discrete = np.append(zero, loss(noiseless.discrete(setup, later)))
    for order in (1, 2):
        if order == 2 and net.kinks:
            lack = "the loss has kinks, so that order 2 is not offered"
            continue
        if clip is not None and clip.kind != NORM:
            lack = "a clip of single entries that acts leaves no drift"
            continue
        if later == [0]:
            lack = "there is one step, from averages of 0"
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = np.append(zero, loss(noiseless.drift(setup, order, later, TOLERANCE, EVALUATIONS)))
        except SMEError as fault:
            lack = str(fault)
            continue
        if np.isfinite(found).all():
            ode[order] = found
        else:
            lack = lack or f"the drift of order {order} is too stiff to follow within {EVALUATIONS} evaluations"
    noisy = _noisy(Leg(Chain(net, rule, BALLISTIC, tau), start.fields, start.time, clip), marks)
    return Dynamics(np.array(marks), discrete, ode, noisy, lack)


def _still(net: Network, clip: Clipping | None) -> Problem:
    """The problem whose mean step the run without noise takes: behind a clip that of one batch of all examples."""
    if clip is None or clip.kind != NORM:
        return net
    whole = MinibatchNoise(batch_size=net.examples.count, examples=net.examples, sampling="without_replacement")
    return Renoised(net, Clipped(whole, clip.limit))


def _noisy(leg: Leg, marks: list[int]) -> Float[np.ndarray, "marks runs"]:
    """The loss of a few runs on true minibatches."""
    chain, paths, rows = leg.chain, 2 * PAIRS, []
    law, state = chain.problem.noise, leg.spread(paths)
    increments = Increments((SEED, marks[-1], 0, 0), PAIRS, 1, chain.tau, torch.device("cpu"))
    for k in range(marks[-1] + 1):
        if k in marks:
            rows.append(chain.problem.loss(state["theta"]).numpy())
        if k < marks[-1]:
            drawn = law.draw(None, chain.tau, increments.draws(k), paths)
            state = leg.step(state, law.noisy(state["theta"], drawn, chain.mean, 1.0), k)
    return np.stack(rows)


def clips(net: Network, theta: Float[Tensor, " d"], limit: float, batches: int = 32) -> float:
    """The share of minibatch gradients whose norm is beyond a limit."""
    increments = Increments((SEED, 1, 0, 0), batches // 2, 1, 1.0, torch.device("cpu"))
    points, law = theta.expand(batches, -1), net.noise
    seen = law.noisy(points, law.draw(None, 1.0, increments.draws(0), batches), lambda _: net.gradient(theta[None]), 1.0)
    return float((seen.norm(dim=-1) > limit).double().mean())
