"""Rules of papers as a user writes them: an own optimizer each, with letters of its own."""

from dataclasses import dataclass

import torch

import sme


class WithMomentum(sme.Optimizer):
    """A rule of two fields, whose momentum starts at 0."""

    fields = ("theta", "m")
    defaults = {"m": 0.0}  # noqa: RUF012


@dataclass(frozen=True)
class TanhLion(WithMomentum):
    """Lion with a smooth sign, `θ' = θ − τ (tanh(κ u) + λ θ)`, `u = m + a (s − τ m)`."""

    c: float = 0.8
    ahead: float = 0.3
    sharp: float = 1.7
    decay: float = 0.4

    def update(self, state, gradient, tau, t):
        seen = state["m"] + self.ahead * (gradient.step - tau * state["m"])
        m = state["m"] + self.c * (gradient.step - tau * state["m"])
        return {"theta": state["theta"] - tau * (torch.tanh(self.sharp * seen) + self.decay * state["theta"]), "m": m}


@dataclass(frozen=True)
class NAdam(sme.Optimizer):
    """NAdam: a momentum that grows with the time, `μ = (1 − c₁τ)(1 − ½ e^{−ψt})`, and `v` corrected by `1 − e^{−c₂t}`."""

    c1: float = 0.9
    c2: float = 0.6
    psi: float = 1.3
    eps: float = 0.2
    t0: float = 0.7
    fields = ("theta", "m", "v")
    defaults = {"m": 0.0, "v": 1.0}  # noqa: RUF012
    nonnegative = ("v",)

    def grown(self, t, tau):
        return (1 - self.c1 * tau) * (1 - 0.5 * torch.exp(-self.psi * t))

    def update(self, state, gradient, tau, t):
        m = state["m"] + self.c1 * (gradient.step - tau * state["m"])
        v = state["v"] + tau * self.c2 * (gradient.square - state["v"])
        clock = t + 0 * v
        gamma = 1 - torch.exp(-self.c2 * (clock + tau))
        ahead = (1 - self.grown(clock + tau, tau)) * gradient.step + tau * self.grown(clock + 2 * tau, tau) * m
        return {"theta": state["theta"] - ahead / ((v / gamma).sqrt() + self.eps), "m": m, "v": v}


@dataclass(frozen=True)
class AdaBelief(sme.Optimizer):
    """AdaBelief: `v` averages `(ĝ − m')² = (1 − c₁τ)² (ĝ − m)²`; batch-equivalent `small`, `m` being `√τ` beside `ĝ`."""

    c1: float = 0.9
    c2: float = 0.6
    eps: float = 0.2
    small: bool = False
    fields = ("theta", "m", "v")
    defaults = {"m": 0.0, "v": 1.0}  # noqa: RUF012
    nonnegative = ("v",)

    def update(self, state, gradient, tau, t):
        old, s = state["m"], gradient.step
        m = old + self.c1 * (s - tau * old)
        spread = tau * gradient.square + (tau if self.small else 1.0) * (tau * old * old - 2 * old * s)
        v = state["v"] + self.c2 * ((1 - self.c1 * tau) ** 2 * spread - tau * state["v"])
        return {"theta": state["theta"] - tau * m / (v.sqrt() + self.eps), "m": m, "v": v}


def of(regime: str) -> dict[str, sme.Optimizer]:
    """The three, as they are in a regime."""
    return {"tanh-lion": TanhLion(), "nadam": NAdam(), "adabelief": AdaBelief(small=regime == "batch_equivalent")}
