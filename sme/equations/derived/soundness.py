"""Whether an update rule may be expanded: it stands still at `τ = 0`, is affine at first order, and near its expansion."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import X
from sme.equations.derived.probes import Inputs, close
from sme.equations.derived.refusal import Watch, bent, moving, precision, raw

if TYPE_CHECKING:
    from sme.equations.derived.step import Step

NEAR = 1e-3
"""step size times pace at which a step is compared with its expansion"""
FALL = 5.0
"""by which half the step must lessen the remainder, 8 times smaller in the limit; terms of order 2 or less fall by 4 or less"""
SLACK = 1e-5
"""share of the second-order term of a field that the remainder may be, where its own third-order one happens to be small"""
ROUNDING = 3e-14
"""of a step, relative to what it is made from"""
FASTEST = 1e7
"""pace, in units of the rates that a rule names, of one that is smooth for no τ in use"""


def check_still(step: "Step", times: tuple[float, ...], x: X, inputs: Inputs, watch: Watch) -> None:
    """Raise `SMEError` if the rule moves at `τ = 0`, or is not finite there."""
    a, _, q, _ = inputs
    zero, name = torch.zeros((), dtype=torch.float64), step.optimizer.name
    for t in times:
        end = step(t, x, 0 * a, q, zero)
        if close(end, x, 1.0):
            continue
        precision(step.optimizer, watch)
        if cause := moving(step.optimizer, step.tiny(t), x, a, q):
            raise SMEError(f"the update rule of {name} moves although gradient.step and τ are 0: {cause}")
        if not bool(torch.isfinite(end).all()):
            if _is_raw(step, t, x, inputs):
                raise raw(step.optimizer, watch)
            raise SMEError(f"the update rule of {name} is not a number at τ = 0, though it is one at small τ: something is "
                           "divided by tau there, such as t / tau. Write the limit out: t / tau / (t / tau + 1) is "
                           "t / (t + tau), and β^(t/τ) is exp(t log(1 − c τ)/τ), as sme.optimizers.bias has it")
        raise SMEError(f"the update rule of {name} moves although gradient.step and τ are 0: every change of the state must "
                       "carry a factor gradient.step or tau")


def _is_raw(step: "Step", t: float, x: X, inputs: Inputs) -> bool:
    a, a2, q, q2 = inputs
    tau = torch.tensor(1e-3, dtype=torch.float64)
    return bent(lambda a, q: step(t, x, tau * a, q, tau) - x, a, a2, q, q2)


def pace_of(step: "Step", rate: X, bend: X) -> Tensor:
    """How fast a rule changes at a state: the largest `|bend|/|rate|` of a field."""
    count = len(step.optimizer.fields)
    r, b = (term.reshape(len(term), count, -1).norm(dim=-1) for term in (rate, bend))
    return torch.where(r > 0, b / r, 0.0).amax(-1)


def check_affine(step: "Step", times: tuple[float, ...], watch: Watch) -> None:
    """Raise `SMEError` unless `rate` is affine in `(a, q)`, large or small; and see on what the step depends."""
    x, (a, a2, q, q2) = step.places(every=True)
    step.through, zero = watch.raw, torch.zeros((), dtype=torch.float64)
    for t in times:
        one, two, mean = (step.rate(t, x, *at) for at in ((a, q), (a2, q2), ((a + a2) / 2, (q + q2) / 2)))
        there = torch.isfinite(one) & torch.isfinite(two) & torch.isfinite(mean)
        if not close((2 * mean)[there], (one + two)[there], one[there], two[there]):
            precision(step.optimizer, watch)
            raise raw(step.optimizer, watch)
        step.squares = step.squares or not close(one[there], step.rate(t, x, a, q2)[there])
        once, double = step(t, x, a, q, zero) - x, step(t, x, 2 * a, 0 * q, zero) - x
        step.linear = step.linear and close((2 * once)[there], double[there], x[there])


def check_expansion(step: "Step", terms: dict[float, tuple[X, X]], x: X, inputs: Inputs, pace: Tensor, watch: Watch) -> None:
    """Raise `SMEError` unless what is left of a step beyond `rate` and `bend` falls like `τ³`, at a small τ."""
    a, _, q, _ = inputs
    name, known = step.optimizer.name, max([1.0, *step.optimizer.rates().values()])
    if step.optimizer.t0 > 0:
        known = max(known, 1 / step.optimizer.t0)
    fits = bool((pace < FASTEST * known).all())
    sizes = 8.0 ** torch.floor(torch.log(NEAR / pace) / math.log(8)) if fits else pace
    for t, (rate, bend) in terms.items():
        for size in sizes.unique() if fits else ():
            mine = sizes == size

            def left(tau: Tensor, t: float = t, rate: X = rate, bend: X = bend) -> X:
                return step(t, x, tau * a, q, tau) - x - tau * (rate + tau * bend)

            rest, half = left(size)[mine], left(size / 2)[mine]
            largest = bend.abs().reshape(len(x), -1, step.dim).amax(-1).repeat_interleave(step.dim, -1)
            noise = (ROUNDING * (1 + x.abs() + size * rate.abs()) + SLACK * size**2 * largest)[mine]
            fits = fits and bool((half.abs() <= rest.abs() / FALL + noise).all())
    if fits:
        return
    precision(step.optimizer, watch)
    if any(_is_raw(step, t, x, inputs) for t in terms):
        raise raw(step.optimizer, watch)
    raise SMEError(f"the update rule of {name} cannot be differentiated in τ: however small τ is, it is not near its "
                   "expansion. Use torch functions of its arguments only, without float(), kinks or jumps, and nothing "
                   f"singular at τ = 0; a rule with rates above {FASTEST:g} names them in rates()")
