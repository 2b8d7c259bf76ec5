"""The settings of a torch optimizer for another batch size, whatever its class."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from sme.common.errors import SMEError
from sme.optimizers.imported import settings
from sme.optimizers.imported.forms import form
from sme.optimizers.library.muon import Muon
from sme.optimizers.regimes import Regime

DECAYS = ("momentum", "alpha", "rho")
"""what is `1 − cτ` beside the betas; `alpha` of RMSprop alone"""
RATES = ("momentum_decay", "lr_decay")
"""what is a rate times `τ`"""


@dataclass(frozen=True)
class TorchSettings:
    """Settings of a class of torch.optim, group by group.

    Attributes
    ----------
    kind
        the class.
    groups
        the settings of each param group, by torch's names.
    batch_size, steps
        if they are known.
    """

    kind: type[torch.optim.Optimizer]
    groups: tuple[dict[str, Any], ...]
    batch_size: int | None = None
    steps: int | None = None

    def torch(self, parameters: Iterable[Any]) -> torch.optim.Optimizer:
        """The optimizer of these parameters; of several groups, a list of each one's."""
        given = list(parameters)
        each: list[Any] = [given] if len(self.groups) == 1 else given
        if len(each) != len(self.groups):
            raise SMEError(f"there are {len(self.groups)} groups: give the parameters of each, as a list of lists")
        return self.kind([{"params": list(part), **group} for part, group in zip(each, self.groups, strict=True)],
                         lr=self.groups[0]["lr"])  # type: ignore[call-arg]

    def __str__(self) -> str:
        said = [", ".join(f"{name} {value}" for name, value in group.items() if isinstance(value, float | tuple))
                for group in self.groups]
        counts = {"batch_size": self.batch_size, "steps": self.steps}
        more = [f"{name} {value}" for name, value in counts.items() if value is not None]
        return f"{self.kind.__name__} {'; '.join(said)}" + "".join(f", {each}" for each in more)


def stretched(optimizer: torch.optim.Optimizer, kappa: float, regime: Regime) -> TorchSettings:
    """Those with which its rule, of this regime, has the step size `κτ` and the same rates.

    Raises
    ------
    SMEError
        for a class that has no rule, and where a decay would leave `(0, 1)`.
    """
    kind = type(optimizer)
    return TorchSettings(kind, tuple(_group(kind, group, kappa, regime) for group in settings.groups(optimizer)))


def _group(kind: type, group: dict[str, Any], kappa: float, regime: Regime) -> dict[str, Any]:
    made = form(kind, group)
    power, rule = made.power(regime), made.rule
    kept = {name: value for name, value in group.items() if name not in settings.OURS and value is not None}
    if kind is torch.optim.AdamW:
        kept.pop("decoupled_weight_decay", None)
    new = {**kept, "lr": float(group.get("initial_lr", group["lr"])) * kappa**power}
    if "betas" in kept:
        new["betas"] = tuple(_decay("a beta", beta, kappa) for beta in kept["betas"])
    for name in DECAYS:
        if kept.get(name) and not (name == "alpha" and kind is not torch.optim.RMSprop):
            new[name] = _decay(name, kept[name], kappa)
    if kept.get("dampening") and kept["dampening"] == kept["momentum"]:
        new["dampening"] = new["momentum"]
    for name in RATES:
        if name in kept:
            new[name] = kept[name] * kappa
    if kind is torch.optim.ASGD:
        new["t0"] = kept["t0"] / kappa
    if "eps" in kept and rule is not Muon:
        new["eps"] = kept["eps"] * rule.unit(regime, 1.0) / rule.unit(regime, kappa)
    if kept.get("weight_decay") and (group.get("decoupled_weight_decay") or rule is Muon):
        new["weight_decay"] = kept["weight_decay"] * kappa ** (1 - power)
    return new


def _decay(name: str, value: float, kappa: float) -> float:
    share = kappa * (1 - float(value))
    if not share < 1:
        raise SMEError(f"kappa = {kappa:g} takes 1 − {name} = {1 - value:g} to {share:g}, out of (0, 1): use kappa < "
                       f"{1 / (1 - value):g}")
    return 1 - share
