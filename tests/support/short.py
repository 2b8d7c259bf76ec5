"""A study that takes a moment, as a newcomer would begin one."""

import torch

import sme

START = {"theta": torch.tensor([1.0, 0.5])}


def study(**changes):
    """SGD on the quadratic over two step sizes, with these changes."""
    given = {"order": [1, 2], "tau": [1 / 4, 1 / 8], "horizon": 0.5, "start": START, "paths": 1, "processes": 1,
             "backend": "torchsde"}
    return sme.weak_error(sme.Quadratic(), sme.SGD(), **{**given, **changes})
