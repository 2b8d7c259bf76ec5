"""A small network that reads digits."""

from collections.abc import Sequence

from sme.errors import SMEError, choose
from sme.inputs import several, whole
from sme.problems.datasets import digits
from sme.problems.modules import ACTIVATIONS, perceptron, residual
from sme.problems.preset import Preset, evenly, split

CLASSES, PIXELS = 10, 8


class Digits(Preset):
    """Handwritten digits of 8 × 8 pixels (scikit-learn), cross entropy, true minibatches.

    Parameters
    ----------
    hidden
        widths of the hidden layers of a perceptron; `[27]` makes 2 035 parameters.
    channels
        of a residual convolutional network in its place; None: the perceptron.
    activation
        `"tanh"`, `"softplus"`, `"gelu"`, `"silu"`, `"relu"` (order 1 only).
    examples
        so many of the 1 797 to train on, evenly spaced; of the others up to as many are for the test.
    batch_size, sampling, scale, coupling
        of `sme.MinibatchNoise`.
    seed
        of the initial parameters.

    Raises
    ------
    SMEError
        for numbers outside these ranges, or if scikit-learn is not installed.
    """

    def __init__(self, hidden: Sequence[int] = (27,), channels: int | None = None, activation: str = "tanh", examples: int = 256,
                 batch_size: int = 16, sampling: str = "with_replacement", scale: float = 1.0, coupling: str = "independent",
                 seed: int = 0) -> None:
        table = digits()
        total, examples = len(table[0]), whole("examples", examples, 2)
        widths = [whole("a width in hidden", each, 1) for each in several(hidden)]
        choose("activation", activation, ACTIVATIONS)
        if examples >= total:
            raise SMEError(f"examples must be below {total}, got {examples}: some must be left for the test")
        data, left = split(table, examples)
        some = evenly(min(examples, len(left[0])), len(left[0]))
        kind: dict[str, object]
        if channels is None:
            kind, build = {"hidden": widths}, lambda: perceptron([PIXELS**2, *widths, CLASSES], activation)
        else:
            filters = whole("channels", channels, 1)
            kind, build = {"channels": filters}, lambda: residual(PIXELS, filters, CLASSES, activation)
        super().__init__("digits", {**kind, "activation": activation, "examples": examples}, build, seed, data, "cross_entropy",
                         batch_size, (left[0][some], left[1][some]), sampling=sampling, scale=scale, coupling=coupling)
