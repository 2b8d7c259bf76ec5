"""What is not smooth about a rule on a problem, and which order that leaves."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BATCH_EQUIVALENT, Regime
from sme.problems.base import Problem
from sme.problems.smooth.contacts import MOST, NUMBERS, Contacts, contacts
from sme.problems.smooth.parts import RULE, MeanStep, Searched, States, Times
from sme.problems.smooth.places import place_of, wander
from sme.problems.smooth.sides import sides

REACH = 2.0
"""standard deviations of the noisy paths about the noiseless one within which a place counts as met"""
PASSES, RESTS = 0.2, 0.6
"""shares of the run within reach of a place: up to the first it is crossed, from the second on the run rests there"""
LEAST, LOOKED = 12, 2**14
"""contacts of one operation whose sides are looked at: at least so many, and on more while that takes fewer numbers than these"""
DIRECTIONS = 4
"""of the noise, along which a number is followed"""

STEP, DRAWS = 2.0**-12, (-3.1, -1.3, -0.4, 0.5, 1.2, 2.9)
"""a small step, and noises in standard deviations, that may lead away from the end of a domain"""
BESIDE = 1e-6
"""of the way between two states of a path, beside a contact, which is known better"""

Path = tuple[Times, States]


@dataclass(frozen=True)
class Obstacle:
    """An operation that is not smooth where the run meets it.

    Attributes
    ----------
    operation
        of torch, by name, and the part that it stands in.
    place
        where it switches.
    kind
        `"jump"` and `"kink"` of the mean step where they are crossed, `"rest"` for a kink on which the run stays,
        `"undecided"`.
    order
        that is certain in spite of it.
    most
        that is possible.
    where
        time and state at which it is met first; None where no run was named.
    """

    operation: str
    place: str
    kind: str
    order: float
    most: float
    where: tuple[float, Mapping[str, list[float]]] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        met = f" (met at t ≈ {self.where[0]:.3g})" if self.where else ""
        does = {"jump": "makes the mean step jump", "kink": "makes a kink of the mean step",
                "rest": "makes a kink of the mean step, and the run rests there,"}
        if self.kind in does:
            return f"{self.operation} {does[self.kind]} {self.place}{met}"
        return f"{self.operation} {self.place}{met}"


def obstacles(problem: Problem, optimizer: Optimizer, regime: Regime, paths: Sequence[Path] | None = None,
              shifted: bool = False, made: Callable[[Tensor], MeanStep] | None = None) -> list[Obstacle]:
    """The operations that keep the mean step from being smooth, those that leave the lowest order first.

    Parameters
    ----------
    paths
        times and states of a run: the noiseless one, then noisy ones, at the same times. Without them every place that is
        found in a wide box of states counts as met.
    shifted
        whether the equation takes a jump half a step later, as that of `sme.Signum` does: a jump that is crossed then
        costs nothing.
    made
        from a state to the mean step of a rule that is not expanded.
    """
    known = paths is not None
    if paths is None:
        paths = wander(optimizer, problem.dim, problem.start.get("theta"))
    point = paths[0][1][0]
    step = MeanStep(problem, optimizer, regime, point) if made is None else made(point)
    if optimizer.signed:
        try:
            problem.noise.sign_mean(paths[0][1][:1, : problem.dim], torch.zeros((1, problem.dim), dtype=torch.float64))
        except SMEError:  # the law has atoms, as that of a minibatch
            return [Obstacle("the sign of the gradient", "where one of finitely many values crosses 0", "jump", 1.0, 1.0)]
    searched = [*paths, *_further(paths, optimizer, problem.dim)] if known else paths
    if RULE in step.untraced:
        return [Obstacle(f"the {RULE}", f"cannot be searched for jumps: {step.untraced[RULE]}", "undecided", 1.0, 2.0)]
    found = [Obstacle(f"the {name}", f"cannot be searched for jumps: {why}", "undecided", 1.0, 2.0)
             for name, why in step.untraced.items()]
    found += [Obstacle(f"torch.{name} in the {part.name}", "is not known to be smooth", "undecided", 1.0, 2.0)
              for part in step.parts for name in part.graph.unknown]
    if not any(part.graph.names for part in step.parts):
        return found
    few = max(1, len(paths[0][0]) * len(paths) * 2 * paths[0][1].shape[1] // LOOKED)
    try:
        size = torch.cat([step.moves(t[::few], x[::few]) for t, x in paths]).abs().nan_to_num(0.0, 0.0, 0.0).median(0).values
    except Exception as fault:  # it cannot be differentiated in τ
        why = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
        return [*found, Obstacle("the mean step", f"cannot be computed: {why}", "undecided", 1.0, 2.0)]
    once = max(1, NUMBERS // (MOST * paths[0][1].shape[1]))
    groups = [searched[i : i + once] for i in range(0, len(searched), once)]
    for part in step.parts:
        if part.name not in ("loss", RULE) and any(each.operation.endswith("in the loss") for each in found):
            continue  # the loss has it by the name that its author knows
        met = [contacts(part, group) for group in groups]
        for index, name in enumerate(part.graph.names):
            own = _joined([each for each in met if len(each)], index)
            if own is not None:
                found += _judge(step, part, index, name, own, size, paths if known else None, shifted)
    return sorted(_unlike(found), key=lambda each: (each.order, each.most))


def _further(paths: Sequence[Path], optimizer: Optimizer, dim: int) -> list[Path]:
    """The noisy paths, so many times as far from the noiseless one: the noise of another run gets there."""
    (t, x), *noisy = paths
    bounded = torch.tensor([name in optimizer.nonnegative for name in optimizer.fields]).repeat_interleave(dim)
    return [(t, torch.where(bounded, torch.maximum(x + REACH * (y - x), torch.minimum(x, y)), x + REACH * (y - x)))
            for s, y in noisy if len(s) == len(t)]


def _joined(met: Sequence[Contacts], index: int) -> Contacts | None:
    rows = [Contacts(*[column[each.operation == index] for column in each]) for each in met]
    return Contacts(*[torch.cat(column) for column in zip(*rows, strict=True)]) if rows and sum(map(len, rows)) else None


def _unlike(found: Sequence[Obstacle]) -> list[Obstacle]:
    """One obstacle for each operation and place: the worst."""
    worst: dict[str, Obstacle] = {}
    for each in found:
        best = worst.get(each.operation)
        if best is None or (each.order, each.most) < (best.order, best.most):
            worst[each.operation] = each
    return list(worst.values())


def _judge(step: MeanStep, part: Searched, index: int, name: str, own: Contacts, size: Tensor,
           paths: Sequence[Path] | None, shifted: bool) -> list[Obstacle]:
    """What one operation costs."""
    few = max(LEAST, min(len(own), LOOKED // (12 * len(size))))
    own = Contacts(*[column[torch.linspace(0, len(own) - 1, min(len(own), few)).long()] for column in own])
    # at a switch of the rule itself, what it sees of the gradient is taken as it is there
    seen = step.seen(own.x) if part.name == RULE else None
    drift, noise = sides(lambda t, x: step.moves(t, x, seen and seen.again(len(t) // len(own))), own, size)
    # beside the drift the noise is one half order smaller: its jump costs what a kink of the drift does
    shaken = _shaken(step, part, index, own) if step.regime == BATCH_EQUIVALENT else torch.zeros_like(drift.jump)
    operation = f"torch.{name} in the {part.name}"
    open_ = (drift.unclear | (noise.unclear & noise.jump)) & ~_left(step, own)
    cases = ((drift.jump, "jump"), (shaken & noise.jump, "noise"), (shaken & (drift.kink | noise.kink), "shaken"),
             (open_, "undecided"),
             (drift.kink | noise.jump, "kink"))
    found = []
    for rows, kind in cases:
        if not bool(rows.any()):
            continue
        some = Contacts(*[column[rows] for column in own])
        first = int(some.t.argmin())
        where = None if paths is None else (float(some.t[first]), {
            field: part_.tolist() for field, part_ in step.layout.named(some.x[first]).items()})
        share = 0.0 if _timed(part, index, some) else math.nan if paths is None else _share(part, index, some, paths)
        text = place_of(some, step.layout)
        found.append(Obstacle(operation, text, *_cost(kind, share, shifted and part.name == RULE), where))
    return found


def _left(step: MeanStep, own: Contacts) -> Float[Tensor, " contacts"]:
    """Whether each contact is the end of the rule's domain, and every step from beside it leads inside, as from `v = m²`.

    A run that is inside then stays there.
    """
    if step.optimizer.signed:
        return torch.zeros(len(own), dtype=torch.bool)

    def defined(t: Times, x: States) -> Tensor:
        return torch.isfinite(step.moves(t, x)).all(-1)

    sides = [(own.t + e * own.dt, own.x + e * own.dx) for e in (-BESIDE, BESIDE)]
    behind, ahead = (defined(*side) for side in sides)
    t, x = torch.where(ahead, sides[1][0], sides[0][0]), torch.where(ahead[:, None], sides[1][1], sides[0][1])
    g, _, _, deviation = step.seen(x)
    inside = behind ^ ahead
    for z in DRAWS:
        seen = step.regime.seen(STEP ** (step.regime.mean_power / 2) * g + z * deviation, STEP)
        inside &= defined(t + STEP, step.after(t, x, seen.step, seen.square, STEP))
    return inside


def _cost(kind: str, share: float, shifted: bool) -> tuple[str, float, float]:
    """Kind, certain order and possible order, of a run that spends this share of its time there."""
    if kind == "jump":
        crossed = shifted and share <= PASSES
        return ("jump", 2.0, 2.0) if crossed else ("jump", 1.0, 2.0 if shifted and not share >= RESTS else 1.0)
    if kind == "noise":
        return "jump", 0.5, 1.0
    if kind == "shaken":
        return "kink", 1.0, 1.0
    if kind == "undecided":
        return "undecided", 1.0, 2.0
    if share <= PASSES:
        return "kink", 2.0, 2.0
    return ("rest", 1.5, 1.5) if share >= RESTS else ("kink", 1.5, 2.0)


def _timed(part: Searched, index: int, some: Contacts) -> bool:
    """Whether the number that switches is one of time alone, as of a warm-up that ends: every run passes the place at once."""
    here, there = (part.at(some.t, x)[index].value[torch.arange(len(some)), some.entry] for x in (some.x, 1.5 * some.x + 0.25))
    return bool((here == there).all())


def _share(part: Searched, index: int, some: Contacts, paths: Sequence[Path]) -> float:
    """The largest share of the run that the noiseless path stays within reach of the place, over the entries that meet it."""
    (t, x), *noisy = paths
    value = part.at(t, x)[index].value[:, some.entry.unique()]
    if not bool(torch.isfinite(value).all()):
        return math.nan
    others = [part.at(s, y)[index].value[:, some.entry.unique()] for s, y in noisy if len(s) == len(t)]
    reach = torch.stack([(each - value).square() for each in others]).mean(0).sqrt() if others else torch.zeros_like(value)
    near = (value.abs() <= REACH * reach.nan_to_num(0.0)) & (reach > 0)  # no noise moves a flat side
    return float(near[1:].to(value.dtype).mean(0).max()) if len(t) > 1 else 1.0


def _shaken(step: MeanStep, part: Searched, index: int, own: Contacts) -> Float[Tensor, " contacts"]:
    """Whether the noise of one step itself moves the number that switches."""
    x, generator = own.x, torch.Generator().manual_seed(0)
    moved, line = torch.zeros(len(own), dtype=torch.bool), torch.arange(len(own))
    here = part.at(own.t, x)[index].value[line, own.entry]
    for _ in range(DIRECTIONS):
        dW = torch.randn((len(x), step.law.motions), generator=generator, dtype=x.dtype)
        kick = step.kick(own.t, x, step.law.diffuse(x[:, : step.dim], dW))
        there = part.at(own.t, x + 1e-4 * kick)[index].value[line, own.entry]
        moved |= ~((there - here).abs() <= 1e-12 * (1 + kick.abs().amax(-1)))  # not a number counts as moved
    return moved
