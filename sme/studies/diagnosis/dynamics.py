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
from sme.optimizers.regimes import BALLISTIC
from sme.problems.networks.network import Network
from sme.simulate import noiseless
from sme.simulate.setup import Setup

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


def follow(net: Network, rule: Optimizer, tau: float, start: Beginning, steps: int, clipped: bool) -> Dynamics:
    """Run it; a rule behind a clip that acts has no drift here, as its mean step is no closed form.

    Where the averages start at 0, the drift starts after the first step of the noiseless run.
    """
    chain, first = Chain(net, rule, BALLISTIC, tau), int(start.late)
    fields = chain.mean_step(start.fields, start.time) if first else start.fields
    marks = sorted({0, *np.linspace(first, steps, MARKS + 1).round().astype(int).tolist()})
    setup = Setup(net, rule, BALLISTIC, 1, "independent", StepGrid.of(tau, max(1, steps - first)), fields, (steps - first,), {})
    dim, lack, ode, later = net.dim, "", {}, [k - first for k in marks if k >= first]

    def loss(states: Tensor) -> np.ndarray:
        return net.loss(states[:, :dim]).numpy()

    zero = net.loss(start.fields["theta"][None]).numpy()[: len(marks) - len(later)]
    discrete = np.append(zero, loss(noiseless.discrete(setup, later)))
    for order in (1, 2):
        if clipped or (order == 2 and net.kinks):
            lack = "a clip that acts leaves no drift" if clipped else "the loss has kinks, so that order 2 is not offered"
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
    return Dynamics(np.array(marks), discrete, ode, _noisy(chain, start, marks), lack)


def _noisy(chain: Chain, start: Beginning, marks: list[int]) -> Float[np.ndarray, "marks runs"]:
    """The loss of a few runs on true minibatches."""
    law, paths, rows = chain.problem.noise, 2 * PAIRS, []
    increments = Increments((SEED, marks[-1], 0, 0), PAIRS, 1, chain.tau, torch.device("cpu"))
    state = {name: field.expand(paths, -1).contiguous() for name, field in start.fields.items()}
    for k in range(marks[-1] + 1):
        if k in marks:
            rows.append(chain.problem.loss(state["theta"]).numpy())
        if k < marks[-1]:
            noisy = law.noisy(state["theta"], law.draw(None, chain.tau, increments.draws(k), paths), chain.mean, chain.scale)
            state = chain.moved(state, noisy, start.time + k * chain.tau)
    return np.stack(rows)


def clips(net: Network, theta: Float[Tensor, " d"], limit: float, batches: int = 32) -> float:
    """The share of minibatch gradients whose norm is beyond a limit."""
    increments = Increments((SEED, 1, 0, 0), batches // 2, 1, 1.0, torch.device("cpu"))
    points, law = theta.expand(batches, -1), net.noise
    seen = law.noisy(points, law.draw(None, 1.0, increments.draws(0), batches), lambda _: net.gradient(theta[None]), 1.0)
    return float((seen.norm(dim=-1) > limit).double().mean())
