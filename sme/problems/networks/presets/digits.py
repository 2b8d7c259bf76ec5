"""A small network that reads digits."""

from collections.abc import Sequence

import torch
from torch.nn.functional import one_hot

from sme.common.errors import SMEError, choose
from sme.common.inputs import several, short, whole
from sme.problems.datasets import digits
from sme.problems.networks.modules import ACTIVATIONS, perceptron, residual
from sme.problems.networks.network import LOSSES
from sme.problems.networks.presets.preset import Preset, evenly, split

CLASSES, PIXELS = 10, 8


class Digits(Preset):
    """Handwritten digits of 8 × 8 pixels (scikit-learn), by default all ten, cross entropy, true minibatches.

    Parameters
    ----------
    hidden
        widths of the hidden layers of a perceptron; `[27]` makes 2 035 parameters.
    channels
        of a residual convolutional network in its place; None: the perceptron.
    activation
        `"tanh"`, `"softplus"`, `"gelu"`, `"silu"`, `"relu"` (order 1 only).
    examples
        so many of the 1 797 (or of the rows of `classes`) to train on, evenly spaced; of the others up to as many are for
        the test.
    batch_size, sampling, scale, coupling
        of `sme.MinibatchNoise`.
    seed
        of the initial parameters.
    classes
        the digits to tell apart, such as `[3, 8]`; None: all ten.
    loss
        `"cross_entropy"`, or `"mse"`: squared error of outputs whose targets are 1 for the class and 0 for the others.
    noise
        standard deviation of Gaussian noise on the full gradient in place of the minibatch's, 0 for none; None: minibatches.

    Raises
    ------
    SMEError
        for numbers outside these ranges, or if scikit-learn is not installed.
    """

    def __init__(self, hidden: Sequence[int] = (27,), channels: int | None = None, activation: str = "tanh", examples: int = 256,
                 batch_size: int = 16, sampling: str = "with_replacement", scale: float = 1.0, coupling: str = "independent",
                 seed: int = 0, classes: Sequence[int] | None = None, loss: str = "cross_entropy",
                 noise: float | None = None) -> None:
        table, known = digits(), list(range(CLASSES)) if classes is None else _classes(classes)
        if classes is not None:
            rows = torch.isin(table[1], torch.tensor(known))
            table = table[0][rows], (table[1][rows].unsqueeze(1) == torch.tensor(known)).long().argmax(1)
        if choose("loss", loss, LOSSES) == "mse":
            table = table[0], one_hot(table[1]).to(torch.float64)
        total, examples = len(table[0]), whole("examples", examples, 2)
        widths = [whole("a width in hidden", each, 1) for each in several(hidden)]
        choose("activation", activation, ACTIVATIONS)
        if examples >= total:
            raise SMEError(f"examples must be below {total}, got {examples}: some must be left for the test")
        data, left = split(table, examples)
        some = evenly(min(examples, len(left[0])), len(left[0]))
        kind: dict[str, object]
        if channels is None:
            kind, build = {"hidden": widths}, lambda: perceptron([PIXELS**2, *widths, len(known)], activation)
        else:
            filters = whole("channels", channels, 1)
            kind, build = {"channels": filters}, lambda: residual(PIXELS, filters, len(known), activation)
        kind |= {} if classes is None else {"classes": known}
        kind |= {} if loss == "cross_entropy" else {"loss": loss}
        super().__init__("digits", {**kind, "activation": activation, "examples": examples}, build, seed, data, loss, batch_size,
                         (left[0][some], left[1][some]), noise, sampling=sampling, scale=scale, coupling=coupling)


def _classes(given: Sequence[int]) -> list[int]:
    known = [whole("a digit in classes", each, 0) for each in several(given)]
    if len(set(known)) < len(known) or len(known) < 2 or max(known) >= CLASSES:
        raise SMEError(f"classes must be two or more different digits, 0 to {CLASSES - 1}, got {short(given)}")
    return known
