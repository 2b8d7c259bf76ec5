"""An optimizer of torch.optim as a rule of the package."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError, warn
from sme.common.inputs import number, short, whole
from sme.common.process.turns import entry
from sme.optimizers.base import Optimizer
from sme.optimizers.imported import settings
from sme.optimizers.imported.against import check, product
from sme.optimizers.imported.forms import USUAL, Place, form, rule_of
from sme.optimizers.imported.schedulers import schedules
from sme.optimizers.library.asgd import SlowingSGD
from sme.optimizers.library.base import LibraryRule
from sme.optimizers.library.muon import Muon
from sme.optimizers.library.nadam import NAdam
from sme.optimizers.library.radam import RAdam
from sme.optimizers.parts.clipping import clipping
from sme.optimizers.parts.groups import Groups
from sme.optimizers.parts.scheduled import Scheduled
from sme.optimizers.regimes import Regime
from sme.optimizers.regimes import regime as named

WHOLE = 1e-9
"""share of its steps by which a start may miss a whole number of them"""
VANISHED = 1e-14
"""product of NAdam's momenta that is none any more"""
LATEST = 10**6


@entry
def from_torch(optimizer: torch.optim.Optimizer, *, regime: str | Regime = "ballistic", tau: float | None = None,
               t0: float | None = None, scheduler: Any = None, clip: float | tuple[str, float] | None = None,
               parameters: Iterable[Tensor] | None = None, steps: int | None = None) -> Optimizer:
    r"""The rule of an optimizer of torch.optim, in scaled variables, $1 - \beta = c\tau$.

    Its hyperparameters belong to one step size `τ`, at which the rule takes the library's own steps (compared here with those
    of torch over 50 steps in double precision); at other `τ` it is the rule of the same family, with the same rates `c`.

    | class | ballistic | batch-equivalent |
    |---|---|---|
    | Adam, AdamW, NAdam, RAdam, RMSprop | `τ = lr` | `τ = lr²` |
    | SGD, also with `dampening = momentum`; Adadelta, ASGD, Muon | `τ = lr` | `τ = lr` |
    | Adagrad | `τ = lr²` | give `tau` |
    | SGD or RMSprop with undamped momentum | give `tau` | give `tau` |

    Parameters
    ----------
    optimizer
        a torch.optim SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, ASGD or Muon. Of several param groups each
        moves its own part of `θ`, the parameters one after the other as the groups have them.
    regime
        `"ballistic"` or `"batch_equivalent"`.
    tau
        `τ`, where the learning rate does not say it, or another than it says: the rate is then `η` times that of `τ`. With
        undamped momentum `1 − momentum` is the usual choice. Of groups the first says `τ`.
    t0
        start time, for a rule whose steps know their number (`t0 = kτ` goes on after `k` steps of torch) a multiple of every
        `τ`; without one these start as soon as they have a limit, with a warning.
    scheduler
        a torch.optim.lr_scheduler of this optimizer; its base rates are read, and it becomes a function of time.
    clip
        of the gradient before every step: `1.0` for `clip_grad_norm_(parameters, 1.0)`, `("value", 0.5)` for
        `clip_grad_value_`; see `sme.Clipping`. (`sme.Private` clips the gradient of every example.)
    parameters
        such as `model.parameters()`: the order of the parameters in `θ`, if it is not the groups'.
    steps
        of the run: a scheduler that is known at whole steps alone, such as a LambdaLR with branches of Python, is read off at
        each of them, with lines between.

    Returns
    -------
    Optimizer
        as any other. A run of torch has the state of a rule's fields: `m` is `exp_avg`, `v` is `exp_avg_sq` (over `τ` in the
        batch-equivalent regime, where the noise is `√τ` times the physical one, too).

    Raises
    ------
    SMEError
        for a class or a setting that has no equation, with the reason; where `tau` or a later `t0` is needed; and if this
        version of torch takes other steps.

    Warns
    -----
    UserWarning
        where a start time is chosen, or a scheduler drives the rate and is not given.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise SMEError(f"from_torch takes an optimizer of torch.optim, such as torch.optim.Adam(model.parameters()), got "
                       f"{short(optimizer)}")
    kind, place = type(optimizer), named(regime)
    groups = settings.groups(optimizer)
    for group in groups:
        if "initial_lr" in group:
            now, group["lr"] = group["lr"], group["initial_lr"]
            if scheduler is None:
                warn(f"a scheduler drives the learning rate: read was its base rate, initial_lr = {group['lr']:g}"
                     + (f", not the present lr = {now:g}" if now != group["lr"] else "")
                     + "; give scheduler=… to have it as a function of time")
    step = _step_size(kind, groups[0], place, tau)
    start = None if t0 is None else number("t0", t0)
    if start is not None and not 0 <= start < math.inf:
        raise SMEError(f"t0 must be finite and ≥ 0, got {start:g}")
    if start is not None and abs(start / step - round(start / step)) > WHOLE * max(1.0, start / step):
        near = max(1, round(start / step)) * step
        raise SMEError(f"t0 = {start:g} is {start / step:.6g} steps of τ = {step:g}, and torch takes whole ones: give a multiple "
                       f"of τ, such as {near:g}")
    if start is None:
        start = max(_first(kind, group, Place(place, step, None)) for group in groups) or None
        if start is not None:
            warn(f"the steps of {kind.__name__} know their number: they start at t0 = {start:g}, after {_counted(start / step)} "
                 "of torch; give t0, a multiple of every τ")
    where = Place(place, step, start)
    rules: list[Optimizer] = []
    order, owner = _order(optimizer, parameters)
    for i, group in enumerate(groups):
        rule = rule_of(kind, group, where)
        if isinstance(rule, Muon):
            rule = replace(rule, shapes=tuple((p.shape[0], p.shape[1]) for p in order if owner[id(p)] == i))
        _late(rule, step)
        check(kind, group, rule, where)
        rules.append(rule)
    if scheduler is not None:
        if any(isinstance(rule, SlowingSGD) for rule in rules):
            raise SMEError("ASGD has a schedule of its own, in which torch's scheduler is no factor: leave scheduler out")
        times = schedules(scheduler, optimizer, step, None if steps is None else whole("steps", steps, 1))
        rules = [Scheduled(rule, each) for rule, each in zip(rules, times, strict=True)]
    return clipping(_together(rules, order, owner), clip, place)


def _step_size(kind: type, group: dict[str, Any], regime: Regime, tau: float | None) -> float:
    """`τ`: the one that is given, else that of the learning rate."""
    made = form(kind, group)
    if tau is not None:
        step = number("tau", tau)
        if not 0 < step < math.inf:
            raise SMEError(f"tau must be positive and finite, got {step:g}")
        return step
    if made.loose:
        raise SMEError(f"the learning rate of this {kind.__name__} does not fix τ: {made.loose}. Give tau=…"
                       + (f"; {USUAL}, tau={1 - group['momentum']:.6g}" if group.get("momentum") else ""))
    if not made.power(regime):
        raise SMEError(f"the learning rate of {kind.__name__} is 1 at every τ in the {regime.name} regime, so it does not fix τ: "
                       "give tau=…")
    return float(float(group["lr"]) ** (1 / made.power(regime)))


def _first(kind: type, group: dict[str, Any], place: Place) -> float:
    """The first time at which a rule with a clock has its limit's form; 0 of one without."""
    rule = form(kind, group).rule
    if not rule.clocked:
        return 0.0
    probe = rule_of(kind, group, Place(place.regime, place.tau, place.tau))
    return place.tau * _steps(probe, place.tau)


def _steps(rule: LibraryRule, tau: float) -> int:
    """How many steps of torch must have been taken."""
    if isinstance(rule, NAdam):
        log, k = 0.0, 0
        while log > math.log(VANISHED) and k < LATEST:
            k += 1
            log += math.log(max(float(rule.mu(k * tau, tau)), 1e-300))
        return k
    if isinstance(rule, RAdam):
        k, decay, limit = 1, 1 - rule.c2 * tau, 2 / (rule.c2 * tau) - 1
        while limit - 2 * (k + 1) * decay ** (k + 1) / (1 - decay ** (k + 1)) <= 5:
            if limit <= 5 or k > LATEST:
                raise SMEError(f"RAdam with β₂ = {decay:g} has ρ ≤ 5 for ever and is not adaptive: give a β₂ nearer to 1")
            k += 1
        return k
    return 1


def _counted(steps: float) -> str:
    """So many steps."""
    return f"{steps:.6g} step" + ("" if round(steps) == 1 else "s")


def _late(rule: LibraryRule, tau: float) -> None:
    """Raise `SMEError` for a start time before a rule has its limit's form."""
    if not isinstance(rule, NAdam | RAdam):
        return
    least = _steps(rule, tau)
    if rule.t0 < (least - 0.5) * tau:
        what = (f"its product of momenta, here {product(rule, rule.t0 / tau, tau):.1g}, has vanished" if isinstance(rule, NAdam)
                else "its ρ is above 5")
        raise SMEError(f"{type(rule).__name__} of torch takes its limit's steps once {what}, after {_counted(least)}: give "
                       f"t0 ≥ {least * tau:.6g}")


def _order(optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor] | None) -> tuple[list[Tensor], dict[int, int]]:
    """The parameters as they stand in `θ`, and to which group each belongs, by its `id`."""
    owner = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    if parameters is None:
        return [p for group in optimizer.param_groups for p in group["params"]], owner
    order = list(parameters) if isinstance(parameters, Iterable) else []
    if not all(isinstance(p, Tensor) for p in order) or sorted(map(id, order)) != sorted(owner):
        raise SMEError("parameters must be those that the groups of the optimizer have, each of them once")
    return order, owner


def _together(rules: list[Optimizer], order: list[Tensor], owner: dict[int, int]) -> Optimizer:
    """One rule, or groups of them."""
    if len(rules) == 1 or (len(set(rules)) == 1 and not rules[0].mixes):
        return rules[0]
    return Groups(tuple(rules), tuple((owner[id(p)], p.numel()) for p in order))
