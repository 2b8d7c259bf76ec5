"""Small networks on tables: a regression, and a deep perceptron that classifies."""

from collections.abc import Sequence

from torch import Tensor, nn

from sme.common.errors import SMEError, choose
from sme.common.inputs import whole
from sme.problems.datasets import breast_cancer, diabetes
from sme.problems.networks.modules import ACTIVATIONS, perceptron
from sme.problems.networks.presets.preset import Preset, split


class _Tabular(Preset):
    """A perceptron on a table."""

    def __init__(self, table: tuple[Tensor, Tensor], widths: Sequence[int], loss: str, name: str, *, activation: str,
                 examples: int | None, batch_size: int, sampling: str, noise: float | None, seed: int) -> None:
        total = len(table[0])
        if examples is not None and not 2 <= whole("examples", examples, 2) <= total:
            raise SMEError(f"examples must lie between 2 and {total}, got {examples}: give fewer, or null for all")
        data, rest = split(table, examples or total)
        choose("activation", activation, ACTIVATIONS)
        settings = {"widths": list(widths), "activation": activation,
                    "examples": "all" if examples is None else f"{examples} evenly spaced"}
        super().__init__(name, settings, lambda: self._module(widths, activation), seed, data, loss, batch_size,
                         rest if len(rest[0]) else None, noise, sampling=sampling)

    def _module(self, widths: Sequence[int], activation: str) -> nn.Module:
        return perceptron(widths, activation)


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
