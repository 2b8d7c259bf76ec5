"""Whether a step size is small enough for any equation in powers of τ, and for the discrete run itself."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.func import jacfwd, jacrev, vjp

from sme.common import errors
from sme.common.storage.records import Arrays, Records
from sme.equations.literature.midpoint import equation as midpoint
from sme.simulate.control_variates.controls import LONGEST
from sme.simulate.setup import Setup

LOOKS = 16
"""at so many steps of the noiseless run, evenly spaced"""
DENSE = 200
"""numbers of a state up to which its Jacobian is formed"""
LARGEST = 6
"""so many eigenvalues"""
ACCURACY = 1e-4
"""of Arnoldi's eigenvalues, and by how much one of the step may exceed 1"""
Increment = Callable[[Float[Tensor, " state"]], Float[Tensor, " state"]]


@dataclass(frozen=True)
class Stability:
    """The `LARGEST` eigenvalues `λ` of `J`, the Jacobian of the mean step's increment, along the noiseless run."""

    tau: float
    radius: float
    """the largest `|λ|`: step size × curvature for SGD, at least `c τ` for a memory of rate `c`"""
    growth: float
    """the largest `|1 + λ|` of those with `Re λ < 0`: beyond 1, the discrete run amplifies what its equation damps"""
    time: float
    """where `radius` is found"""

    @property
    def trusted(self) -> bool:
        """Whether the series in `τ` can converge: that of `log(1 + J)` does for a radius below 1."""
        return self.radius < 1

    @property
    def stable(self) -> bool:
        """Whether the discrete run damps what it would with smaller steps."""
        return self.trusted or self.growth <= 1 + ACCURACY


def stability(setup: Setup) -> Stability:
    """Look at the spectrum of the mean step's Jacobian along the noiseless run.

    `J(x, t) = ∂_x (F(x, t) − x)` with `F` the update rule fed with `E[gradient]`, at no more than `LOOKS` steps among the first
    `LONGEST`, or as long as the run is finite. Source: docs/theory/scaling.md, section 2.
    """
    backward = setup.problem.backward
    found = [] if setup.optimizer.opaque else [(*_extremes(increment, x, backward), t) for increment, x, t in _looks(setup)]
    if not found:
        return Stability(setup.tau, math.nan, math.nan, setup.optimizer.t0)
    radius, _, time = max(found)
    return Stability(setup.tau, radius, max(growth for _, growth, _ in found), time)


def warn(setups: Iterable[Setup], records: Records | None = None) -> None:
    """Warn, in one line, of every step size at which no equation in powers of `τ` can be trusted.

    From the largest step size on, up to the first that can be: the radius grows with `τ`. What the `records` of their study have
    is not looked at again.
    """
    records = records or Records(None)
    outside: list[Stability] = []
    setups = list(setups)
    for setup in sorted({setup.steps: setup for setup in setups}.values(), key=lambda setup: setup.steps):
        seen = _recorded(setup, records)
        if seen.trusted or math.isnan(seen.radius):
            break
        outside.append(seen)
    if outside:
        errors.warn(message(outside, *_model(setups[0])))


def _recorded(setup: Setup, records: Records) -> Stability:
    def look() -> Arrays:
        return {name: np.array(each) for name, each in asdict(stability(setup)).items()}

    return Stability(**{name: float(each) for name, each in records.get(f"stability, {setup.steps} steps", look).items()})


def _model(setup: Setup) -> tuple[bool, bool]:
    """Whether the equation under test is stable where the optimizer is; and whether there is one that is."""
    if getattr(setup.kind, "bounded", False):
        return True, True
    other = setup.optimizer.memory == 1 and midpoint.MODEL.kind(setup.optimizer, setup.regime) is not None
    return False, other


def message(outside: list[Stability], bounded: bool = False, other: bool = False) -> str:
    """What there is to say of the step sizes outside, of an equation that is `bounded` or not, and of whether there is one."""
    where = ", ".join(f"{each.radius:.3g} at t = {each.time:g}" for each in outside)
    said = f"tau = {_taus(outside)}: step size × curvature (the spectral radius of one step) is {where}; "
    below = f"{min(each.tau / each.radius for each in outside):.2g}"
    unstable = [each for each in outside if not each.stable]
    if bounded:
        said += ("this equation is stable where the discrete run is, and of a linear rule at rest as it is, but where a step "
                 f"overshoots its rate is another one: use tau below about {below} for what is not at rest")
    else:
        said += f"an equation in powers of tau can only be trusted below 1: use tau below about {below}"
        if other and len(unstable) < len(outside):
            said += ", or model='midpoint', which is stable where the discrete run is"
    return said + (f"; at tau = {_taus(unstable)} the discrete run itself is unstable" if unstable else "")


def _taus(several: list[Stability]) -> str:
    return ", ".join(f"{each.tau:g}" for each in several)


def _looks(setup: Setup) -> Iterator[tuple[Increment, Float[Tensor, " state"], float]]:
    """The mean increment as a function of the state, the state and the time, at the steps that are looked at."""
    chain, x = setup.chain, setup.whole(1)[0]
    steps = min(setup.marks[-1], LONGEST)
    at = {int(k) for k in np.linspace(0, steps - 1, min(LOOKS, steps)).round()}

    def increment(x: Float[Tensor, " state"], t: float) -> Float[Tensor, " state"]:
        new = chain.mean_step(setup.fields(x), t)
        return setup.layout.whole(new) - x

    for k in range(steps):
        t = chain.time(k)
        if not bool(torch.isfinite(x).all()):
            return
        if k in at:
            yield partial(increment, t=t), x, t
        x = x + increment(x, t)


def _extremes(increment: Increment, x: Float[Tensor, " state"], backward: bool) -> tuple[float, float]:
    """`radius` and `growth`; not a number where the Jacobian is not finite.

    A large one is not formed, but multiplied by in reverse mode: `J` and its transpose share their spectrum.
    """
    if len(x) <= DENSE:
        jacobian = (jacrev if backward else jacfwd)(increment)(x)
        if not bool(torch.isfinite(jacobian).all()):
            return math.nan, math.nan
        return _sizes(torch.linalg.eigvals(jacobian.cpu()).numpy())
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs  # takes half a second, and few runs ask for it

    back = vjp(increment, x)[1]

    def multiply(u: np.ndarray) -> np.ndarray:
        product: Tensor = back(torch.from_numpy(u.astype(float).ravel()).to(x.device))[0]
        return product.cpu().numpy()

    operator = LinearOperator((len(x), len(x)), matvec=multiply, dtype=float)
    begin = np.random.default_rng(0).standard_normal(len(x))
    if not np.isfinite(multiply(begin)).all():
        return math.nan, math.nan
    try:
        return _sizes(eigs(operator, k=LARGEST, v0=begin, tol=ACCURACY, return_eigenvectors=False))
    except ArpackNoConvergence as fault:
        return _sizes(fault.eigenvalues)


def _sizes(values: Complex[np.ndarray, " values"]) -> tuple[float, float]:
    """`max |λ|`, and `max |1 + λ|` of those with a negative real part."""
    values = values[np.argsort(-abs(values))[:LARGEST]]
    return float(abs(values).max(initial=0.0)), float(abs(1 + values[values.real < 0]).max(initial=0.0))
