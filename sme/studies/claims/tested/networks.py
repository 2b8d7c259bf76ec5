"""SDEs of RMSProp and Adam beside the optimizers on networks: a perceptron, residual ones with convolutions, a transformer."""

import itertools
import warnings
from collections.abc import Sequence

import torch

from sme.optimizers.adam import Adam
from sme.optimizers.rmsprop import RMSProp
from sme.problems.base import Problem
from sme.problems.networks.presets.digits import Digits
from sme.problems.networks.presets.mnist import Mnist
from sme.problems.networks.presets.tabular import BreastCancer
from sme.problems.networks.presets.text import Text
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.trajectories.run import trajectories

COMPAGNONI = "Monzio Compagnoni et al., arXiv 2411.15958"
CLOSE = 0.05
"""of the fall of the loss, by which an equation may be off"""
TAUS = (1 / 8, 1 / 32)
MODELS = {"compagnoni": "Compagnoni's", "sme": "ours, order 1"}


def _followed(problem: Problem, noise: float, taus: Sequence[float], horizon: float, paths: int, seed: int,
              backend: str) -> Found:
    """Of each rule and τ how far Compagnoni's equation is from the run, and ours; with a panel of it over the time.

    `paths` are those of the last `τ`; at others there are more, as `τ`, which cost the same.
    """
    numbers, panels = [], []
    start = {**problem.start, "v": torch.full((problem.dim,), noise**2, dtype=torch.float64)}
    for name, rule in (("RMSProp", RMSProp(c=0.5, eps=0.1)), ("Adam", Adam(c1=1.0, c2=0.5, eps=0.1))):
        curves: dict[str, dict[str, list[float]]] = {}
        for tau, (model, label) in itertools.product(taus, MODELS.items()):
            count = round(paths * tau / taus[-1])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of few paths, and of their cost
                made = trajectories(problem, rule, tau=tau, horizon=horizon, start=start, order=1, model=model, response=True,
                                    observables=["loss"], histogram="loss", paths=count, seed=seed, backend=backend).table
            run = made[made["curve"] == "discrete"].set_index("time")["mean"]
            rows = made[made["curve"] != "discrete"].set_index("time")
            fall = float(run.iloc[0] - run.iloc[-1])
            off, half = rows["difference"] / fall, (1.96 * rows["difference_stderr"] + rows["integrator_bias"].abs()) / abs(fall)
            where = f"{name}, τ = 1/{round(1 / tau)}, {label}"
            numbers.append(Number(where, off.iloc[-1], off.iloc[-1] - half.iloc[-1], off.iloc[-1] + half.iloc[-1], -CLOSE, CLOSE,
                                  f"95 % and the integrator bias, {count} paired paths", count, beside=model == "sme"))
            curves[f"{label}, τ = 1/{round(1 / tau)}"] = curve(rows.index, off, off - half, off + half)
        panels.append(Panel(name, "time", "run less equation in the mean loss, over the run's fall", curves,
                            lines={"claimed, at most": CLOSE, "claimed, at least": -CLOSE}))
    return Found(numbers, panels)


def perceptron(taus: Sequence[float] = TAUS, horizon: float = 1.0, paths: int = 32, seed: int = 0, noise: float = 0.3,
               width: int = 5, depth: int = 2, examples: int = 32, backend: str = "auto") -> Found:
    """How far each equation's mean loss is from the optimizer's at the end, over the fall of the loss."""
    return _followed(BreastCancer(width=width, depth=depth, examples=examples, noise=noise), noise, taus, horizon, paths, seed,
                     backend)


def convolutional(taus: Sequence[float] = TAUS, horizon: float = 1.0, paths: int = 16, seed: int = 0, noise: float = 0.3,
                  channels: int = 2, examples: int = 32, backend: str = "auto") -> Found:
    """How far each equation's mean loss is from the optimizer's at the end, over the fall of the loss."""
    return _followed(Digits(channels=channels, activation="gelu", examples=examples, noise=noise), noise, taus, horizon, paths,
                     seed, backend)


def residual(taus: Sequence[float] = TAUS, horizon: float = 1.0, paths: int = 6, seed: int = 0, noise: float = 0.05,
             first: float = 0.3, width: int = 2, examples: int = 16, backend: str = "auto") -> Found:
    """How far each equation's mean loss is from the optimizer's at the end, over the fall of the loss.

    `first` is `√v` at the start.
    """
    return _followed(Mnist("resnet", width, examples=examples, noise=noise), first, taus, horizon, paths, seed, backend)


def transformer(taus: Sequence[float] = TAUS, horizon: float = 1.0, paths: int = 16, seed: int = 0, noise: float = 0.3,
                width: int = 4, tokens: int = 8, examples: int = 16, backend: str = "auto") -> Found:
    """How far each equation's mean loss is from the optimizer's at the end, over the fall of the loss."""
    return _followed(Text(width=width, tokens=tokens, examples=examples, noise=noise), noise, taus, horizon, paths, seed, backend)


SETTING = ("{}, Gaussian noise {} on the full gradient, τ = 1/8 and 1/32 up to time 1, {} paired paths at 1/32 and four times "
           "as many at 1/8; β₁ = 1 − τ, β₂ = 1 − τ/2, ε = 0.1; beside it our equation of order 1")
REFUTED = "a mean loss at the end that is off by more than 5 % of its fall"
SENTENCE = "Their SDEs of RMSprop and Adam follow the optimizers' loss on {}."
TINY = {"taus": (1 / 4,), "horizon": 0.5, "paths": 4}
BAND = "95 % of the mean difference, and the integrator bias"
CLAIMS = (
    Claim("sdes_on_perceptron", COMPAGNONI, "experiments on MLPs, appendix F", SENTENCE.format("multilayer perceptrons"),
          SETTING.format("breast-cancer data, 32 rows, a perceptron of two hidden layers of 5", 0.3, 32) + ". A first full run "
          "had τ = 1/8 alone, with 16 paths; the second τ and the paths were added after it",
          "167 parameters and at most 32 steps; theirs has 4 022, noise 0.01 and 1500 steps of 1e-3", REFUTED, perceptron,
          {**TINY, "width": 2, "depth": 1, "examples": 8}, BAND),
    Claim("sdes_on_cnn", COMPAGNONI, "experiments on CNNs and ResNets", SENTENCE.format("convolutional and residual networks"),
          SETTING.format("ten digits of 8 × 8, 32 of them, a residual network with convolutions of 2 channels, GELU", 0.3, 16),
          "88 parameters and at most 32 steps; theirs read MNIST and CIFAR-10", REFUTED, convolutional,
          {**TINY, "channels": 1, "examples": 8}, BAND),
    Claim("sdes_on_resnet", COMPAGNONI, "experiments on CNNs and ResNets", SENTENCE.format("residual networks"),
          SETTING.format("ten digits of 28 × 28, 16 of them, a residual network of two stages with group norms and GELU, of 2 "
                         "and 4 channels", 0.05, 6) + "; v from 0.3², as on the other networks. Noise 0.3, as there, drowned "
          "the fall of the loss in a try; a first full run had v from 0.05² and so steps of up to 6.7 τ in place of 2.5 τ, with "
          "RMSProp off by 82 % of the fall (τ = 1/8) and 21 % (1/32), Adam by 13 and 3 %",
          "542 parameters and at most 32 steps; theirs is a ResNet on CIFAR-10", REFUTED, residual,
          {**TINY, "examples": 4}, BAND),
    Claim("sdes_on_transformer", COMPAGNONI, "experiments on transformers", SENTENCE.format("transformers"),
          SETTING.format("the next character of Python's documentation, 16 pieces of 8, a transformer of width 4 with one layer",
                         0.3, 16),
          "364 parameters and at most 32 steps; theirs read MNIST and Shakespeare, and one has 160 million parameters",
          REFUTED, transformer, {**TINY, "width": 2, "tokens": 4, "examples": 4}, BAND),
)
