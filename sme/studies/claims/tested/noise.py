"""What noise does at rest and on the way there: SGD, signSGD, RMSProp and AdamW on quadratics, and the mean of SGD at rest."""

import math
from typing import Any

import numpy as np
import torch

from sme.equations.chain import Chain
from sme.equations.rest.law import stationary
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.optimizers.signsgd import SignSGD
from sme.problems.base import Problem
from sme.problems.noise.independent.student import StudentNoise
from sme.problems.polynomial import Polynomial
from sme.simulate.discrete import averages
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.claims.runs import begun, column, even, noisy
from sme.studies.stationary.run import Case, simulate

COMPAGNONI = "Monzio Compagnoni et al., arXiv 2411.15958"
HALF = [0.0, 0.0, 0.5]
"""`½ θ²`"""
EXACT: dict[str, Any] = {"eps": 0.0, "v_floor": 0.0}
SLOPE = math.sqrt(2 / math.pi)
"""of `E sign(ĝ)` over the gradient, in units of the noise"""


def roles(tau: float = 0.01, sizes: tuple[float, ...] = (1, 2, 4, 8, 16), paths: int = 1536, seed: int = 0) -> Found:
    """The exponent of the noise in the loss at rest: over all sizes, and of AdamW, whose loss is bounded, over the last two."""
    rules: dict[str, Optimizer] = {"SGD": SGD(), "signSGD": SignSGD(), "Adam": AdamW(c1=1.0, c2=1.0, decay=0.0, **EXACT),
                                   "AdamW, decay 1": AdamW(c1=1.0, c2=1.0, decay=1.0, **EXACT)}
    claimed = {"SGD": (1.9, 2.1), "signSGD": (0.9, 1.1), "Adam": (0.9, 1.1), "AdamW, decay 1": (-math.inf, 0.25)}
    numbers, curves = [], {}
    for name, rule in rules.items():
        means, errors = [], []
        for i, size in enumerate(sizes):
            case = Case(name, rule, tau, {}, float(size))
            value, stderr = simulate(case, stationary(case.problem, rule, tau), paths, seed + i)
            means.append(0.5 * value)
            errors.append(0.5 * stderr)
        logs, sure = np.log(means), np.array(errors) / means
        curves[name] = curve(sizes, means, np.exp(logs - 1.96 * sure), np.exp(logs + 1.96 * sure))
        some = slice(-2, None) if "W" in name else slice(None)
        x = np.log(sizes)[some] - np.log(sizes)[some].mean()
        weights = x / (x * x).sum()
        stderr = float(np.sqrt(((weights * sure[some]) ** 2).sum()))
        numbers.append(Number.normal(name, float(weights @ logs[some]), stderr, paths, least=claimed[name][0],
                                     most=claimed[name][1]))
    return Found(numbers, [Panel(f"½θ², τ = {tau:g}", "size σ of the noise", "loss at rest", curves, "xy", points=True)])


def phases(tau: float = 0.01, curvature: float = 1.0, noise: float = 1.0, start: float = 6.0, horizon: float = 16.0,
           runs: int = 4096, seed: int = 0) -> Found:
    """The largest quotient of the mean loss and its bound in each phase, which is claimed to be at most 1.

    With `y = λθ/(√2 σ)`: phase 1 while the mean `y > 3/2`, phase 3 once it is below 1; each bound starts at the loss there.
    """
    problem = Polynomial([0.0, 0.0, 0.5 * curvature], noise=noise)
    marks = even(round(horizon / tau), 320)
    found = noisy(problem, (SignSGD(), tau), begun(SignSGD(), column([start]).expand(runs, 1)), marks,
                  lambda state: torch.cat([state["theta"], problem.loss(state["theta"]).unsqueeze(1)], 1), seed)
    times, y = np.array(marks) * tau, found[..., 0].mean(1) * curvature / (math.sqrt(2) * noise)
    losses, stderr = found[..., 1].mean(1), found[..., 1].std(1, ddof=1) / math.sqrt(runs)
    first, last = int(np.argmax(y < 1.5)), int(np.argmax(y < 1.0))
    m = (math.erf(1.5) - math.erf(1.0)) / 0.5
    low = math.erf(1.0) - m
    mu = trace = curvature
    bounds = np.full(len(times), np.nan)
    ends = 2 * math.sqrt(losses[0] / mu)
    bounds[:first] = np.where(times[:first] < ends, 0.25 * (math.sqrt(mu) * times[:first] - 2 * math.sqrt(losses[0])) ** 2, 0)
    for part, offset, rate in ((slice(first, last), low, m / (math.sqrt(2) * noise) + tau * mu * m**2 / (4 * noise**2)),
                               (slice(last, None), 0.0, SLOPE / noise + tau / math.pi * mu / noise**2)):
        fading = np.exp(-2 * mu * rate * (times[part] - times[part][0]))
        bounds[part] = losses[part][0] * fading + 0.5 * tau * (trace - mu * offset**2) / (2 * mu * rate) * (1 - fading)
    numbers = []
    below, falls = "below a parabola", "exponential to a floor"
    for said, name, part in ((below, "phase 1, |y| > 3/2", slice(1, first)), (falls, "phase 2", slice(first, last)),
                             (falls, "phase 3, |y| < 1", slice(last, None))):
        quotient, sure = losses[part] / bounds[part], 1.96 * stderr[part] / bounds[part]
        worst = int(np.argmax(quotient - sure))
        numbers.append(Number(name, float(quotient[worst]), float((quotient - sure)[worst]), float((quotient + sure)[worst]),
                              most=1.0 + tau, basis=f"95 %, {runs} runs, at the worst time", runs=runs, part=said))
    return Found(numbers, [Panel(f"½θ² from {start:g}, noise {noise:g}, τ = {tau:g}", "time", "loss", {
        "signSGD, mean": curve(times, losses), "bound of each phase": curve(times, np.nan_to_num(bounds, nan=losses[0]))}, "y")])


def heavy(tau: float = 0.01, nu: float = 1.5, horizon: float = 24.0, runs: int = 2048, seed: int = 0) -> Found:
    """The loss at rest under Student noise without a variance: signSGD's over its formula, and SGD's mean over its median."""
    problem = Problem(lambda theta: 0.5 * theta.square().sum(), 1, StudentNoise(nu, 1.0), "quadratic")
    marks, numbers = even(round(horizon / tau), 80), list[Number]()
    curves = dict[str, dict[str, list[float]]]()
    slope = 2 * math.gamma((nu + 1) / 2) / (math.gamma(nu / 2) * math.sqrt(nu * math.pi))
    for name, rule in (("signSGD", SignSGD()), ("SGD", SGD())):
        losses = noisy(problem, (rule, tau), begun(rule, column([3.0]).expand(runs, 1)), marks,
                       lambda state: 0.5 * state["theta"].square(), seed)[..., 0]
        late = losses[len(marks) // 2:].mean(0)
        curves |= {f"{name}, mean": curve(np.array(marks) * tau, losses.mean(1)),
                   f"{name}, median": curve(np.array(marks) * tau, np.median(losses, 1))}
        if rule.signed:
            formula = 0.25 * tau / slope
            numbers.append(Number.normal("signSGD, loss over that of the formula", float(late.mean()) / formula,
                                         float(late.std(ddof=1)) / math.sqrt(runs) / formula, runs, least=0.9, most=1.1))
        else:  # of groups of runs, whose means have no law of large numbers
            groups = np.log(late.reshape(16, -1).mean(1) / np.median(losses[len(marks) // 2:]))
            numbers.append(Number.mean("SGD, mean loss over the median", groups, "groups of runs", geometric=True, least=10.0))
    return Found(numbers, [Panel(f"½θ², Student's t with ν = {nu:g}, τ = {tau:g}", "time", "loss", curves, "y")])


def warm(ratios: tuple[float, ...] = (0.05, 0.1), lr: float = 1e-3, steps: int = 400, runs: int = 8192, seed: int = 0) -> Found:
    """Mean and variance of RMSProp's way on a line, over `kη ḡ/σ` and `kη²`."""
    numbers, panels, marks = [], [], even(steps, 40)
    for ratio in ratios:
        problem = Polynomial([0.0, -ratio], noise=1.0)
        rule = RMSProp(c=0.001 / lr, **EXACT)
        way = noisy(problem, (rule, lr), begun(rule, torch.zeros(runs, 1, dtype=torch.float64), v=1.0 + ratio**2), marks,
                    lambda state: state["theta"], seed)[..., 0]
        k = np.array(marks)
        for name, value, stderr, theory in (
                ("mean", way[-1].mean(), way[-1].std(ddof=1) / math.sqrt(runs), steps * lr * ratio),
                ("variance", way[-1].var(ddof=1), way[-1].var(ddof=1) * math.sqrt(2 / runs), steps * lr**2)):
            numbers.append(Number.normal(f"ḡ/σ = {ratio:g}, {name} over the formula", value / theory, stderr / theory, runs,
                                         least=0.9, most=1.1))
        panels.append(Panel(f"ḡ/σ = {ratio:g}", "step k", "way", {
            "mean": curve(k, way.mean(1)), "kηḡ/σ": curve(k, k * lr * ratio), "standard deviation": curve(k, way.std(1)),
            "η√k": curve(k, lr * np.sqrt(k))}))
    return Found(numbers, panels)


def offset(taus: tuple[float, ...] = (0.1, 0.05), bend: float = 0.3, top: float = 0.1, paths: int = 8192, seed: int = 0) -> Found:
    """The mean of SGD at rest over `−½ τ f‴ C/f″`, `C = Σ/(2f″)`; and on a quadratic, in the same unit."""
    numbers, curves = [], {}
    for name, coefficients in (("½x² + 0.3x³ + 0.1x⁴", [0.0, 0.0, 0.5, bend, top]), ("½x²", HALF)):
        problem, values, bars = Polynomial(coefficients, noise=1.0), [], []
        for i, tau in enumerate(taus):
            start = {"theta": math.sqrt(tau / 2) * torch.randn(paths, 1, generator=torch.Generator().manual_seed(seed + i),
                                                               dtype=torch.float64)}
            found = averages(Chain(problem, SGD(), BALLISTIC, tau), start, round(6 / tau), round(40 / tau),
                             lambda state: state["theta"], paths, seed + i)[:, 0].numpy()
            unit = -0.5 * tau * 6 * bend * 0.5
            value, stderr = found.mean() / unit, abs(found.std(ddof=1) / math.sqrt(paths) / unit)
            values.append(value)
            bars.append(1.96 * stderr)
            least, most = (1 - 4 * tau, 1 + 4 * tau) if coefficients != HALF else (-tau, tau)
            numbers.append(Number.normal(f"{name}, γ = {tau:g}", float(value), float(stderr), paths, least=least, most=most))
        curves[name] = curve(taus, values, np.array(values) - bars, np.array(values) + bars)
    return Found(numbers, [Panel("SGD at rest", "step size γ", "mean − minimum, over the formula", curves, points=True,
                                 lines={"formula": 1.0, "quadratic": 0.0})])


CLAIMS = (
    Claim("noise_roles", COMPAGNONI, "lemmas on stationary laws (3.8, C.52, C.57)",
          "The loss at rest grows with the noise σ as σ² for SGD, as σ for signSGD and Adam, and is bounded for AdamW.",
          "½θ², Gaussian noise of σ = 1 to 16, τ = 0.01, Adam's averages of 100 steps, 1536 runs, averaged over four memories at "
          "rest", "one parameter; theirs too are quadratics, and networks",
          "an exponent of σ outside 2 ± 0.1 (SGD), 1 ± 0.1 (signSGD, Adam), above ¼ (AdamW, from σ = 8 to 16)", roles,
          {"paths": 64, "sizes": (1, 4)}, "95 % of the mean", ("sizes",)),
    Claim("sign_phases", COMPAGNONI, "Lemmas on the three phases (3.4 and its loss bounds, as recalled)",
          "signSGD's loss is below a parabola while |y| > 3/2, and falls exponentially to a floor of size τ in the phases after.",
          "½θ² from 6, σ = 1, τ = 0.01, 4096 runs, y = θ/(√2 σ); each bound starts at the loss where its phase does",
          "one parameter. The bounds are recalled, the paper's text was not seen. That of phase 3 is on a quadratic the very "
          "loss of the phase's linear equation (derived again here), whose slope is that of erf at 0: up to |y| = 1 erf, and so "
          "the run, is slower, and it is the run that is held against the bound",
          "a mean loss above its bound by more than τ of it", phases, {"runs": 64, "tau": 0.05}),
    Claim("sign_heavy_tails", COMPAGNONI, "on Student's t",
          "signSGD comes to rest at its formula under noise without variance, where the mean loss of SGD is not finite.",
          "½θ², Student's t with ν = 1.5, τ = 0.01, 2048 runs", "one parameter, their quadratics",
          "a loss of signSGD that is off its formula by more than 10 %, or a mean loss of SGD below ten times the median",
          heavy, {"runs": 64, "horizon": 4.0}),
    Claim("warm_up_law", "Malladi et al., arXiv 2205.10287", "section 4.1",
          "Where noise dominates the gradient RMSProp's way of k steps has mean kηḡ/σ and variance kη².",
          "a line with ḡ/σ = 0.05 and 0.1, η = 1e-3, β = 0.999, 400 steps, 8192 runs", "the statement itself",
          "a mean or a variance that is off by more than 10 %", warm, {"runs": 256, "steps": 40}),
    Claim("constant_step_offset", "Dieuleveut, Durmus and Bach, arXiv 1707.06386", "expansion of the stationary mean",
          "The mean of SGD at rest is off the minimum by −½γ f‴C/f″ + O(γ²), and not at all on quadratics.",
          "½x² + 0.3x³ + 0.1x⁴ and ½x², noise 1, γ = 0.1 and 0.05, 8192 runs", "one parameter; theirs is a theorem",
          "a mean over the formula that is off 1 by more than 4γ, or on the quadratic off 0 by more than γ", offset,
          {"paths": 64}, "95 % of the mean"),
)
