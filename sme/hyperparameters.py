"""Hyperparameters as torch.optim names them, and what they are in scaled variables."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch

from sme.errors import SMEError, choose
from sme.inputs import beta, size, whole
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer, adaptive_scale
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.regimes import BALLISTIC, Regime
from sme.regimes import regime as named

RULES: dict[str, type[Optimizer]] = {"sgd": SGD, "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW}
TORCH: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
BETAS = {"sgd": (), "rmsprop": ("beta2",), "adam": ("beta1", "beta2"), "adamw": ("beta1", "beta2")}
PLAIN = ("momentum", "dampening", "nesterov", "centered", "amsgrad", "maximize")
"""settings of torch.optim that must be off: the rules here have none"""


class Scaled(NamedTuple):
    """An optimizer in the scaled variables of a regime."""

    optimizer: Optimizer
    tau: float
    """`τ`"""
    noise: float
    """the law's factor `S` is so many times the physical one: 1 ballistic, `√τ` batch-equivalent"""
    second_moment: float
    """`v` is so many times the physical one: 1 ballistic, `τ` batch-equivalent"""


@dataclass(frozen=True)
class Hyperparameters:
    """What `torch.optim` is given, with the batch size and the number of steps.

    Parameters
    ----------
    optimizer
        `sgd`, `rmsprop`, `adam` or `adamw`.
    lr
        learning rate.
    beta1, beta2
        decay of the first moment (Adam, AdamW) and of the second (all but SGD; torch's `alpha` in RMSprop), in `[0, 1)`.
    eps
        `ε`; has no meaning for SGD.
    weight_decay
        AdamW's decoupled one. (In the others torch adds `½ wd |θ|²` to the loss: put it there, and into the loss of
        every example.)
    batch_size, steps
        if they are known.

    Raises
    ------
    SMEError
        for a value outside these ranges, or one that the optimizer lacks or has not.
    """

    optimizer: str
    lr: float
    beta1: float | None = None
    beta2: float | None = None
    eps: float = 1e-8
    weight_decay: float = 0.0
    batch_size: int | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, RULES)
        for name in ("lr", "eps", "weight_decay"):
            object.__setattr__(self, name, size(name, getattr(self, name), "> 0" if name == "lr" else "≥ 0"))
        for name in ("beta1", "beta2"):
            object.__setattr__(self, name, beta(name, getattr(self, name), self.optimizer, BETAS[self.optimizer]))
        if self.weight_decay and self.optimizer != "adamw":
            raise SMEError(f"weight_decay = {self.weight_decay:g} of {self.optimizer} is a part of the loss, ½ wd |θ|²: "
                           "put it there and, with minibatches, into the loss of each example, or use adamw, which decays beside "
                           "the gradient's step")
        for name in ("batch_size", "steps"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name), 1))

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer, batch_size: int | None = None, steps: int | None = None) -> "Hyperparameters":
        """Read them off a torch optimizer.

        Raises
        ------
        SMEError
            for another optimizer, parameter groups that differ, or a setting that no rule here has (momentum, amsgrad, …).
        """
        name = next((name for name, kind in TORCH.items() if type(optimizer) is kind), None)
        if name is None:
            raise SMEError(f"optimizer must be a torch.optim.SGD, RMSprop, Adam or AdamW, got {type(optimizer).__name__}")
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        if any(group != groups[0] for group in groups):
            raise SMEError("the parameter groups have different hyperparameters: give an optimizer with one group")
        group: dict[str, Any] = groups[0]
        for setting in PLAIN:
            if group.get(setting):
                raise SMEError(f"{setting} = {group[setting]!r} of {name} has no counterpart here: turn it off")
        name = "adamw" if group.get("decoupled_weight_decay") else name
        betas = {"rmsprop": (group.get("alpha"),)}.get(name, group.get("betas", ()))
        return cls(name, float(group["lr"]), **dict(zip(BETAS[name], map(float, betas), strict=True)),
                   eps=group.get("eps", 1e-8), weight_decay=group.get("weight_decay", 0.0), batch_size=batch_size, steps=steps)

    @classmethod
    def physical(cls, optimizer: Optimizer, regime: str | Regime, tau: float, batch_size: int | None = None,
                 steps: int | None = None) -> "Hyperparameters":
        """Those with which torch.optim takes the steps of `optimizer` at step size `τ`: the inverse of `scaled`.

        Raises
        ------
        SMEError
            for an optimizer that is none of `SGD`, `RMSProp`, `Adam`, `AdamW`, or has its `ε` elsewhere than torch.
        """
        name = next((name for name, kind in RULES.items() if type(optimizer) is kind), None)
        if name is None or getattr(optimizer, "eps_mode", "outside") != "outside":
            raise SMEError(f"{optimizer.name} is no rule of torch.optim: give sme.SGD, sme.RMSProp, sme.Adam or sme.AdamW with "
                           "eps_mode='outside'")
        optimizer.check(tau)
        given = optimizer.physical(named(regime), tau)
        if "beta" in given:
            given["beta2"] = given.pop("beta")
        return cls(name, **given, batch_size=batch_size, steps=steps)  # type: ignore[arg-type]

    def scaled(self, regime: str | Regime = BALLISTIC, **options: Any) -> Scaled:
        """The same optimizer in scaled variables, with `1 − β = c τ^q`, `q = memory` or 1 (docs/derivation.md, section 1).

        Ballistic `τ = lr`; batch-equivalent `τ = lr²`, `ε` times `lr`, `v` times `lr²`, noise times `lr` (of SGD `τ = lr` and
        noise times `√lr`). Further options go to the optimizer; torch's denominator, and no floor, are the default.

        Raises
        ------
        SMEError
            if a `β` is 0 (there is no memory, and no rate `c` with `cτ < 1`), or for an option that it refuses.
        """
        place = named(regime)
        power = 1 if self.optimizer == "sgd" else place.step_power / 2
        tau = self.lr ** (1 / power)
        given: dict[str, Any] = {} if self.optimizer == "sgd" else {
            "eps": self.eps * adaptive_scale(place, tau), "denominator": "updated", "v_floor": 0.0}
        if self.optimizer == "adamw":
            given["decay"] = self.lr * self.weight_decay / tau
        share = tau ** options.get("memory", 1.0)
        rates = [(1 - getattr(self, name)) / share for name in BETAS[self.optimizer]]
        given |= dict(zip(("c",) if self.optimizer == "rmsprop" else ("c1", "c2"), rates, strict=False))
        optimizer = RULES[self.optimizer](**{**given, **options})
        optimizer.check(tau)
        factor = tau ** (place.mean_power / 2)
        return Scaled(optimizer, tau, factor, factor**2)

    def torch(self, parameters: Iterable[Any]) -> torch.optim.Optimizer:
        """The torch optimizer with these hyperparameters."""
        given: dict[str, Any] = {"lr": self.lr}
        if self.optimizer != "sgd":
            given |= {"eps": self.eps, "weight_decay": self.weight_decay}
            given |= {"alpha": self.beta2} if self.optimizer == "rmsprop" else {"betas": (self.beta1, self.beta2)}
        return TORCH[self.optimizer](parameters, **given)

    def __str__(self) -> str:
        given = [(name, value) for name, value in asdict(self).items() if value is not None]
        return ", ".join(f"{name} {value:.8g}" if isinstance(value, float) else f"{name} {value}" for name, value in given)
