"""Smooth update rules, those of the package and own ones, and equations with one term that is a little wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

import sme
from tests.support.paper_rules import WithMomentum

BUILT_IN = {
    "sgd": sme.SGD(), "momentum": sme.Momentum(c=0.8), "nesterov": sme.Nesterov(c=0.8), "adagrad": sme.AdaGrad(eps=0.1),
    "adagrad-updated": sme.AdaGrad(eps=0.1, denominator="updated"), "rmsprop": sme.RMSProp(c=0.7),
    "rmsprop-updated": sme.RMSProp(c=0.7, denominator="updated"), "rmsprop-inside": sme.RMSProp(eps_mode="inside"),
    "rmsprop-average": sme.RMSProp(eps_mode="average"), "rmspropw": sme.RMSPropW(c=0.7, decay=0.3), "adam": sme.Adam(c1=0.9),
    "adam-updated": sme.Adam(c1=0.9, denominator="updated"), "adam-inside": sme.Adam(eps_mode="inside"),
    "adam-corrected": sme.Adam(bias_correction=True, t0=1.5), "adamw": sme.AdamW(c1=0.9, c2=0.6, decay=0.3),
    "adabayes": sme.AdaBayes(prior=0.4), "adabayes-filter": sme.AdaBayesFilter(c1=0.9, prior=0.4), "signsgd": sme.SignSGD(),
    "fast-adam": sme.Adam(c1=20.0, c2=2.0), "fast-adamw": sme.AdamW(c1=50.0, c2=1.0, decay=0.1),
}
Shape = Callable[[torch.Tensor], torch.Tensor]
SHAPES: Mapping[str, Shape] = {
    "tanh": torch.tanh, "arctan": torch.atan, "soft sign": lambda m: m / (1 + m * m).sqrt(), "sine": torch.sin,
    "softplus": torch.nn.functional.softplus, "cubic": lambda m: m + 0.3 * m**3, "gelu": torch.nn.functional.gelu,
    "exponential": lambda m: torch.exp(0.4 * m) - 1, "bell": lambda m: m * torch.exp(-m * m), "logistic": torch.sigmoid,
}


@dataclass(frozen=True)
class Shaped(WithMomentum):
    """A momentum that moves the parameters through a smooth function."""

    shape: str = "tanh"
    ahead: float = 1.0

    def update(self, state, gradient, tau, t):
        m = state["m"] + 0.8 * (gradient.step - tau * state["m"])
        seen = state["m"] + self.ahead * (gradient.step - tau * state["m"])
        return {"theta": state["theta"] - tau * SHAPES[self.shape](seen), "m": m}


@dataclass(frozen=True)
class Scheduled(sme.Optimizer):
    """Gradient descent with a learning rate that depends on the time."""

    rate: float = 0.5
    fields = ("theta",)

    def update(self, state, gradient, tau, t):
        decay = torch.exp(torch.as_tensor(-self.rate * (t + 0.5 * tau), dtype=torch.float64))
        return {"theta": state["theta"] - gradient.step * decay}


OWN = {**{f"{name} {ahead:g}": Shaped(name, ahead) for name in SHAPES for ahead in (0.4, 1.0)},
       **{f"scheduled {rate:g}": Scheduled(rate) for rate in (0.5, 2.0)}}
RULES = {**BUILT_IN, **OWN}


def problem(curvature: float, noise: float) -> sme.Problem:
    """A quartic bowl of this curvature and size of the noise."""
    def loss(theta):
        return curvature * (0.5 * theta * theta + 0.1 * theta**4).sum()

    return sme.Problem(loss, 1, sme.GaussianNoise(torch.tensor([[noise]], dtype=torch.float64)))


def wrong(right: type, what: str, share: float) -> type:
    """The equation with the drift, the drift's part of first order in `τ`, or the noise wrong by a share."""
    class Wrong(right):
        def drift(self, t, x):
            whole = super().drift(t, x)
            if what == "drift":
                return whole * (1 + share)
            if what == "correction":
                leading = right(self.problem, self.optimizer, self.tau, 1, self.brownian).drift(t, x)
                return whole + share * (whole - leading)
            return whole

        def diffuse(self, t, x, dW):
            return super().diffuse(t, x, dW) * (1 + share * (what == "noise"))

    return Wrong
