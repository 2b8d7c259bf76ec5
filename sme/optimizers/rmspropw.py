"""RMSProp with decoupled weight decay."""

from dataclasses import dataclass

from sme.optimizers.decay import DecoupledDecay
from sme.optimizers.rmsprop import RMSProp


@dataclass(frozen=True)
class RMSPropW(DecoupledDecay, RMSProp):
    """`RMSProp` with a further step `−τ λ θ`, `θ` the old parameters.

    The decoupled weight decay: `lr · weight_decay = τλ`.

    Parameters
    ----------
    decay
        `λ ≥ 0`, per unit of time (physical: `λ` ballistic, `√τ λ` batch-equivalent); the others are
        those of `RMSProp`.

    Raises
    ------
    SMEError
        for a value outside these ranges.
    """
