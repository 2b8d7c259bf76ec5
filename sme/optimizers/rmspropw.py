"""RMSProp with decoupled weight decay."""

from dataclasses import dataclass

from sme.optimizers.decay import DecoupledDecay
from sme.optimizers.rmsprop import RMSProp


@dataclass(frozen=True)
class RMSPropW(DecoupledDecay, RMSProp):
    """`RMSProp` with a further step `−τ λ θ`, `θ` the old parameters.

    The decoupled weight decay: `lr · weight_decay = τλ`.

    `decay` is the `λ` of `DecoupledDecay`; the other parameters, and the errors, are those of `RMSProp`.
    """
