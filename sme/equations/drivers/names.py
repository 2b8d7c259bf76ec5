"""The names of what drives an equation: Brownian motions, a memory of them, or the examples of the minibatch themselves."""

from sme.common.errors import SMEError, choose
from sme.common.inputs import short

DRIVERS = {
    "none": "no noise",
    "independent": "Brownian motions, independent for the second moment",
    "step_memory": "one motion, and what of it came since the optimizer's step began",
    "fast_memory": "one motion, and a fading average of what of it came before",
    "poisson": "the examples of the minibatch, one by one at random times",
    "bridge": "a motion that ends every epoch where it began",
    "arrivals": "the examples of an epoch, each once at a uniform time",
}
"""by name, what each is"""
MEMORIES = ("step_memory", "fast_memory")
"""those whose noise depends on the noise before"""
MINIBATCHES = ("poisson", "arrivals", "none")
"""those that know the batches in the batch-equivalent regime (`none`: of reshuffled epochs), with errors of order 3/2 behind"""
RATE, GAIN = 4.0, 2.0
"""of the fading average, `dy = −(RATE/τ) y dt + GAIN S dW`: `∫k = ½ τ` and `∫k² = ½ τ` of its kernel `k`, as of a step's own"""


def asked(driver: object, brownian: object = None) -> str | None:
    """The driver that is given, by this name or by the older one, `brownian`; None where neither is.

    Raises
    ------
    SMEError
        for an unknown one, or two that differ.
    """
    if driver is not None and brownian is not None and driver != brownian:
        raise SMEError(f"driver={short(driver)} and brownian={short(brownian)} name one thing, brownian being its older name: "
                       "give driver alone")
    given = brownian if driver is None else driver
    return None if given is None else choose("driver", given, DRIVERS)
