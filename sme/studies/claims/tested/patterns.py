"""Full-batch runs of a small network: the fast start of Adam, its oscillation and spikes, and the edge of stability."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sme.optimizers.signsgd import SignSGD
from sme.problems.networks.presets.digits import Digits
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.claims.runs import Rule, begun, follow, fresh
from sme.studies.phases.edge import sharpness, threshold
from sme.studies.phases.full_batch import follow as adams
from sme.studies.phases.patterns import LARGE, SMALL, SPIKES, ab, classify

MA, COHEN = "Ma, Wu and E, arXiv 2009.06125", "Cohen et al., arXiv 2103.00065 and 2207.14484"
DIGITS, HIDDEN = (3, 8), (16,)
ETA, TAIL, Z = 1e-3, 2 / 3, 1.96
LEAST = 1e-3
"""rise of the log loss, which all runs have in sum"""
PAIRS = ((1, 100), (10, 10), (100, 1))
"""of a and b, the published ones"""
FLOOR = 1e-7
"""of the loss, below which a rise is none"""
BLOCK, SPIKE = 50, 10.0
"""steps whose largest loss is looked at, longer than an oscillation; and the factor that is a large spike"""
SIZE = "64 digits of 8 × 8 pixels and 1 074 parameters; theirs are 1000 pictures of CIFAR-10 and 828 610"


def network(examples: int, seeds: int, classes: Sequence[int] | None = DIGITS) -> tuple[Digits, Tensor]:
    """A perceptron that tells two digits apart (None: all ten), and several starts, a row each."""
    made = [Digits(HIDDEN, examples=examples, classes=classes, loss="mse", noise=0.0, seed=seed) for seed in range(seeds)]
    return made[0], torch.stack([each.start["theta"] for each in made])


def share(where: str, hits: int, of: int, **claimed: float) -> Number:
    """A share of cells, with Wilson's interval."""
    centre, spread = (hits + Z**2 / 2) / (of + Z**2), Z * math.sqrt(hits * (of - hits) / of + Z**2 / 4) / (of + Z**2)
    return Number(where, hits / of, centre - spread, centre + spread, **claimed,  # type: ignore[arg-type]
                  basis=f"95 % (Wilson), {of} cells", runs=of)


def start(examples: int = 64, seeds: int = 8, steps: int = 300) -> Found:
    """The steps in which Adam halves the loss, over those of descent by signs with the same η, and of gradient descent."""
    problem, theta = network(examples, seeds)
    rules: dict[str, Rule] = {"Adam": fresh("adam", ETA, 0.9, 0.999), "descent by signs": (SignSGD(), ETA),
                              "RMSProp": fresh("rmsprop", ETA, beta2=0.999), "gradient descent": fresh("sgd", ETA)}
    curves, halved = {}, {}
    for name, made in rules.items():
        losses = follow(problem, made, begun(made[0], theta), list(range(steps + 1)),
                        lambda state: problem.loss(state["theta"]).unsqueeze(1))[..., 0]
        curves[name] = curve(range(steps + 1), np.median(losses, 1), losses.min(1), losses.max(1))
        below = losses < 0.5 * losses[0]
        halved[name] = np.where(below.any(0), below.argmax(0), steps)
    numbers = [Number.mean(f"Adam's steps over those of {other}", np.log(halved["Adam"] / halved[other]), "starts",
                           geometric=True, least=least, most=most) for other, least, most in (
        ("descent by signs", 0.5, 2.0), ("gradient descent", -math.inf, 0.5))]
    return Found(numbers, [Panel(f"two digits, η = {ETA:g}", "step", "loss", curves, "xy", {"half": float(np.median(
        curves["Adam"]["y"][0])) / 2})])


def _three(examples: int, seeds: int, steps: int) -> dict[tuple[int, int], np.ndarray]:
    """The losses of the three published pairs (a, b), a column for each start."""
    problem, theta = network(examples, seeds)
    every = np.stack([adams(problem, [ab(a, b, ETA) for a, b in PAIRS], row, steps)[0] for row in theta], 2)
    return {pair: every[:, i] for i, pair in enumerate(PAIRS)}


def _panel(found: dict[tuple[int, int], np.ndarray]) -> Panel:
    keep = np.unique(np.linspace(0, len(next(iter(found.values()))) - 1, 500).round().astype(int))
    return Panel("one start", "step", "loss", {
        f"a = {a}, b = {b} (β₁ = {1 - b * ETA:g}, β₂ = {1 - a * ETA:g})": curve(keep, losses[keep, 0])
        for (a, b), losses in found.items()}, "y")


def smoothest(examples: int = 64, seeds: int = 4, steps: int = 1500) -> Found:
    """All rises of log loss in the run at β₁ = β₂ over those of another pair; and its loss in the last part over theirs."""
    found, numbers = _three(examples, seeds, steps), []
    rises = {pair: np.maximum(np.diff(np.log(each), axis=0), 0).sum(0) for pair, each in found.items()}
    late = {pair: np.log(each[round((1 - TAIL) * steps):]).mean(0) for pair, each in found.items()}
    for pair, name in (((1, 100), "a ≪ b"), ((100, 1), "a ≫ b")):
        fewer = np.log((rises[10, 10] + LEAST) / (rises[pair] + LEAST))
        for part, what, logs in (("smoother", f"rises over those of {name}", fewer),
                                 ("faster", f"late loss over that of {name}", late[10, 10] - late[pair])):
            numbers.append(Number.mean(what, logs, "starts", geometric=True, most=1.0, part=part))
    return Found(numbers, [_panel(found)])


def rise(losses: np.ndarray) -> np.ndarray:
    """The largest factor by which each run's loss grows over its least before, of maxima of `BLOCK` steps."""
    tops = np.maximum.reduceat(losses, np.arange(0, len(losses), BLOCK), axis=0) + FLOOR
    return (tops / np.minimum.accumulate(tops)).max(0)


def spikes(examples: int = 64, seeds: int = 4, steps: int = 16_000) -> Found:
    """The largest factor by which the loss grows over its least before, in the second half of a run, and in its first."""
    problem, theta = network(examples, seeds)
    found, half = {}, steps // 2
    for a, b in PAIRS[:2]:
        made = fresh("adam", ETA, 1 - b * ETA, 1 - a * ETA)
        found[a, b] = follow(problem, made, begun(made[0], theta), list(range(steps + 1)),
                             lambda state: problem.loss(state["theta"]).unsqueeze(1))[..., 0]
    late = {pair: np.log(rise(each[half:])) for pair, each in found.items()}
    early = np.log(rise(found[PAIRS[0]][:half]))
    told = (("large spikes", "a ≪ b, late growth", late[PAIRS[0]], SPIKE, math.inf),
            ("late", "a ≪ b, early growth over late", early - late[PAIRS[0]], -math.inf, 1.0),
            ("none if β₁ = β₂", "a = b, late growth", late[PAIRS[1]], -math.inf, SPIKE))
    return Found([Number.mean(where, logs, "starts", geometric=True, least=least, most=most, part=part)
                  for part, where, logs, least, most in told], [_panel(found)])


class Sharpness:
    """The curvature largest in size; its power iteration goes on from the last vector."""

    def __init__(self, problem: Digits) -> None:
        self.problem, generator = problem, torch.Generator().manual_seed(0)
        self.u = torch.randn(1, problem.dim, generator=generator, dtype=torch.float64)

    def __call__(self, state: dict[str, Tensor]) -> Tensor:
        """A column."""
        theta = state["theta"]
        value, self.u = sharpness(self.problem, theta, torch.ones_like(theta), self.u.expand_as(theta), 8)
        return value.unsqueeze(1)


def edge(examples: int = 100, seeds: int = 3, steps: int = 3000, lrs: Sequence[float] = (0.6, 1.1, 1e-3),
         every: int = 20) -> Found:
    """The (preconditioned) sharpness over its limit, in the mean over the last quarter of full-batch runs."""
    problem, theta = network(examples, seeds, None)
    beta, numbers, curves = 0.9, [], {}
    cases = {"gradient descent, 2/η": (fresh("sgd", lrs[0]), 2 / lrs[0]),
             "momentum 0.9, 2(1 + β)/η": (fresh("momentum", lrs[1], beta), 2 * (1 + beta) / lrs[1])}
    marks = list(range(0, steps + 1, every))
    for name, (made, limit) in cases.items():
        curves[name] = follow(problem, made, begun(made[0], theta), marks, Sharpness(problem))[..., 0] / limit
    adam = [adams(problem, [ab((1 - 0.99) / lrs[2], (1 - beta) / lrs[2], lrs[2])], row, steps, every)[1][:, 0] for row in theta]
    curves["Adam 0.9, 0.99, 38/η"] = np.stack(adam, 1) / threshold(beta)
    for name, found in curves.items():
        late = found[-len(found) // 4:].mean(0)
        numbers.append(Number.mean(name, late, "starts", least=0.9, most=1.1, diverged=int((~np.isfinite(late)).sum())))
    return Found(numbers, [Panel("ten digits, full batch", "step", "sharpness over the limit", {
        name: curve(marks[: len(found)], np.median(found, 1), found.min(1), found.max(1)) for name, found in curves.items()},
        "y", {"limit": 1.0})])


def diagram(examples: int = 40, seeds: int = 4, cells: int = 10, steps: int = 16_000, low: float = 0.1,
            high: float = 100.0) -> Found:
    """Where the three patterns are over a and b: shares of cells."""
    problem, theta = network(examples, seeds)
    rates = np.geomspace(low, high, cells)
    places = np.array([(a, b) for b in rates for a in rates])
    given = [ab(a, b, ETA) for a, b in places]
    patterns = np.concatenate([classify(adams(problem, given, row, steps)[0], tail=TAIL, floor=FLOOR,
                                        window=min(50, steps // 8))["pattern"].to_numpy() for row in theta])
    ratio = np.log10(np.tile(places[:, 1] / places[:, 0], seeds))
    numbers = [share("of the cells with spikes, those with b > a", int((ratio[patterns == SPIKES] > 0).sum()),
                     max(1, int((patterns == SPIKES).sum())), least=0.9),
               share("of the cells with a large oscillation, those with a > b", int((ratio[patterns == LARGE] < 0).sum()),
                     max(1, int((patterns == LARGE).sum())), least=0.9),
               share("of the cells with a and b within a factor of 3, those with a small oscillation",
                     int((patterns[abs(ratio) < 0.48] == SMALL).sum()), int((abs(ratio) < 0.48).sum()), least=0.9)]
    bands = np.linspace(-3, 3, 13)
    middle = 0.5 * (bands[1:] + bands[:-1])
    inside = [(ratio >= one) & (ratio <= two) for one, two in itertools.pairwise(bands)]
    curves = {kind: curve(middle, [float((patterns[each] == kind).mean()) if each.any() else math.nan for each in inside])
              for kind in (SPIKES, SMALL, LARGE)}
    return Found(numbers, [Panel(f"{len(patterns)} cells", "log₁₀ b/a", "share of the cells", curves, points=True)])


BAND = "from the smallest to the largest of the starts, about their median"
MEMORIES = "β₁ = 1 − bη and β₂ = 1 − aη, so that a ≪ b is the longer memory of the squares"
CLAIMS = (
    Claim("sign_descent_first", MA, "section on the fast initial convergence",
          "The fast initial convergence of Adam is that of descent by signs.",
          "two digits, squared error, full batch, η = 0.001, β = (0.9, 0.999), 8 starts, until the loss is halved", SIZE,
          "steps over those of sign descent outside ½ to 2, or not half as many as gradient descent with the same η takes", start,
          {"examples": 8, "seeds": 2, "steps": 20}, BAND),
    Claim("equal_betas_smoothest", MA, "section on the two factors",
          "Training is much smoother, and even faster, when β₁ and β₂ are close.",
          "two digits, squared error, full batch, η = 0.001, 1500 steps of (a, b) = (1, 100), (10, 10), (100, 1), "
          f"4 starts; {MEMORIES}. It depends on the length: with settings={{equal_betas_smoothest:{{steps:16000,seeds:3}}}} the "
          "rises are 3.86 [1.12, 13.3] times those of a ≪ b, which then spikes, and 116 [37, 365] times those of a ≫ b, since "
          "the loss at (10, 10) has come to 1e-8 and below, where rises of its logarithm are of no account",
          f"{SIZE}; 1000 steps. At this size and length the run of a ≪ b has not come to spikes",
          "more rises of log loss, in sum, at (10, 10) than at another pair, or a larger loss in the last two thirds", smoothest,
          {"examples": 8, "seeds": 2, "steps": 30}),
    Claim("late_spikes", MA, "abstract and section on the two factors",
          "With β₁ = 0.9 and β₂ = 0.999 large spikes come in the late phase of training; there are none if β₁ = β₂.",
          "two digits, squared error, full batch, η = 0.001, 16 000 steps of (a, b) = (1, 100) and (10, 10), 4 starts; "
          f"{MEMORIES}; a rise of a loss below 1e-7 is none", SIZE + "; 1000 steps, of which these are sixteen times as many",
          "a growth of the loss over its least before that is below ten in the second half, or larger in the first half, or "
          "above ten at (10, 10)", spikes, {"examples": 8, "seeds": 2, "steps": 400}),
    Claim("edge_of_stability", COHEN, "abstracts",
          "Full-batch training raises the sharpness to 2/η, with momentum to 2(1 + β)/η, and Adam the "
          "preconditioned one to 38/η.",
          "ten digits, a perceptron 64–16–10, squared error, full batch, 3000 steps, 3 starts, the last quarter; lr 0.6 "
          "(gradient descent), 1.1 (momentum 0.9), 0.001 (Adam, β₂ = 0.99). In a first run on two digits, with lr 0.6 and 0.06, "
          "gradient descent diverged and momentum fitted the digits before it was near the limit: the limits were put below the "
          "sharpness that training comes to",
          "100 digits of 8 × 8 pixels and 1 210 parameters; theirs are 5000 pictures of CIFAR-10",
          "a mean of sharpness over the limit outside 1 ± 0.1", edge,
          {"examples": 8, "seeds": 2, "steps": 40}, BAND),
    Claim("phase_diagram", MA, "figure of the phases over a and b",
          "Spikes are where b ≫ a, large oscillations where a ≫ b, and a band around a = b has small oscillations.",
          "two digits, squared error, full batch, η = 0.001, 16 000 steps, 10 × 10 values of a and b from 0.1 to 100, 4 starts; "
          f"{MEMORIES}; of spikes and of large oscillations one direction is tested, that they are nowhere else, and not that "
          "each cell with b ≫ a has spikes, or each with a ≫ b large oscillations; the intervals take the cells of all starts "
          "for independent. A first run of 2000 steps from one start had one cell with spikes, and left all undecided",
          SIZE.replace("64", "40", 1) + "; 1000 steps, of which these are sixteen times as many",
          "one of three shares of cells below 0.9", diagram,
          {"examples": 8, "seeds": 1, "cells": 3, "steps": 24}),
)
