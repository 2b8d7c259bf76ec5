"""Second-order equations of RMSProp and Adam for one parameter, written from formulas alone, and the published ones beside them.

`½ θ² + 0.075 θ⁴`, with noise 0.3, or 0.3 + 0.2 sin θ where it is `varying`.
"""

import torch

import sme


class Letters:
    """The letters of the formulas at one state."""

    def __init__(self, state, tau, t, optimizer, varying, corrected):
        theta, self.m, self.v = state["theta"], state.get("m"), state["v"]
        self.c, self.c1, self.c2, self.eps = (getattr(optimizer, name, 0.0) for name in ("c", "c1", "c2", "eps"))
        self.g, self.h, self.k = theta + 0.3 * theta**3, 1 + 0.9 * theta**2, 1.8 * theta
        wave = 0.2 if varying else 0.0
        self.s, s1, s2 = 0.3 + wave * theta.sin(), wave * theta.cos(), -wave * theta.sin()
        self.var, self.var1, self.var2 = self.s**2, 2 * self.s * s1, 2 * (s1**2 + self.s * s2)
        self.gain, self.gain1, self.root, self.root1 = gains(t, tau, self.c1, self.c2) if corrected else (1.0, 0.0, 1.0, 0.0)
        self.p = 1 / (self.v.sqrt() + self.eps * self.root)
        self.slope = -self.p**2 / (2 * self.v.sqrt())


def gains(t, tau, c1, c2):
    """`Γ = √γ₂/γ₁`, `√γ₂` and their slopes in time, of the clock `(2, 1)`."""
    l1, l2 = (torch.log1p(-torch.as_tensor(c * tau, dtype=torch.float64)) / tau for c in (c1, c2))
    g1, g2 = 1 - torch.exp((t + 2 * tau) * l1), 1 - torch.exp((t + tau) * l2)
    root = g2**0.5
    root1, slope1 = -l2 * (1 - g2) / (2 * root), -l1 * (1 - g1)
    return root / g1, (root1 - root / g1 * slope1) / g1, root, root1


def rmsprop(batch_equivalent=False, varying=False, wrong=()):
    """Of RMSProp, the terms of `wrong` as published."""

    def drift(state, tau, t, optimizer):
        x = Letters(state, tau, t, optimizer, varying, False)
        slope = -x.p**3 / 2 if "CubedRMSProp" in wrong else x.slope
        if batch_equivalent:
            pull, bent = x.c * (x.var - x.v), -x.p**3 * x.var * x.k if "BentRMSProp" in wrong else x.p**3 * x.var * x.k / 4
            of_theta = -(x.p**2 * x.g * x.h - slope * pull * x.g) / 2 + bent
            sway = x.c * x.p * x.g * x.var1 / 2 - x.c * x.p**2 * x.var * x.var2 / 4
            if "SwayedRMSProp" in wrong:
                sway = -x.p * x.g * x.var1 / 2 - tau * x.p**2 * x.var * x.var2 / 2
            of_v = x.c * x.g**2 + x.c * pull / 2 + sway
        else:
            pull = x.c * (x.g**2 + x.var - x.v)
            of_theta = (slope * x.g * pull - x.p**2 * x.g * x.h) / 2
            of_v = x.c * (2 * x.g**2 * x.h * x.p + (0 if "FlatVarianceRMSProp" in wrong else x.var1 * x.p * x.g) + pull) / 2
        return {"theta": -x.p * x.g + tau * of_theta, "v": pull + tau * of_v}

    def diffusion(state, dW, tau, t, optimizer):
        x, (one, two) = Letters(state, tau, t, optimizer, varying, False), dW.split(1, -1)
        second = 0 if "OneMotionRMSProp" in wrong else 2**0.5 * x.var * two
        if not batch_equivalent:
            return {"theta": -tau**0.5 * x.p * x.s * one, "v": tau**0.5 * x.c * (2 * x.g * x.s * one + second)}
        pull = x.c * (x.var - x.v)
        part = x.c if "ScaledHessianRMSProp" in wrong else 1
        change = part * x.p**2 * x.h / 2 - x.slope * pull / 2 + x.p**2 * x.g * x.var1 / (4 * x.s**2) - x.p**3 * x.var2 / 8
        mixed = 2 * x.c * x.g + x.c * x.p * x.var1 / 2
        return {"theta": -(x.p + tau * change) * x.s * one, "v": tau * mixed * x.s * one + tau**0.5 * x.c * second}

    return sme.equation(drift, diffusion, motions=2, name="_".join(wrong) or "right")


def adam(batch_equivalent=False, varying=False, corrected=False, wrong=()):
    """Of Adam, the terms of `wrong` as published."""

    def drift(state, tau, t, optimizer):
        x = Letters(state, tau, t - tau if "EarlyAdam" in wrong else t, optimizer, varying, corrected)
        velocity, pull = -x.gain * x.p * x.m, x.c1 * (x.g - x.m)
        square = x.c2 * (x.var - x.v + (0 if batch_equivalent else x.g**2))
        in_time = x.gain1 * x.p + (1 if "GrowingAdam" in wrong else -x.eps) * x.gain * x.p**2 * x.root1
        of_theta = (x.gain * (x.slope * x.m * square - x.p * pull) + x.m * in_time) / 2
        moved = -x.gain * x.p * x.g if "GradientAdam" in wrong else velocity
        of_v = x.c2 * x.g**2 if batch_equivalent else -x.c2 * x.g * x.h * moved
        of_v = of_v - x.c2 * (x.var1 * velocity - square) / 2
        of_m = -x.c1 * (x.h * velocity - pull) / 2
        return {"theta": velocity + tau * of_theta, "m": pull + tau * of_m, "v": square + tau * of_v}

    def diffusion(state, dW, tau, t, optimizer):
        x, (one, two) = Letters(state, tau, t, optimizer, varying, corrected), dW.split(1, -1)
        second = 2**0.5 * x.var * two
        if not batch_equivalent:
            sign = -1 if "OpposedAdam" in wrong else 1
            return {"m": tau**0.5 * x.c1 * x.s * one, "v": tau**0.5 * x.c2 * (sign * 2 * x.g * x.s * one + second)}
        ahead = 0 if "LeadingAdam" in wrong else x.c1 * x.s / 2
        turned = x.var1 / (2 * x.s) * x.gain * x.p * x.m / 2
        return {"theta": -tau * (1 if "UnscaledAdam" in wrong else x.c1) * x.gain * x.p * x.s * one / 2,
                "m": x.c1 * (x.s + tau * (ahead + turned)) * one,
                "v": 2 * tau * x.c2 * x.g * x.s * one + tau**0.5 * x.c2 * second}

    return sme.equation(drift, diffusion, motions=2, name="_".join(wrong) or "right")
