"""Which rule each class of torch.optim follows, with the hyperparameters of one param group, and which have none.

Torch's own `step` could be carried through the derivation instead, with a stand-in for its tensors. The rules are written out
because they are short, pass every part of the package as any rule does, and are compared with torch's own steps, in double
precision, whenever one is imported (`against`): a version of torch that steps otherwise is refused, not misread.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from sme.common.errors import SMEError
from sme.optimizers.base import adaptive_scale
from sme.optimizers.library.adadelta import Adadelta
from sme.optimizers.library.adagrad import DecayedAdagrad
from sme.optimizers.library.adam import CorrectedAdam
from sme.optimizers.library.asgd import ASGD, SlowingSGD
from sme.optimizers.library.base import LibraryRule
from sme.optimizers.library.muon import Muon
from sme.optimizers.library.nadam import NAdam
from sme.optimizers.library.radam import RAdam
from sme.optimizers.library.rmsprop import CentredRMSprop, HeavyCentredRMSprop, HeavyRMSprop, PlainRMSprop
from sme.optimizers.library.sgd import DampedBall, HeavyBall, PlainSGD
from sme.optimizers.regimes import BALLISTIC, Regime

Group = Mapping[str, Any]
USUAL = "1 − momentum is the usual choice"
ROUNDING = 1e-14


class Place(NamedTuple):
    """A regime, a step size and a start."""

    regime: Regime
    tau: float
    t0: float | None

    @property
    def size(self) -> float:
        """What a scaled gradient is divided by to be physical: 1, or `√τ`."""
        return adaptive_scale(self.regime, self.tau)


class Form(NamedTuple):
    """A rule, its own settings, by the step size and the start, and why the learning rate does not fix `τ`, if it does not."""

    rule: type[LibraryRule]
    settings: Callable[[float, float | None], dict[str, Any]] = lambda tau, t0: {}
    loose: str = ""

    def power(self, regime: Regime) -> float:
        """Of `τ` in the learning rate."""
        return self.rule.powers[regime != BALLISTIC]


def _below_one(group: Group) -> float:
    """The momentum, which keeps all that it has seen where it is 1."""
    if not group["momentum"] < 1:
        raise SMEError(f"momentum must be below 1 for a run to have an equation, got {group['momentum']:g}: give such as 0.9")
    return float(group["momentum"])


def _sgd(group: Group) -> Form:
    momentum, dampening = _below_one(group), group["dampening"]
    if not momentum:
        return Form(PlainSGD)
    if dampening == momentum:
        return Form(DampedBall, lambda tau, t0: {"c": (1 - momentum) / tau, "gain": (1 - momentum) / tau})
    return Form(HeavyBall, lambda tau, t0: {"c": (1 - momentum) / tau, "gain": 1.0 - dampening, "nesterov": group["nesterov"]},
                f"lr is η τ² with an undamped momentum {momentum:g}")


def _moments(rule: type[LibraryRule]) -> Callable[[Group], Form]:
    def form(group: Group) -> Form:
        first, second = group["betas"]
        decay = {"psi": group["momentum_decay"]} if rule is NAdam else {}
        return Form(rule, lambda tau, t0: {"c1": (1 - first) / tau, "c2": (1 - second) / tau,
                                           **{name: value / tau for name, value in decay.items()}})

    return form


def _rmsprop(group: Group) -> Form:
    momentum, centred = _below_one(group), group["centered"]
    if not momentum:
        return Form(CentredRMSprop if centred else PlainRMSprop, lambda tau, t0: {"c": (1 - group["alpha"]) / tau})
    return Form(HeavyCentredRMSprop if centred else HeavyRMSprop,
                lambda tau, t0: {"c": (1 - group["alpha"]) / tau, "c1": (1 - momentum) / tau},
                f"lr is η τ², or batch-equivalent η τ^1.5, with a momentum {momentum:g}")


def _adagrad(group: Group) -> Form:
    return Form(DecayedAdagrad, lambda tau, t0: {"slowing": group["lr_decay"] / tau})


def _adadelta(group: Group) -> Form:
    return Form(Adadelta, lambda tau, t0: {"c": (1 - group["rho"]) / tau},
                "lr = 1, torch's default, is no small step and has no limit as τ → 0" if group["lr"] >= 1 else "")


def _asgd(group: Group) -> Form:
    def settings(tau: float, t0: float | None) -> dict[str, Any]:
        given, begins = {"slowing": group["lambd"], "alpha": group["alpha"]}, group["t0"] * tau
        return {**given, "begins": begins} if t0 is not None and t0 > begins else given

    return Form(SlowingSGD, settings)


def _muon(group: Group) -> Form:
    return Form(Muon, lambda tau, t0: {
        "c": (1 - group["momentum"]) / tau, "nesterov": group["nesterov"], "coefficients": tuple(group["ns_coefficients"]),
        "times": group["ns_steps"], "gain": group["adjust_lr_fn"] or "original",
        "shapes": tuple(tuple(p.shape) for p in group["params"])})


FORMS: dict[str, Callable[[Group], Form]] = {
    "SGD": _sgd, "Adam": _moments(CorrectedAdam), "AdamW": _moments(CorrectedAdam), "NAdam": _moments(NAdam),
    "RAdam": _moments(RAdam), "RMSprop": _rmsprop, "Adagrad": _adagrad, "Adadelta": _adadelta, "ASGD": _asgd, "Muon": _muon}
"""by the name of the class in torch.optim"""
REFUSED = {
    "Adamax": "its u is a running maximum of gradients, which with Gaussian noise has no limit as τ → 0",
    "Rprop": "its sizes change by fixed factors and compare with the previous gradient, which is no variable of an equation in τ",
    "LBFGS": "its line search and its memory of gradients take no small step with one gradient",
    "SparseAdam": "it moves only where a sparse gradient has entries, which is no smooth function of the gradient; Adam's dense "
                  "steps are those of torch.optim.Adam",
    "Adafactor": "its β₂ = 1 − k^(−0.8) tends to 1 with the number of the step and not with τ, which leaves order 0.2"}
"""the classes that have no equation, and why"""
AMSGRAD = ("amsgrad = True keeps a running maximum, which follows the extremes of a noisy path and not its mean: order 1 at "
           "most, and no expansion in τ has it")


def known(kind: type) -> None:
    """Raise `SMEError` for a class that has no rule, with the reason."""
    name = kind.__name__
    if getattr(torch.optim, name, None) is not kind:
        base = next((each.__name__ for each in kind.__mro__ if each.__name__ in FORMS), "")
        raise SMEError(f"{name} is no class of torch.optim" + (f", though made from its {base}, whose step it may change" if base
                                                               else "")
                       + f": known are {', '.join(FORMS)}; write its rule as a subclass of sme.Optimizer")
    if name in REFUSED:
        raise SMEError(f"torch.optim.{name} has no equation: {REFUSED[name]}")
    if name not in FORMS:
        raise SMEError(f"torch.optim.{name} is not known here: known are {', '.join(FORMS)}")


def form(kind: type, group: Group) -> Form:
    """The rule of a param group.

    Raises
    ------
    SMEError
        for a class or a setting that has none, with the reason.
    """
    known(kind)
    name = kind.__name__
    if group.get("amsgrad"):
        raise SMEError(f"torch.optim.{name} with {AMSGRAD}")
    if any(p.is_complex() for p in group["params"]):
        raise SMEError("parameters must be real")
    return FORMS[name](group)


def rule_of(kind: type, group: Group, place: Place) -> LibraryRule:
    """The rule of a param group in scaled variables.

    Raises
    ------
    SMEError
        for hyperparameters that the rule refuses.
    """
    made, lr = form(kind, group), float(group["lr"])
    if not lr > 0:
        raise SMEError(f"lr must be > 0, got {lr:g}")
    settings = made.settings(place.tau, place.t0)
    rule = ASGD if "begins" in settings else made.rule
    natural = place.tau ** made.power(place.regime)
    rate = 1.0 if abs(lr / natural - 1) < ROUNDING else lr / natural
    given: dict[str, Any] = {"rate": rate, "regime": place.regime.name, "maximize": bool(group.get("maximize", False))}
    weight_decay = float(group.get("weight_decay", 0.0))
    if group.get("decoupled_weight_decay") or rule is Muon:
        given["decay"] = natural * weight_decay / place.tau
    else:
        given["penalty"] = weight_decay
    if hasattr(rule, "eps"):
        given["eps"] = group["eps"] if rule is Muon else group["eps"] * rule.unit(place.regime, place.tau)
    if place.t0 is not None:
        given["t0"] = place.t0
    return rule(**given, **settings)
