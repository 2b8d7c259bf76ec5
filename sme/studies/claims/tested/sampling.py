"""Minibatches: examples drawn by importance, and batch sizes with the square-root rule."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.scaling_rules import amplification, scale, svag
from sme.problems.datasets import breast_cancer
from sme.problems.networks.presets.digits import Digits
from sme.problems.noise.minibatch.law import minibatches
from sme.problems.noise.wrapped.svag import SVAGNoise
from sme.problems.renoised import Renoised
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.claims.runs import Rule, begun, even, fresh, noisy

PENALTY, SPREAD, GROUP = 0.01, 1.5, 32
"""of `½ |θ|²`; decades from the largest feature to the smallest; and runs of a group, whose means are compared"""
SCORES = ("uniform", "‖∇f‖", "‖D∇f‖")


class Logistic:
    """The breast-cancer data with a penalty: per-example gradients of many runs at once."""

    def __init__(self, examples: int, features: int) -> None:
        x, y = breast_cancer()
        rows = torch.linspace(0, len(x) - 1, examples).round().long()
        self.x, self.y = x[rows, :features] * torch.logspace(0, -SPREAD, features, dtype=torch.float64), y[rows]
        theta = torch.zeros(1, features, dtype=torch.float64)
        for _ in range(200):  # Newton's method
            p = torch.sigmoid(theta @ self.x.T)
            hessian = (self.x.T * (p * (1 - p))) @ self.x / examples + PENALTY * torch.eye(features, dtype=torch.float64)
            theta = theta - torch.linalg.solve(hessian, self.each(theta).mean(1).T).T
        self.least = self.loss(theta)

    def each(self, theta: Tensor) -> Tensor:
        """`∇f_i`, `(runs, examples, d)`."""
        return (torch.sigmoid(theta @ self.x.T) - self.y).unsqueeze(-1) * self.x + PENALTY * theta.unsqueeze(1)

    def loss(self, theta: Tensor) -> Tensor:
        """The mean over the examples."""
        logits = theta @ self.x.T
        return (torch.nn.functional.softplus(logits) - self.y * logits).mean(-1) + 0.5 * PENALTY * theta.square().sum(-1)


def _drawn(data: Logistic, made: Rule, score: str, steps: int, every: int, batch: int, runs: int, seed: int) -> np.ndarray:
    """The loss above its minimum at every step; probabilities are made anew every so many steps, a tenth of them uniform."""
    (rule, tau), generator = made, torch.Generator().manual_seed(seed)
    state, n = begun(rule, torch.full((runs, data.x.shape[1]), 0.5, dtype=torch.float64)), len(data.x)
    found = []
    for k in range(steps):
        found.append(data.loss(state["theta"]) - data.least)
        gradients = data.each(state["theta"])
        if k % every == 0:
            weight: Tensor | float = 1.0
            if score == SCORES[2] and "v" in state and k:
                weight = preconditioner(state["v"], rule.eps, rule.v_floor).value.unsqueeze(1)  # type: ignore[attr-defined]
            sizes = (weight * gradients).norm(dim=-1) if score != SCORES[0] else torch.ones(runs, n, dtype=torch.float64)
            p = 0.1 / n + 0.9 * sizes / sizes.sum(-1, keepdim=True)
        picks = torch.multinomial(p, batch, replacement=True, generator=generator)
        rows = gradients.gather(1, picks.unsqueeze(-1).expand(-1, -1, gradients.shape[-1]))
        noisy_one = (rows / (n * p.gather(1, picks)).unsqueeze(-1)).mean(1)
        state = rule.update(state, BALLISTIC.seen(noisy_one, tau), tau, rule.t0 + k * tau)
    return torch.stack(found).numpy()


def importance(examples: int = 64, features: int = 10, steps: int = 800, every: int = 10, batch: int = 2, runs: int = 8192,
               seed: int = 0) -> Found:
    """The mean loss above the minimum over the last half with one score over that with another."""
    data, numbers, panels = Logistic(examples, features), [], []
    rules = {"SGD": fresh("sgd", 0.05), "RMSProp": fresh("rmsprop", 0.01, beta2=0.99), "Adam": fresh("adam", 0.01, 0.9, 0.99)}
    for name, made in rules.items():
        scores = SCORES if name != "SGD" else SCORES[:2]
        found = {each: _drawn(data, made, each, steps, every, batch, runs, seed + i) for i, each in enumerate(scores)}
        late = {each: np.log(losses[steps // 2:].mean(0).reshape(-1, min(GROUP, runs // 2)).mean(1))
                for each, losses in found.items()}
        of = f"groups of {min(GROUP, runs // 2)} runs"
        for new, old in ((SCORES[1], SCORES[0]), (SCORES[2], SCORES[1]))[: len(scores) - 1]:
            numbers.append(Number.mean(f"{name}, {new} over {old}", late[new] - late[old], of, geometric=True, most=1.0,
                                       part=f"by {new}"))
        panels.append(Panel(name, "step", "mean loss above the minimum", {
            each: curve(range(0, steps, 4), losses.mean(1)[::4]) for each, losses in found.items()}, "y"))
    return Found(numbers, panels)


def _followed(given: Hyperparameters, examples: int, hidden: int, steps: int, runs: int, seed: int) -> np.ndarray:
    """The training loss at 33 times of as many epochs."""
    problem = Digits((hidden,), examples=examples, batch_size=given.batch_size or 1)
    made = fresh(given.optimizer, given.lr, given.beta1, given.beta2, eps=given.eps, weight_decay=given.weight_decay)
    state = begun(made[0], problem.start["theta"].expand(runs, -1))
    return noisy(problem, made, state, even(steps, 32), lambda state: problem.loss(state["theta"]).unsqueeze(1), seed)[..., 0]


def _apart(where: str, mine: np.ndarray, base: np.ndarray, part: tuple[float, float], beside: bool = False) -> Number:
    """The difference of mean log losses in a part of the epochs."""
    return replace(_difference(where, np.log(mine), np.log(base), part, CLOSE), beside=beside)


def _difference(where: str, mine: np.ndarray, base: np.ndarray, part: tuple[float, float], most: float) -> Number:
    """The difference of means over a part of the epochs, claimed to be at most so large."""
    one, two = (each[slice(*(round(end * (len(each) - 1)) for end in part))].mean(0) for each in (mine, base))
    stderr = math.hypot(one.std(ddof=1), two.std(ddof=1)) / math.sqrt(len(one))
    return Number.normal(where, float(one.mean() - two.mean()), stderr, len(one), least=-most, most=most)


def _mean(losses: np.ndarray) -> dict[str, list[float]]:
    return curve(np.linspace(0, 1, len(losses)), losses.mean(1))


CLOSE = 0.1
"""of log losses that are counted as the same"""
EARLY, LATE = (0.05, 0.3), (0.5, 1.0)


def square_root(examples: int = 128, hidden: int = 12, steps: int = 960, runs: int = 16, kappas: Sequence[int] = (2, 4, 8),
                seed: int = 0) -> Found:
    """The difference of log loss to that of κ = 1 by the square-root rule, early and late; by the linear rule beside it."""
    base = Hyperparameters("adam", 0.002, 0.98, 0.98, batch_size=2, steps=steps)
    own, numbers, curves = _followed(base, examples, hidden, steps, runs, seed), [], {}
    curves["κ = 1"] = _mean(own)
    for kappa in kappas:
        for rule in ("square_root", "linear"):
            found = _followed(scale(base, kappa, rule), examples, hidden, steps // kappa, runs, seed + kappa)
            beside = rule == "linear"
            for when, part in (("late", LATE), ("early", EARLY)):
                numbers.append(_apart(f"κ = {kappa}, {rule.replace('_', ' ')} rule, {when}", found, own, part, beside))
            curves[f"κ = {kappa}, {rule.replace('_', ' ')}"] = _mean(found)
    return Found(numbers, [Panel("Adam on ten digits", "share of the epochs", "training loss", curves, "y")])


def decay(examples: int = 128, hidden: int = 12, steps: int = 1600, runs: int = 16, kappa: int = 4, seed: int = 0) -> Found:
    """The difference of late log loss with κ times the batch: lr and decay by √κ, and with the decay as it was."""
    base = Hyperparameters("adamw", 0.004, 0.98, 0.98, weight_decay=1.0, batch_size=2, steps=steps)
    own, scaled = _followed(base, examples, hidden, steps, runs, seed), scale(base, kappa, "square_root")
    numbers, curves = [], {"κ = 1": _mean(own)}
    for name, given in ((f"κ = {kappa}, decay by √κ", scaled), (f"κ = {kappa}, decay kept", replace(scaled, weight_decay=1.0))):
        found = _followed(given, examples, hidden, steps // kappa, runs, seed + kappa)
        numbers.append(_apart(name, found, own, LATE, "kept" in name))
        curves[name] = _mean(found)
    return Found(numbers, [Panel("AdamW on ten digits, decay 1", "share of the epochs", "training loss", curves, "y")])


def _family(given: Hyperparameters, ell: int, examples: int, hidden: int, batch: int, steps: int, runs: int,
            seed: int) -> np.ndarray:
    """Training loss and test accuracy of the SVAG family at 33 times."""
    problem, kind = Digits((hidden,), examples=examples, batch_size=batch), "sgd" if given.optimizer == "sgd" else "adaptive"
    gain, own = amplification(ell, kind), svag(given, ell).hyperparameters
    law = minibatches("SVAG", problem.noise)
    drawn = Renoised(problem, SVAGNoise(law.changed(scale=math.sqrt(gain)), ell, kind))
    made, accuracy = fresh(own.optimizer, own.lr, own.beta1, own.beta2, eps=own.eps), problem.functions()["test accuracy"]
    return noisy(drawn, made, begun(made[0], problem.start["theta"].expand(runs, -1)), even(steps * gain, 32),
                 lambda state: torch.stack([problem.loss(state["theta"]), accuracy(state["theta"])], 1), seed)


def family(examples: int = 128, hidden: int = 12, batch: int = 8, steps: int = 64, runs: int = 512,
           ells: Sequence[int] = (1, 2, 4, 8, 16), most: int = 8, seed: int = 0) -> Found:
    """The difference of late log loss, and of late test accuracy, between the two largest ℓ, and from ℓ = 1 to the largest."""
    numbers, panels = [], []
    for name, given in (("SGD", Hyperparameters("sgd", 0.3)), ("Adam", Hyperparameters("adam", 0.006, 0.95, 0.95))):
        own = [ell for ell in ells if name == "SGD" or ell <= most]  # whose ℓ² times as many steps are soon too many
        found = {ell: _family(given, ell, examples, hidden, batch, steps, runs, seed + ell) for ell in own}
        for part, one, two in (("they come together", own[-1], own[-2]), ("the optimizer is among them", own[0], own[-1])):
            where = f"{name}, ℓ = {one} less ℓ = {two}"
            loss, right = _apart(f"{where}, log loss", found[one][..., 0], found[two][..., 0], LATE), _difference(
                f"{where}, test accuracy", found[one][..., 1], found[two][..., 1], LATE, NEAR)
            numbers += [replace(loss, part=part), replace(right, part=part)]
        for i, what in enumerate(("training loss", "test accuracy")):
            panels.append(Panel(name, "share of the time", what, {f"ℓ = {ell}": _mean(each[..., i])
                                                                  for ell, each in found.items()}, "" if i else "y"))
    return Found(numbers, panels)


NEAR = 0.02
"""of test accuracies that are counted as the same"""
NETWORK = "{} digits of 8 × 8 and some 900 parameters; they have {}"
CLAIMS = (
    Claim("importance_scores", "Lahire, arXiv 2303.16529", "abstract (the text and its metric were not seen)",
          "Drawing examples by the size of their gradients helps, and with an adaptive rule by the size of its own steps, ‖D∇f‖.",
          "logistic regression, 64 rows and 10 features of the breast-cancer data, batches of 2, probabilities made anew every "
          "10 steps and a tenth uniform, 800 steps, 8192 runs; the features are of sizes 1 to 0.03, so that D has work to do. "
          "A first full run of 512 runs had left ‖D∇f‖ undecided",
          "10 parameters; theirs are deep networks",
          "a mean loss above the minimum, over the last half, that is not below that with the simpler score",
          importance, {"examples": 8, "features": 3, "steps": 12, "runs": 8}),
    Claim("square_root_rule", "Malladi et al., arXiv 2205.10287", "Definitions 5.2 and 5.3, experiments",
          "Adam at κ times the batch size with lr √κ and 1 − β times κ follows the same loss over the epochs.",
          "ten digits, a perceptron 64–12–10, B = 2, lr 0.002, β = 0.98, 15 epochs, κ = 2, 4, 8, 16 runs; early: from 5 to "
          "30 % of the epochs, late: the second half", NETWORK.format(128, "ResNet-50, RoBERTa and GPT"),
          "a difference of mean log loss from κ = 1 above 0.1 in size", square_root,
          {"examples": 16, "hidden": 2, "steps": 64, "runs": 4, "kappas": (2,)}),
    Claim("decay_rule", "Monzio Compagnoni et al., arXiv 2411.15958", "Lemma 3.13",
          "AdamW keeps its loss at rest at κ times the batch size if lr and decay grow by √κ.",
          "ten digits, a perceptron 64–12–10, B = 2, lr 0.004, β = 0.98, decay 1, 25 epochs, κ = 4, 16 runs, the second half",
          NETWORK.format(128, "a language model of 160 million parameters") + ". Their lemma is of the law at rest; here the "
          "loss still falls a little in the second half",
          "a difference of mean log loss above 0.1 in size", decay, {"examples": 16, "hidden": 2, "steps": 64, "runs": 4}),
    Claim("svag_family", "Li, Malladi and Arora, arXiv 2102.12470; Malladi et al., arXiv 2205.10287", "experiments with SVAG",
          "SVAG's curves come together as ℓ grows, and the optimizer, ℓ = 1, is among them: its SDE describes it.",
          "ten digits, a perceptron 64–12–10, batches of 8, 64 steps of SGD (lr 0.3; ℓ = 1 to 16 with ℓ times as "
          "many steps) and Adam (lr 0.006, β = 0.95; ℓ = 1 to 8 with ℓ² times as many), 512 runs, the second half of the time. "
          "A first full run of 16 had lr 0.01 for Adam, whose log losses at ℓ = 1 and 8 were 0.11 apart: 0.006 was taken "
          "after it. That run, and one of 48, had left it undecided",
          NETWORK.format(128, "PreResNet-32 and VGG on CIFAR-10, ResNet-50 and language models"),
          "a difference of mean log loss above 0.1 in size, or one of test accuracy above 0.02", family,
          {"examples": 16, "hidden": 2, "batch": 2, "steps": 8, "runs": 4, "ells": (1, 2)}),
)
