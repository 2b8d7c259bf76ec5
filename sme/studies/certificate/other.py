"""The other reading of the same physical run: the scaled variables of the other regime."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, cast

from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.base import Optimizer, State, adaptive_scale
from sme.optimizers.hyperparameters import LINEAR, RULES
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.problems.base import Problem
from sme.problems.noise.base import GradientLaw
from sme.problems.noise.gaussian import GaussianNoise
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.renoised import Renoised
from sme.simulate.observables import Observable

SQUARED = ("v",)
"""fields in units of the squared gradient"""


@dataclass(frozen=True)
class _Factor:
    """A multiple of a factor that depends on θ."""

    of: Any
    times: float

    def __call__(self, theta: Tensor) -> Tensor:
        return cast(Tensor, self.times * self.of(theta))


@dataclass(frozen=True)
class Reread:
    """An observable of one regime's variables, of a state in the other's."""

    of: Observable
    scale: float
    """the other's second moment over one's"""

    def __call__(self, state: State) -> Tensor:
        return self.of({name: field / self.scale if name in SQUARED else field for name, field in state.items()})


@dataclass(frozen=True)
class Reading:
    """One run in the variables of a regime."""

    problem: Problem
    optimizer: Optimizer
    regime: Regime
    tau: float
    horizon: float
    start: State
    observables: Mapping[str, Observable]


def other(one: Reading) -> Reading:
    """The same steps in the other regime's variables (docs/theory/scaling.md, section 1).

    With a second moment, ballistic `τ` is the learning rate and batch-equivalent `τ` its square: `c' = cτ/τ'`, `ε' = ε s'/s`,
    `v' = v (s'/s)²` and `S' = S s'/s`, with `s` 1 ballistic and `√τ` batch-equivalent. Without one `τ` is the same in both.

    Raises
    ------
    SMEError
        for a rule that is none of torch's, and for noise that has no size of its own.
    """
    name = next((name for name, kind in RULES.items() if type(one.optimizer) is kind), None)
    if name is None or name == "adagrad" or not is_dataclass(one.optimizer) or one.optimizer.memory != 1:
        raise SMEError(f"scalings='both' reads a run as torch takes it, and {one.optimizer.name} is none of "
                       f"{', '.join(each for each in RULES if each != 'adagrad')} with memory 1: give scalings='one'")
    there = BATCH_EQUIVALENT if one.regime == BALLISTIC else BALLISTIC
    unit = one.tau ** (one.regime.step_power / 2)
    tau = one.tau if name in LINEAR else unit ** (2 / there.step_power)
    gain = adaptive_scale(there, tau) / adaptive_scale(one.regime, one.tau)
    given: dict[str, Any] = {rate: value * one.tau / tau for rate, value in one.optimizer.rates().items()}
    for setting, power in (("eps", 1 if getattr(one.optimizer, "eps_mode", "outside") == "outside" else 2), ("v_floor", 2)):
        if hasattr(one.optimizer, setting) and name not in LINEAR:
            given[setting] = getattr(one.optimizer, setting) * gain**power
    if hasattr(one.optimizer, "decay"):
        given["decay"] = one.optimizer.decay * one.tau / tau
    if one.optimizer.t0:
        given["t0"] = one.optimizer.t0 * tau / one.tau
    optimizer = cast(Optimizer, replace(one.optimizer, **given))  # type: ignore[type-var]
    start = {field: value * gain**2 if field in SQUARED else value for field, value in one.start.items()}
    observables = {name: Reread(each, gain**2) for name, each in one.observables.items()}
    problem = Renoised(one.problem, _scaled(one.problem.noise, gain))
    return Reading(problem, optimizer, there, tau, one.horizon * tau / one.tau, start, observables)


def _scaled(law: GradientLaw, gain: float) -> GradientLaw:
    """The law of `gain` times the noise."""
    assert math.isfinite(gain)
    if type(law) is MinibatchNoise:
        return law.changed(scale=law.scale * gain)
    if type(law) is GaussianNoise:
        factor = law.factor * gain if isinstance(law.factor, Tensor) else _Factor(law.factor, gain)
        return GaussianNoise(factor, law.motions)
    raise SMEError(f"scalings='both' scales the noise, and {type(law).__name__} has no size of its own: give scalings='one'")
