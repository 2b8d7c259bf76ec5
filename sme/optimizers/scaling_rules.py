"""How to change hyperparameters with the batch size, and SVAG."""

import math
from dataclasses import replace
from typing import NamedTuple, overload

import torch

from sme.common.errors import SMEError, choose, warn
from sme.common.inputs import number, short, whole
from sme.common.process.turns import entry
from sme.optimizers.hyperparameters import BETAS, Hyperparameters, readable
from sme.optimizers.imported.stretched import TorchSettings, stretched
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT

POWERS = {"linear": 1.0, "square_root": 0.5}
"""of `κ`, by which a rule multiplies the learning rate"""
HALF_LIFE, NONE = "half_life", "none"
SCALED = ("sgd", "rmsprop", "adam", "adamw")
"""optimizers whose rules are known"""
ROUNDING = 1e-9
SHORT = 0.4
"""`κ (1 − β₁)` from which on a scaled run is far from the equation"""


class SVAG(NamedTuple):
    """An optimizer of the SVAG family and the weights of the two minibatches of a step."""

    hyperparameters: Hyperparameters
    weights: tuple[float, float]
    """`½ (1 + r)` and `½ (1 − r)`: the gradient is their weighted sum, of mean `∇f` and covariance `½ (1 + r²) Σ`"""


@overload
def scale(optimizer: Hyperparameters, kappa: float | str, rule: str = "auto", *, batch_size: int | None = None,
          steps: int | None = None) -> Hyperparameters: ...


@overload
def scale(optimizer: torch.optim.Optimizer, kappa: float | str, rule: str = "auto", *, batch_size: int | None = None,
          steps: int | None = None) -> Hyperparameters | TorchSettings: ...


@entry
def scale(optimizer: Hyperparameters | torch.optim.Optimizer, kappa: float | str, rule: str = "auto", *,
          batch_size: int | None = None, steps: int | None = None) -> Hyperparameters | TorchSettings:
    r"""The hyperparameters for `κ` times the batch size.

    Both rules take `τ` to `κτ` and keep the rates `c`, `λ`, the scaled `ε` and so an equation, which must model both runs:

    | rule | lr | `1 − βᵢ` | `ε` | weight decay | steps | keeps |
    |---|---|---|---|---|---|---|
    | `square_root` | `√κ lr` | `κ (1 − β)` | `ε/√κ` | `√κ wd` | `1/κ` | the batch-equivalent equation of RMSProp and Adam |
    | `linear` | `κ lr` | `κ (1 − β)` | `ε` | `wd` | `1/κ` | that of SGD; RMSProp's and Adam's ballistic one at small noise |

    The square-root rule is known from arXiv:2205.10287, the linear one of SGD from arXiv:2102.12470; the weight decay follows
    from `lr · wd = τλ`. Any other class that `sme.from_torch` knows (Muon, NAdam, AdaGrad, a momentum, centred RMSprop, …) is
    scaled by the powers of `τ` that it has there, of the batch-equivalent regime or, with `linear`, of the ballistic one. A
    penalty that is part of the loss does not change. The square-root rule keeps the stationary law of
    AdamW and RMSPropW too, ballistic or not; with the weight decay left as it was it would not
    (docs/theory/rules.md, section 12). Up to which `κ` a run allows it, `sme.diagnose` predicts.

    Parameters
    ----------
    optimizer
        hyperparameters, or a torch optimizer to read them off (then with `batch_size` and `steps`, if they are to be scaled).
    kappa
        `κ > 0`, the new batch size over the old one; also as text, `50/7`.
    rule
        `"square_root"`, `"linear"`, or `"auto"`: linear for SGD, square root for the others. Two more change what they name
        alone. `"half_life"` keeps the learning rate and takes `β₂` to `β₂^κ`, so that `v` forgets half in as many samples as
        before; it keeps no equation here. `"none"` keeps all, and the number of steps: in the ballistic regime the batch size
        changes nothing but a noise of size `√τ`, and no rule is needed.

    Raises
    ------
    SMEError
        if `κ` is not positive, if `κ (1 − β) ≥ 1` (the message says how large `κ` may be), if the batch size would not be whole,
        or for the square-root rule of SGD.

    Warns
    -----
    UserWarning
        where the number of steps is rounded, and where `κ (1 − β₁) ≥ 0.4`.
    """
    ratio = number("kappa", kappa)
    if not 0 < ratio < math.inf:
        raise SMEError(f"kappa must be positive and finite, got {ratio:g}: give the new batch size over the old one")
    if isinstance(optimizer, torch.optim.Optimizer) and not readable(optimizer):
        if rule in (HALF_LIFE, NONE):
            raise SMEError(f"rule='{rule}' is for {', '.join(SCALED)}, got {type(optimizer).__name__}")
        place = BALLISTIC if rule == "linear" else BATCH_EQUIVALENT
        choose("rule", rule, [*POWERS, "auto"])
        return replace(stretched(optimizer, ratio, place), **_counts(batch_size, steps, ratio))  # type: ignore[arg-type]
    given = _read(optimizer, batch_size, steps)
    sgd = given.optimizer == "sgd"
    rule = ("linear" if sgd else "square_root") if rule == "auto" else choose("rule", rule, [*POWERS, "auto", HALF_LIFE, NONE])
    if rule == NONE:
        return replace(given, **_counts(given.batch_size, None, ratio), steps=given.steps)  # type: ignore[arg-type]
    if rule == HALF_LIFE:
        if given.beta2 is None:
            raise SMEError(f"rule='half_life' is of beta2, which {given.optimizer} has not: use rule='linear'")
        return replace(given, beta2=given.beta2**ratio, **_counts(given.batch_size, given.steps, ratio))  # type: ignore[arg-type]
    if sgd and rule == "square_root":
        raise SMEError("the square-root rule is for RMSProp, Adam and AdamW, which divide by the root of the second moment; no "
                       "equation of SGD is kept by it: use rule='linear'")
    new = _stretched(given, ratio, POWERS[rule])
    if given.beta1 is not None and (share := 1 - (new.beta1 or 0.0)) >= SHORT:
        warn(f"kappa = {ratio:g} takes 1 − beta1 to {share:g}, a memory of less than {1 / SHORT:g} steps: from {SHORT:g} on "
             "the two runs are no longer near the equation that they share, use a smaller kappa")
    return replace(new, **_counts(given.batch_size, given.steps, ratio))  # type: ignore[arg-type]


def _counts(batch_size: int | None, steps: int | None, ratio: float) -> dict[str, int]:
    """Batch size and number of steps, where they are known, at `κ` times the batch size."""
    changes: dict[str, int] = {}
    if batch_size is not None:
        changes["batch_size"] = _batch(whole("batch_size", batch_size, 1), ratio)
    if steps is not None:
        changes["steps"] = max(1, round(whole("steps", steps, 1) / ratio))
        if abs(changes["steps"] - steps / ratio) > ROUNDING * steps:
            warn(f"{steps} steps over kappa = {ratio:g} are {steps / ratio:.6g}: rounded to {changes['steps']}")
    return changes


def svag(optimizer: Hyperparameters | torch.optim.Optimizer, ell: int, *, batch_size: int | None = None,
         steps: int | None = None) -> SVAG:
    """The optimizer `ℓ` of the SVAG family: as `ℓ → ∞` it tends to the order-1 equation, for `ℓ = 1` it is the optimizer itself.

    Each step takes two independent minibatches of the same size. For SGD (arXiv:2102.12470) `lr/ℓ`, `steps ℓ` and `r² = 2ℓ − 1`;
    for RMSProp and Adam, so that their equation stays, `lr/ℓ`, `1 − (1 − β)/ℓ²`, `ε ℓ`, `wd/ℓ`, `steps ℓ²` and `r² = 2ℓ² − 1`.
    The batch-equivalent equation is kept, its `τ` becomes `τ/ℓ²` (SGD: `τ/ℓ`), the skewness falls like `1/ℓ` (`1/√ℓ`).

    Raises
    ------
    SMEError
        unless `ℓ` is a whole number ≥ 1.
    """
    given, ell = _read(optimizer, batch_size, steps), whole("ell", ell, 1)
    sgd = given.optimizer == "sgd"
    gain = amplification(ell, "sgd" if sgd else "adaptive")
    new = _stretched(given, 1 / gain, POWERS["linear" if sgd else "square_root"])
    if given.steps is not None:
        new = replace(new, steps=given.steps * gain)
    return SVAG(new, weights(gain))


def amplification(ell: int, kind: str) -> int:
    """By how much SVAG multiplies the covariance of the noise and divides `τ`: `ℓ²` for RMSProp and Adam, `ℓ` for SGD."""
    return ell if kind == "sgd" else ell**2


def weights(gain: int) -> tuple[float, float]:
    """`½ (1 ± r)` with `½ (1 + r²) = gain`."""
    r = math.sqrt(2 * gain - 1)
    return (1 + r) / 2, (1 - r) / 2


def largest(optimizer: Hyperparameters) -> float:
    """`κ` must be smaller: `1/(1 − β)` of the shortest memory, infinite without one."""
    return min((1 / (1 - getattr(optimizer, name)) for name in BETAS[optimizer.optimizer]), default=math.inf)


def _read(optimizer: Hyperparameters | torch.optim.Optimizer, batch_size: int | None, steps: int | None) -> Hyperparameters:
    if isinstance(optimizer, Hyperparameters):
        told = {"batch_size": batch_size, "steps": steps}
        given = replace(optimizer, **{name: value for name, value in told.items() if value is not None})  # type: ignore[arg-type]
    elif isinstance(optimizer, torch.optim.Optimizer):
        given = Hyperparameters.of(optimizer, batch_size, steps)
    else:
        raise SMEError(f"optimizer must be sme.Hyperparameters or a torch.optim.Optimizer, got {short(optimizer)}")
    if given.optimizer not in SCALED:
        raise SMEError(f"no rule of scaling is known here for {given.optimizer}: they are for {', '.join(SCALED)}")
    return given


def _stretched(given: Hyperparameters, kappa: float, power: float) -> Hyperparameters:
    """`τ → κτ` with the same rates, `ε` and `λ`, where `lr = τ^power` (SGD, RMSProp, Adam alike)."""
    if kappa >= largest(given) * (1 - ROUNDING):
        name = min(BETAS[given.optimizer], key=lambda name: getattr(given, name))
        share = 1 - getattr(given, name)
        raise SMEError(f"kappa = {kappa:g} takes 1 − {name} = {share:g} to {kappa * share:g}, and {name} out of (0, 1): "
                       f"use kappa < {largest(given):g}")
    betas = {name: 1 - kappa * (1 - getattr(given, name)) for name in BETAS[given.optimizer]}
    other = kappa ** (1 - power)
    return replace(given, lr=given.lr * kappa**power, eps=given.eps / other, weight_decay=given.weight_decay * other, **betas)


def _batch(batch_size: int, kappa: float) -> int:
    new = round(batch_size * kappa)
    if new < 1 or abs(new - batch_size * kappa) > ROUNDING * batch_size * max(kappa, 1):
        raise SMEError(f"kappa = {kappa:g} takes the batch size {batch_size} to {batch_size * kappa:g}, which is not whole: "
                       f"give kappa='{max(new, 1)}/{batch_size}', or leave the batch size out")
    return new
