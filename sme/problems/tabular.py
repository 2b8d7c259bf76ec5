"""Small networks on tables: a regression, and a deep perceptron that classifies."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sme.errors import SMEError, choose
from sme.inputs import number, whole
from sme.laws.diagonal import DiagonalNoise
from sme.problems.datasets import breast_cancer, diabetes
from sme.problems.digits import ACTIVATIONS, perceptron
from sme.problems.network import Network


def _split(x: Tensor, y: Tensor, examples: int | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """So many evenly spaced rows to train on, and the others."""
    if examples is not None and not 2 <= whole("examples", examples, 2) <= len(x):
        raise SMEError(f"examples must lie between 2 and {len(x)}, got {examples}: give fewer, or null for all")
    rows = torch.linspace(0, len(x) - 1, examples or len(x), dtype=torch.float64).round().long()
    rest = torch.ones(len(x), dtype=torch.bool).index_fill(0, rows, False)
    return (x[rows], y[rows]), (x[rest], y[rest]) if bool(rest.any()) else None


class _Tabular(Network):
    """A perceptron on a table."""

    def __init__(self, table: tuple[Tensor, Tensor], widths: Sequence[int], loss: str, name: str, *, activation: str,
                 examples: int | None, batch_size: int, sampling: str, noise: float | None, seed: int) -> None:
        train, test = _split(*table, examples)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(whole("seed", seed, 0))
            module = self._module(widths, choose("activation", activation, ACTIVATIONS))
        size = sum(each.numel() for each in module.parameters())
        law = None if noise is None else DiagonalNoise(number("noise", noise), size)
        self._spec = {"problem": name, "widths": list(widths), "activation": activation, "seed": seed,
                      "examples": "all" if examples is None else f"{examples} evenly spaced"}
        super().__init__(module, train, loss, whole("batch_size", batch_size, 1), sampling, noise=law, test=test, name=name)

    def _module(self, widths: Sequence[int], activation: str) -> nn.Module:
        return perceptron(widths, activation)

    def describe(self) -> dict[str, object]:
        return self.preset(self._spec)


class Diabetes(_Tabular):
    """Regression on the diabetes data (scikit-learn; 442 rows, 10 features, all standardised), squared error.

    One hidden layer without bias and an output with one: 10–3–1 has 34 parameters.

    Parameters
    ----------
    hidden
        width of the hidden layer.
    activation
        as of `sme.Digits`.
    examples
        so many, evenly spaced; None: all. The others are for the test.
    batch_size, sampling
        of `sme.MinibatchNoise`.
    noise
        standard deviation of Gaussian noise on the full gradient in place of the minibatch's; None: minibatches.
    seed
        of the initial parameters.

    Raises
    ------
    SMEError
        for numbers outside these ranges, or if scikit-learn is not installed.
    """

    def __init__(self, hidden: int = 3, activation: str = "tanh", examples: int | None = None, batch_size: int = 16,
                 sampling: str = "with_replacement", noise: float | None = None, seed: int = 0) -> None:
        super().__init__(diabetes(), (10, whole("hidden", hidden, 1), 1), "mse", "diabetes", activation=activation,
                         examples=examples, batch_size=batch_size, sampling=sampling, noise=noise, seed=seed)

    def _module(self, widths: Sequence[int], activation: str) -> nn.Module:
        return nn.Sequential(nn.Linear(widths[0], widths[1], bias=False), ACTIVATIONS[activation](), nn.Linear(widths[1], 1))


class BreastCancer(_Tabular):
    """Classification of the breast-cancer data (scikit-learn; 569 rows, 30 standardised features), cross entropy.

    `depth` linear layers of `width`: 30–20×9–2 has 4 022 parameters.

    Parameters
    ----------
    width, depth
        of the hidden layers, and the number of linear layers.
    activation, examples, batch_size, sampling, noise, seed
        as of `sme.Diabetes`.

    Raises
    ------
    SMEError
        for numbers outside these ranges, or if scikit-learn is not installed.
    """

    def __init__(self, width: int = 20, depth: int = 10, activation: str = "tanh", examples: int | None = None,
                 batch_size: int = 32, sampling: str = "with_replacement", noise: float | None = None, seed: int = 0) -> None:
        x, y = breast_cancer()
        widths = (30, *[whole("width", width, 1)] * (whole("depth", depth, 1) - 1), 2)
        super().__init__((x, y.long()), widths, "cross_entropy", "breast_cancer", activation=activation, examples=examples,
                         batch_size=batch_size, sampling=sampling, noise=noise, seed=seed)
