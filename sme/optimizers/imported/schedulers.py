"""Torch's learning-rate schedulers as functions of time, compared with the scheduler's own rates."""

import copy
import math
import warnings
from collections import defaultdict
from typing import Any

import torch

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.optimizers.parts.schedules import Constant, Cosine, Exponential, Line, Power, Schedule, Stairs, Then, Times

STEPS = 64
NEAR = 1e-10
KNOWN = ("LinearLR, ConstantLR, CosineAnnealingLR, ExponentialLR, PolynomialLR, StepLR, MultiStepLR, SequentialLR, "
         "ChainedScheduler")


def schedules(scheduler: Any, optimizer: torch.optim.Optimizer, tau: float) -> list[Schedule]:
    """For each param group `η(t)` with `η(kτ)` the learning rate of step `k` over the base rate.

    Raises
    ------
    SMEError
        for a scheduler of another optimizer, one that is no function of time here, or whose own rates are others.
    """
    if getattr(scheduler, "optimizer", None) is not optimizer:
        raise SMEError(f"scheduler must be a torch.optim.lr_scheduler of this optimizer, got {short(scheduler)}")
    found = [_of(scheduler, i, tau) for i in range(len(optimizer.param_groups))]
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
    raise SMEError(f"{type(given).__name__} is no function of time here: known are {KNOWN}. Leave it out, and put its function "
                   "round the rule: sme.Scheduled(sme.from_torch(optimizer), schedule)")


def _sequence(parts: list[Schedule], places: list[float]) -> Schedule:
    """Each part up to its place, with a time of its own."""
    total, begins = parts[-1], [0.0, *places]
    for i in range(len(places) - 1, -1, -1):
        total = Then(parts[i], total, places[i] - begins[i])
    return total


def _compare(scheduler: Any, optimizer: torch.optim.Optimizer, found: list[Schedule], tau: float) -> None:
    """Raise `SMEError` if the scheduler's own next rates are not these."""
    kept: dict[int, Any] = {id(optimizer.state): defaultdict(dict)}  # parameters may be large
    kept |= {id(p): torch.nn.Parameter(torch.zeros(1)) for group in optimizer.param_groups for p in group["params"]}
    twin = copy.deepcopy(scheduler, kept)
    for k in range(twin.last_epoch, twin.last_epoch + STEPS):
        for group, schedule in zip(twin.optimizer.param_groups, found, strict=True):
            base, theirs = float(group["initial_lr"]), float(group["lr"])
            ours = base * float(schedule(k * tau))
            if not abs(ours - theirs) <= NEAR * base:
                raise SMEError(f"{type(scheduler).__name__} of torch {torch.__version__} has lr = {theirs:g} in step {k}, and "
                               f"the function of time known of it {ours:g}: give its function, sme.Scheduled(rule, schedule)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch misses the steps of its optimizer
            twin.step()
