"""Hyperparameters as torch.optim names them, and what they are in scaled variables."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from sme.common.errors import SMEError, warn
from sme.common.inputs import size, whole
from sme.optimizers.adagrad import AdaGrad
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer, adaptive_scale
from sme.optimizers.imported import forms, settings
from sme.optimizers.momentum import Momentum
from sme.optimizers.nesterov import Nesterov
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.optimizers.regimes import regime as named
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.optimizers.torch_terms import TorchTerms

RULES: dict[str, type[Optimizer]] = {"sgd": SGD, "momentum": Momentum, "nesterov": Nesterov, "adagrad": AdaGrad,
                                     "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW}
TORCH: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD, "momentum": torch.optim.SGD, "nesterov": torch.optim.SGD, "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
BETAS = {"sgd": (), "momentum": ("beta1",), "nesterov": ("beta1",), "adagrad": (), "rmsprop": ("beta2",),
         "adam": ("beta1", "beta2"), "adamw": ("beta1", "beta2")}
PLAIN = ("momentum", "centered", "amsgrad", "maximize", "lr_decay")
"""settings of torch.optim that must be off: the rules here have none"""
DRIVEN = ("max_lr", "base_momentum", "max_momentum")
"""what a scheduler writes into a group, beside the initial_lr"""
LINEAR = ("sgd", "momentum", "nesterov")
"""without a second moment: `τ` is no root of it, and there is no `ε`"""
CORRECTED = ("adam", "adamw")


def readable(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a torch optimizer has one set of hyperparameters, of a rule that `sme.scale` has a table for."""
    if type(optimizer) not in (torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam, torch.optim.AdamW):
        return False
    first, *others = ({key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups)
    penalty = first.get("weight_decay") and not first.get("decoupled_weight_decay")
    return all(other == first for other in others) and not penalty and not any(first.get(setting) for setting in PLAIN)


class Scaled(NamedTuple):
    """An optimizer in the scaled variables of a regime."""

    optimizer: Optimizer
    tau: float
    """`τ`"""
    noise: float
    """the law's factor `S` is so many times the physical one: 1 ballistic, `√τ` batch-equivalent"""
    second_moment: float
    """`v` is so many times the physical one: 1 ballistic, `τ` batch-equivalent; of AdaGrad `τ`, since torch's is a sum"""


@dataclass(frozen=True)
class Hyperparameters(TorchTerms):
    """What `torch.optim` is given, with the batch size and the number of steps.

    Parameters
    ----------
    optimizer
        `sgd`, `momentum` or `nesterov` (torch's SGD with a momentum), `adagrad`, `rmsprop`, `adam` or `adamw`.
    lr
        learning rate.
    beta1, beta2
        decay of the first moment (Adam, AdamW; torch's `momentum` of SGD) and of the second (torch's `alpha` in RMSprop), in
        `[0, 1)`.
    eps
        `ε`; has no meaning for SGD.
    weight_decay
        AdamW's decoupled one. (In the others torch adds `½ wd |θ|²` to the loss: put it there, and into the loss of
        every example.)
    batch_size, steps
        if they are known.
    dampening
        that of `momentum`, in `[0, 1)`; torch's default 0 makes the steps `1/(1 − β)` times longer.

    Raises
    ------
    SMEError
        for a value outside these ranges, or one that the optimizer lacks or has not.
    """

    weight_decay: float = 0.0
    batch_size: int | None = None
    steps: int | None = None
    dampening: float = 0.0

    def __post_init__(self) -> None:
        self.settle(BETAS, "weight_decay")
        if self.weight_decay and self.optimizer != "adamw":
            raise SMEError(f"weight_decay = {self.weight_decay:g} of {self.optimizer} is a part of the loss, ½ wd |θ|²: "
                           "put it there and, with minibatches, into the loss of each example, or use adamw, which decays beside "
                           "the gradient's step")
        object.__setattr__(self, "dampening", size("dampening", self.dampening))
        if self.dampening >= 1 or (self.dampening and self.optimizer != "momentum"):
            raise SMEError(f"dampening must lie in [0, 1), and be 0 but for momentum, got {self.dampening:g} of {self.optimizer}")
        for name in ("batch_size", "steps"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name), 1))

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer, batch_size: int | None = None, steps: int | None = None) -> "Hyperparameters":
        """Read them off a torch optimizer.

        Where a scheduler drives the learning rate, its base rate is read, `initial_lr`, and a warning says so.

        Raises
        ------
        SMEError
            for another optimizer, parameter groups that differ, or a setting that no rule here has (amsgrad, centered, …).
        """
        name = next((name for name, kind in TORCH.items() if type(optimizer) is kind), None)
        if name is None:
            if isinstance(optimizer, torch.optim.Optimizer):
                forms.form(type(optimizer), optimizer.param_groups[0])  # which says why it has no rule, if it has none
            raise SMEError("optimizer must be a torch.optim.SGD, Adagrad, RMSprop, Adam or AdamW, got "
                           f"{type(optimizer).__name__}: its rule is sme.from_torch(optimizer), which sme.scale takes too")
        groups = [{key: value for key, value in group.items() if key != "params"} for group in settings.groups(optimizer)]
        group: dict[str, Any] = dict(groups[0])
        for key in group:
            if any(each.get(key) != group[key] for each in groups):
                raise SMEError(f"the parameter groups have different hyperparameters, {key} = "
                               f"{', '.join(repr(each.get(key)) for each in groups)}, and there is one of each here: give "
                               "an optimizer whose groups agree, or take its rule, sme.from_torch(optimizer)")
        if "initial_lr" in group:
            more = ", ".join(f"{key} = {group[key]!r}" for key in DRIVEN if key in group)
            now, base = group["lr"], group["initial_lr"]
            warn(f"a scheduler drives the learning rate: read was its base rate, initial_lr = {base:g}"
                 + (f", not the present lr = {now:g}" if now != base else "")
                 + (f"; all else as it stands, though there are {more}" if more else ""))
            group["lr"] = group["initial_lr"]
        first = group.pop("momentum", 0.0) if name == "sgd" else 0.0
        forms.form(type(optimizer), optimizer.param_groups[0])
        for setting in PLAIN:
            if group.get(setting):
                raise SMEError(f"{setting} = {group[setting]!r} of {name} has no counterpart here: turn it off, or take "
                               "its rule, sme.from_torch(optimizer)")
        if first:
            name = "nesterov" if group.get("nesterov") else "momentum"
        name = "adamw" if group.get("decoupled_weight_decay") else name
        betas = {"rmsprop": (group.get("alpha"),)}.get(name, (first,) if first else group.get("betas", ()))
        return cls(name, float(group["lr"]), **dict(zip(BETAS[name], map(float, betas), strict=True)),
                   eps=group.get("eps", 1e-8), weight_decay=group.get("weight_decay", 0.0), batch_size=batch_size, steps=steps,
                   dampening=group.get("dampening", 0.0) if first else 0.0)

    @classmethod
    def physical(cls, optimizer: Optimizer, regime: str | Regime, tau: float, batch_size: int | None = None,
                 steps: int | None = None) -> "Hyperparameters":
        """Those with which torch.optim takes the steps of `optimizer` at step size `τ`: the inverse of `scaled`.

        Raises
        ------
        SMEError
            for an optimizer that is none of torch's, or has its `ε` elsewhere than torch.
        """
        name = next((name for name, kind in RULES.items() if type(optimizer) is kind), None)
        if name is None or getattr(optimizer, "eps_mode", "outside") != "outside":
            raise SMEError(f"{optimizer.name} is no rule of torch.optim: give sme.SGD, sme.Momentum, sme.Nesterov, sme.AdaGrad, "
                           "sme.RMSProp, sme.Adam or sme.AdamW with eps_mode='outside'")
        optimizer.check(tau)
        given = optimizer.physical(named(regime), tau)
        if "beta" in given:
            given["beta2"] = given.pop("beta")
        if "momentum" in given:
            given["beta1"] = given.pop("momentum")
        return cls(name, **given, batch_size=batch_size, steps=steps)  # type: ignore[arg-type]

    def scaled(self, regime: str | Regime = BALLISTIC, **options: Any) -> Scaled:
        """The same optimizer in scaled variables, with `1 − β = c τ^q`, `q = memory` or 1 (docs/theory/scaling.md, section 1).

        Ballistic `τ = lr`; batch-equivalent `τ = lr²`, `ε` times `lr`, `v` times `lr²`, noise times `lr` (of SGD `τ = lr` and
        noise times `√lr`). With a momentum `τ = lr (1 − dampening)/(1 − β)`, of Nesterov `lr/(1 − β)`; AdaGrad has `τ = lr²`,
        ballistic. Further options go to the optimizer; torch's denominator, and no floor, are the default.

        Adam and AdamW correct their bias as torch does: `update` at time `t = kτ` is torch's step `k + 1`. A run needs a start
        `t0 > 0`. With `t0 = kτ` it goes on from torch's `m` and `v` after `k` steps; a fresh optimizer's run, from `m = v = 0`,
        is that with `t0 = τ, clock=(0, 0)`. An equation is near the run where `t ≫ τ`. `bias_correction=False` leaves it out.

        Raises
        ------
        SMEError
            if a `β` is 0 (there is no memory, and no rate `c` with `cτ < 1`), for an option that it refuses, or for AdaGrad in
            the batch-equivalent regime, where `lr` does not say what `τ` is.

        Warns
        -----
        UserWarning
            where a start time is chosen, `t0 = τ`, as none is given for Adam or AdamW.
        """
        place = named(regime)
        if self.optimizer == "adagrad" and place != BALLISTIC:
            raise SMEError("adagrad has lr = 1 at every τ in the batch-equivalent regime, so lr does not say what τ is: use "
                           "regime='ballistic', or sme.AdaGrad itself")
        if self.optimizer in LINEAR:
            tau = self.lr * (1 - self.dampening) / (1 - (self.beta1 or 0.0))
        else:
            tau = self.lr**2 if self.optimizer == "adagrad" else self.lr ** (2 / place.step_power)
        scale = tau**0.5 if self.optimizer == "adagrad" else adaptive_scale(place, tau)
        given: dict[str, Any] = {} if self.optimizer in LINEAR else {
            "eps": self.eps * scale, "denominator": "updated", "v_floor": 0.0}
        if self.optimizer == "adamw":
            given["decay"] = self.lr * self.weight_decay / tau
        memory = options.get("memory", 1.0)
        if self.optimizer in CORRECTED and options.get("bias_correction", True):
            given["bias_correction"] = True
            if memory >= 1 and "t0" not in options:
                given["t0"] = tau
                if "bias_correction" not in options:
                    warn(f"{self.optimizer} corrects its bias, as torch does, from t0 = τ = {tau:g} on, after torch's "
                         "first step: give t0 = kτ to start after k steps, or bias_correction=False to leave it out")
        share = tau**memory
        rates = [(1 - getattr(self, name)) / share for name in BETAS[self.optimizer]]
        names = ("c1", "c2") if self.optimizer in CORRECTED else ("c",)
        given |= dict(zip(names, rates, strict=False))
        optimizer = RULES[self.optimizer](**{**given, **options})
        optimizer.check(tau)
        factor = tau ** (place.mean_power / 2)
        return Scaled(optimizer, tau, factor, tau if self.optimizer == "adagrad" else factor**2)

    def uncorrected(self, regime: str | Regime = BALLISTIC, **options: Any) -> Scaled:
        """`scaled` without a bias correction, as it is long after the start."""
        return self.scaled(regime, **({"bias_correction": False} if self.optimizer in CORRECTED else {}), **options)

    def torch(self, parameters: Iterable[Any]) -> torch.optim.Optimizer:
        """The torch optimizer with these hyperparameters."""
        given: dict[str, Any] = {"lr": self.lr}
        if self.optimizer in LINEAR:
            given |= {"momentum": self.beta1, "dampening": self.dampening} if self.beta1 else {}
            given |= {"nesterov": True} if self.optimizer == "nesterov" else {}
        elif self.optimizer == "adagrad":
            given["eps"] = self.eps
        else:
            given |= {"eps": self.eps, "weight_decay": self.weight_decay}
            given |= {"alpha": self.beta2} if self.optimizer == "rmsprop" else {"betas": (self.beta1, self.beta2)}
        return TORCH[self.optimizer](parameters, **given)

    def settings(self) -> dict[str, Any]:
        """All of them, by name; `dampening` only where there is one, so that the names of older studies stay."""
        return {name: value for name, value in vars(self).items() if name != "dampening" or value}

    def __str__(self) -> str:
        given = [(name, value) for name, value in self.settings().items() if value is not None]
        return ", ".join(f"{name} {value:.8g}" if isinstance(value, float) else f"{name} {value}" for name, value in given)
