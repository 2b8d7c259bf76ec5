"""What all shards of a setup share, as plain arrays and back."""

import dataclasses
from dataclasses import fields

import numpy as np
import torch
from jaxtyping import Float

from sme.common.storage.records import Arrays
from sme.simulate.control_variates.controls import Responses
from sme.simulate.control_variates.curvatures import Curvatures
from sme.simulate.control_variates.values import Values
from sme.simulate.halving import Halving
from sme.simulate.setup import Setup

FIRST, SECOND = ("linear", "quadratic"), ("run", "noise", "shift", "area")
"""the weights of the control variates, and how they change with the state"""
THIRD = tuple(f"values {each.name}" for each in fields(Values))
"""what the noise of each level is multiplied by"""


def shared(weights: Responses | None, ordinary: Float[np.ndarray, "marks observables"] | None, halving: Halving | None) -> Arrays:
    """What there is of the weights, of the observables along an ODE, and of the halving."""
    arrays: Arrays = {"": np.zeros(0)}  # of a setup that shares nothing
    if weights is not None:
        arrays.update({name: getattr(weights, name).cpu().numpy() for name in FIRST})
        if weights.curvatures is not None:
            arrays.update({name: getattr(weights.curvatures, name).cpu().numpy() for name in SECOND})
            if (values := weights.curvatures.values) is not None:
                arrays.update({name: getattr(values, name.split()[1]).cpu().numpy() for name in THIRD})
    if ordinary is not None:
        arrays["ordinary"] = ordinary
    if halving is not None:
        arrays |= {"power": np.array(halving.power), "moves": halving.moves}
    return arrays


def filled(setup: Setup, arrays: Arrays) -> Setup:
    """The setup with what `shared` told."""
    weights, curvatures, halving = None, None, None
    if FIRST[0] in arrays:
        if SECOND[0] in arrays:
            run, noise, shift, area = (_tensor(arrays[name], setup) for name in SECOND)
            values = Values(*(_tensor(arrays[name], setup) for name in THIRD)) if THIRD[0] in arrays else None
            curvatures = Curvatures(run, noise, shift, area, values)
        linear, quadratic = (_tensor(arrays[name], setup) for name in FIRST)
        weights = Responses(linear, quadratic, curvatures)
    if "power" in arrays:
        halving = Halving(int(arrays["power"]), arrays["moves"])
    return dataclasses.replace(setup, ordinary=arrays.get("ordinary"), weights=weights, halving=halving)


def _tensor(array: np.ndarray, setup: Setup) -> torch.Tensor:
    return torch.from_numpy(array).to(setup.start["theta"].device)
