"""A small autoencoder of digits."""

from sme.common.errors import SMEError, choose
from sme.common.inputs import whole
from sme.problems.datasets import digits
from sme.problems.networks.modules import ACTIVATIONS, perceptron
from sme.problems.networks.presets.preset import Preset, evenly, split

PIXELS = 64


class Autoencoder(Preset):
    """Handwritten digits of 8 × 8 pixels (scikit-learn) through a narrow layer and back, 64–h–64, mean squared error.

    Parameters
    ----------
    hidden
        `h`; 16 makes 2 128 parameters.
    activation
        of the hidden layer, as of `sme.Digits`.
    examples
        so many of the 1 797 to train on, evenly spaced; of the others up to as many are for the test.
    batch_size, sampling, noise, seed
        as of `sme.Digits`.

    Raises
    ------
    SMEError
        for numbers outside these ranges, or if scikit-learn is not installed.
    """

    def __init__(self, hidden: int = 16, activation: str = "tanh", examples: int = 256, batch_size: int = 16,
                 sampling: str = "with_replacement", noise: float | None = None, seed: int = 0) -> None:
        pictures, _ = digits()
        hidden, examples = whole("hidden", hidden, 1), whole("examples", examples, 2)
        choose("activation", activation, ACTIVATIONS)
        if examples >= len(pictures):
            raise SMEError(f"examples must be below {len(pictures)}, got {examples}: some must be left for the test")
        (data, _), (left, _) = split((pictures, pictures), examples)
        test = left[evenly(min(examples, len(left)), len(left))]
        super().__init__("autoencoder", {"hidden": hidden, "activation": activation, "examples": examples},
                         lambda: perceptron([PIXELS, hidden, PIXELS], activation), seed, (data, data), "mse", batch_size,
                         (test, test), noise, sampling=sampling)
