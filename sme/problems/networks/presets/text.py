"""A network that reads a text, character by character."""

from sme.common.errors import SMEError, choose
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import whole
from sme.problems.datasets import SYMBOLS, text
from sme.problems.networks.modules import ACTIVATIONS, Transformer
from sme.problems.networks.presets.preset import Preset, evenly, split


class Text(Preset):
    """The next character of Python's own documentation (`pydoc_data.topics`), by a transformer, true minibatches.

    Letters are small, and what is neither letter nor common mark is one symbol. An example is a piece of the text and the
    same one character later; its loss is the mean over the characters. The text differs between Python's versions, and so do the
    names of studies.

    Parameters
    ----------
    width, heads, layers
        of the transformer: causal attention and a perceptron, each behind a norm and beside what goes in; the embedding is the
        last layer too. 16 and one layer make 3 120 parameters.
    tokens
        characters of an example.
    activation
        as of `sme.Digits`.
    examples
        so many pieces to train on, evenly spaced over the text; as many others are for the test.
    batch_size, sampling, noise, seed
        as of `sme.Digits`.

    Raises
    ------
    SMEError
        for numbers outside these ranges.
    """

    def __init__(self, width: int = 16, heads: int = 2, layers: int = 1, tokens: int = 16, activation: str = "gelu",
                 examples: int = 64, batch_size: int = 16, sampling: str = "with_replacement", noise: float | None = None,
                 seed: int = 0) -> None:
        choose("activation", activation, ACTIVATIONS)
        width, heads, layers = whole("width", width, 1), whole("heads", heads, 1), whole("layers", layers, 1)
        tokens, examples = whole("tokens", tokens, 1), whole("examples", examples, 2)
        if width % heads:
            raise SMEError(f"width must be a multiple of heads = {heads}, got {width}")
        letters = text()
        if 2 * examples * (tokens + 1) > len(letters):
            raise SMEError(f"{examples} examples of {tokens} characters, and as many for the test, are more than the text has, "
                           f"{len(letters)} characters: give fewer")
        starts = evenly(2 * examples, len(letters) - tokens)
        pieces = letters.unfold(0, tokens + 1, 1)[starts]
        data, test = split((pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()), examples)
        settings = {"width": width, "heads": heads, "layers": layers, "tokens": tokens, "activation": activation,
                    "examples": examples, "text": fingerprint(pieces)}
        super().__init__("text", settings, lambda: Transformer(len(SYMBOLS), tokens, width, heads, layers, activation), seed,
                         data, "cross_entropy", batch_size, test, noise, sampling=sampling)
