"""Hyperparameters that rules have in common in torch.optim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, short, size


@dataclass(frozen=True)
class TorchTerms:
    """The rule's name, its learning rate, its decays and `ε`, as `torch.optim` names them."""

    optimizer: str
    lr: float
    beta1: float | None = None
    beta2: float | None = None
    eps: float = 1e-8

    def settle(self, betas: Mapping[str, Sequence[str]], *sizes: str) -> None:
        """Check these terms, the decays against those that each rule has, and numbers ≥ 0 of other names, and set them as floats.

        Raises
        ------
        SMEError
            for a value out of range, or one that the rule lacks or has not.
        """
        own = betas[choose("optimizer", self.optimizer, betas)]
        for name in ("lr", "eps", *sizes):
            object.__setattr__(self, name, size(name, getattr(self, name), "> 0" if name == "lr" else "≥ 0"))
        for name in ("beta1", "beta2"):
            object.__setattr__(self, name, _beta(name, getattr(self, name), self.optimizer, own))


def _beta(what: str, given: Any, rule: str, betas: Sequence[str]) -> float | None:
    """A `β` in `[0, 1)`, if the rule has it; else None."""
    if (what in betas) != (given is not None):
        change = "give it a value in [0, 1)" if given is None else "leave it out"
        raise SMEError(f"{rule} has {' and '.join(betas) or 'no beta'}, got {what} = {short(given)}: {change}")
    if given is not None and not 0 <= (given := number(what, given)) < 1:
        raise SMEError(f"{what} must lie in [0, 1), got {given:g}")
    return given
