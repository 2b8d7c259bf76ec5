"""Torch's learning-rate schedulers as functions of time, compared with the scheduler's own rates."""

import copy
import math
import warnings
from collections import defaultdict
from typing import Any

import torch

from sme.common.errors import SMEError, reason
from sme.common.inputs import short
from sme.optimizers.parts.cycles import Function, Restarts, Swing, Table, Waves
from sme.optimizers.parts.schedules import Constant, Cosine, Exponential, Line, Power, Schedule, Stairs, Then, Times

STEPS = 64
NEAR, SINGLE = 1e-10, 1e-6
"""of a rate in units of the base rate, the second of a function that may compute in single precision"""
KNOWN = ("LinearLR, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, ExponentialLR, LambdaLR, "
         "MultiplicativeLR, OneCycleLR, PolynomialLR, StepLR, MultiStepLR, SequentialLR and ChainedScheduler")
FACTORS = 256
"""steps in which the factor of MultiplicativeLR is looked at"""


class UnknownError(SMEError):
    """A scheduler whose rates are numbers at whole steps, and no function of time that is known."""


def schedules(scheduler: Any, optimizer: torch.optim.Optimizer, tau: float, steps: int | None = None) -> list[Schedule]:
    """For each param group `η(t)` with `η(kτ)` the learning rate of step `k` over the base rate.

    Where `steps` of the run are known, one that is no function of time here is read off at each of them.

    Raises
    ------
    SMEError
        for a scheduler of another optimizer, one that is no function of time here, or whose own rates are others.
    """
    if getattr(scheduler, "optimizer", None) is not optimizer:
        raise SMEError(f"scheduler must be a torch.optim.lr_scheduler of this optimizer, got {short(scheduler)}")
    try:
        found = [_of(scheduler, i, tau) for i in range(len(optimizer.param_groups))]
    except UnknownError:
        if steps is None:
            raise
        return _read(scheduler, steps, tau)
    _compare(scheduler, optimizer, found, tau)
    return found


def _of(given: Any, group: int, tau: float) -> Schedule:
    match type(given).__name__:
        case "LinearLR":
            return Line(given.start_factor, given.end_factor, given.total_iters * tau)
        case "ConstantLR":
            return Then(Constant(given.factor), Constant(), given.total_iters * tau)
        case "CosineAnnealingLR":
            return Cosine(given.T_max * tau, given.eta_min / given.base_lrs[group])
        case "ExponentialLR":
            return Exponential(-math.log(given.gamma) / tau)
        case "PolynomialLR":
            return Power(given.total_iters * tau, given.power)
        case "StepLR":
            return Stairs(given.gamma, given.step_size * tau)
        case "MultiStepLR":
            places = sorted(given.milestones.elements())
            parts: list[Schedule] = [Constant(given.gamma**i) for i in range(len(places) + 1)]
            return _sequence(parts, [place * tau for place in places])
        case "SequentialLR":
            return _sequence([_of(each, group, tau) for each in given._schedulers], [n * tau for n in given._milestones])
        case "ChainedScheduler":
            first, *rest = (_of(each, group, tau) for each in given._schedulers)
            for each in rest:
                first = Times(first, each)
            return first
        case "CosineAnnealingWarmRestarts":
            return Restarts(given.T_0 * tau, given.eta_min / given.base_lrs[group], given.T_mult)
        case "CyclicLR":
            return _cyclic(given, group, tau)
        case "OneCycleLR":
            return _one_cycle(given, group, tau)
        case "LambdaLR":
            try:
                return Function(given.lr_lambdas[group], tau)
            except SMEError as fault:
                raise UnknownError(str(fault)) from fault
        case "MultiplicativeLR":
            factors = {float(given.lr_lambdas[group](k)) for k in range(1, FACTORS)}
            if len(factors) > 1 or not min(factors) > 0:
                raise UnknownError("MultiplicativeLR multiplies by its function in every step, which is a function of time for "
                                   "one constant factor > 0 alone: give the product itself, as LambdaLR")
            return Exponential(-math.log(factors.pop()) / tau)
        case "ReduceLROnPlateau":
            raise SMEError("ReduceLROnPlateau follows the losses of one run, so that its rate is no function of time: leave it "
                           "out")
    raise UnknownError(f"{type(given).__name__} is no function of time here: known are {KNOWN}. Give the steps of the run, over "
                       "which it is read off: sme.from_torch(optimizer, scheduler=…, steps=…)")


def _still(given: Any) -> None:
    """Raise `SMEError` for a scheduler that moves the momentum too."""
    if given.cycle_momentum:
        raise SMEError(f"{type(given).__name__} with cycle_momentum=True moves the momentum, or β₁, in every step, and the "
                       "learning rate alone is a function of time here: give cycle_momentum=False")


def _cyclic(given: Any, group: int, tau: float) -> Schedule:
    _still(given)
    if given._scale_fn_custom is not None:
        raise UnknownError("CyclicLR with a scale_fn of its own is no function of time here: give mode='triangular', "
                           "'triangular2' or 'exp_range'")
    up, high = given.total_size * given.step_ratio * tau, given.max_lrs[group] / given.base_lrs[group]
    rate = -math.log(given.gamma) / tau if given.mode == "exp_range" else 0.0
    return Waves(high, up, given.total_size * tau - up, 0.5 if given.mode == "triangular2" else 1.0, rate)


def _one_cycle(given: Any, group: int, tau: float) -> Schedule:
    _still(given)
    own, kind = given.optimizer.param_groups[group], Swing if given._anneal_func_type == "cos" else Line
    begin, parts, places = 0.0, list[Schedule](), list[float]()
    for phase in given._schedule_phases:
        first, last = (own[phase[name]] / own["initial_lr"] for name in ("start_lr", "end_lr"))
        parts.append(kind(first, last, (phase["end_step"] - begin) * tau))
        places.append(phase["end_step"] * tau)
        begin = phase["end_step"]
    return _sequence(parts, places[:-1])


def _sequence(parts: list[Schedule], places: list[float]) -> Schedule:
    """Each part up to its place, with a time of its own."""
    total, begins = parts[-1], [0.0, *places]
    for i in range(len(places) - 1, -1, -1):
        total = Then(parts[i], total, places[i] - begins[i])
    return total


def _compare(scheduler: Any, optimizer: torch.optim.Optimizer, found: list[Schedule], tau: float) -> None:
    """Raise `SMEError` if the scheduler's own next rates are not these."""
    twin, begun = _twin(scheduler)
    last = min(begun + STEPS, getattr(twin, "total_steps", math.inf))  # a one-cycle run has an end
    for k in range(begun, int(last)):
        for group, schedule in zip(twin.optimizer.param_groups, found, strict=True):
            base, theirs = float(group["initial_lr"]), float(group["lr"])
            ours = base * float(schedule(k * tau))
            if not abs(ours - theirs) <= (SINGLE if type(scheduler).__name__ == "LambdaLR" else NEAR) * base:
                raise SMEError(f"{type(scheduler).__name__} of torch {torch.__version__} has lr = {theirs:g} in step {k}, and "
                               f"the function of time known of it {ours:g}: give its function, sme.Scheduled(rule, schedule)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch misses the steps of its optimizer
            if k + 1 < last:
                twin.step()


def _twin(scheduler: Any) -> tuple[Any, int]:
    """A copy that can be stepped, and the step that it stands at."""
    optimizer = scheduler.optimizer
    kept: dict[int, Any] = {id(optimizer.state): defaultdict(dict)}  # parameters may be large
    kept |= {id(p): torch.nn.Parameter(torch.zeros(1)) for group in optimizer.param_groups for p in group["params"]}
    twin = copy.deepcopy(scheduler, kept)
    begun = getattr(twin, "last_epoch", None)
    return twin, twin._schedulers[0].last_epoch if begun is None else begun  # which a chain has not


def _read(scheduler: Any, steps: int, tau: float) -> list[Schedule]:
    """The rates of so many steps from where it stands, over the base rates."""
    twin, begun = _twin(scheduler)
    rates: list[list[float]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch misses the steps of its optimizer
        for k in range(steps + 1):
            if k:
                try:
                    twin.step()
                except Exception as fault:
                    raise SMEError(f"{type(scheduler).__name__} has no rate for step {begun + k} of {begun + steps}: "
                                   f"{reason(fault)}") from fault
            rates.append([float(group["lr"]) / float(group["initial_lr"]) for group in twin.optimizer.param_groups])
    return [Table((each[0],) * begun + each, tau) for each in zip(*rates, strict=True)]
