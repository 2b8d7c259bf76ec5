"""What all shards of a setup share, as plain arrays and back."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float

from sme.common.storage.records import Arrays
from sme.simulate.control_variates.controls import Responses
from sme.simulate.control_variates.curvatures import Curvatures
from sme.simulate.halving import Halving
from sme.simulate.setup import Setup

FIRST, SECOND = ("linear", "quadratic"), ("run", "noise", "shift", "area")
"""the weights of the control variates, and how they change with the state"""


def shared(weights: Responses | None, ordinary: Float[np.ndarray, "marks observables"] | None, halving: Halving | None) -> Arrays:
    """What there is of the weights, of the observables along an ODE, and of the halving."""
    arrays: Arrays = {"": np.zeros(0)}  # of a setup that shares nothing
    if weights is not None:
        arrays.update({name: getattr(weights, name).cpu().numpy() for name in FIRST})
        if weights.curvatures is not None:
            arrays.update({name: getattr(weights.curvatures, name).cpu().numpy() for name in SECOND})
    if ordinary is not None:
        arrays["ordinary"] = ordinary
    if halving is not None:
        arrays |= {"power": np.array(halving.power), "moves": halving.moves}
    return arrays


def filled(setup: Setup, arrays: Arrays) -> Setup:
    """The setup with what `shared` told."""
    weights, halving = None, None
    if FIRST[0] in arrays:
        curvatures = Curvatures(*(_tensor(arrays[name], setup) for name in SECOND)) if SECOND[0] in arrays else None
        linear, quadratic = (_tensor(arrays[name], setup) for name in FIRST)
        weights = Responses(linear, quadratic, curvatures)
    if "power" in arrays:
        halving = Halving(int(arrays["power"]), arrays["moves"])
    return dataclasses.replace(setup, ordinary=arrays.get("ordinary"), weights=weights, halving=halving)


def _tensor(array: np.ndarray, setup: Setup) -> torch.Tensor:
    return torch.from_numpy(array).to(setup.start["theta"].device)
