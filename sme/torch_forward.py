"""torch's forward mode, loaded here once: what torch deprecates in its own code is no concern of a user."""

import warnings

import torch
from torch.autograd import forward_ad


def load() -> None:
    """Have torch load what its first dual number needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


load()
