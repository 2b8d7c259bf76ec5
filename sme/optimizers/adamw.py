"""Adam with decoupled weight decay."""

from dataclasses import dataclass

from sme.optimizers.adam import Adam
from sme.optimizers.decay import DecoupledDecay


@dataclass(frozen=True)
class AdamW(DecoupledDecay, Adam):
    """`Adam` with a further step `−τ λ θ`, `θ` the old parameters.

    The decoupled weight decay of `torch.optim.AdamW`: `lr · weight_decay = τλ`.

    `decay` is the `λ` of `DecoupledDecay`; the other parameters, and the errors, are those of `Adam`.
    """
