"""A scheme's substep of a derived equation as a list of operations, each done once."""

from collections import Counter

import torch
from torch import Tensor
from torch.func import functionalize
from torch.fx import GraphModule

from sme.common.derivatives.graphs import graph
from sme.common.derivatives.once import once
from sme.equations.base import Equation
from sme.simulate.integrators.schemes import Scheme

AFTER, MOST = 16, 4
"""substeps of one shape before they are recorded, and so many shapes at most"""
LARGEST = 2**18
"""numbers of a state, which a recording holds some hundred times"""
AGREES = 1e-9

Place = tuple[tuple[torch.Size, tuple[int, ...]], ...]


class Recorded:
    """`scheme.step` of one equation.

    A derived equation takes the update rule's derivatives by passing it again and again, along curves that share most of what
    they compute. From some substep on the operations are done that PyTorch did for it, each once (`once`). Where a rule cannot be
    recorded, as one that asks for the value of a tensor, or where the record does not give the same, it goes on as before.
    """

    def __init__(self, equation: Equation, scheme: Scheme) -> None:
        self.equation, self.scheme = equation, scheme
        self.lost = not (equation.repeats and equation.law.paired)
        self._met: Counter[Place] = Counter()
        self._records: dict[Place, GraphModule] = {}

    def step(self, equation: Equation, t: float, dt: float, z: Tensor, dW: Tensor, since: Tensor) -> tuple[Tensor, Tensor]:
        """As the scheme's."""
        if self.lost or equation is not self.equation or z.numel() > LARGEST:
            return self.scheme.step(equation, t, dt, z, dW, since)
        place = tuple((each.shape, each.stride()) for each in (z, dW, since))
        self._met[place] += 1
        times = [torch.tensor(each, dtype=torch.float64) for each in (t, dt)]
        if (record := self._records.get(place)) is not None:
            rate, noise = record(*times, z, dW, since)
            return rate, noise
        found = self.scheme.step(equation, t, dt, z, dW, since)
        if self._met[place] > AFTER and len(self._records) < MOST:
            self._record(place, (*times, z, dW, since), found)
        return found

    def _record(self, place: Place, given: tuple[Tensor, ...], wanted: tuple[Tensor, Tensor]) -> None:
        equation, scheme = self.equation, self.scheme

        def apply(t: Tensor, dt: Tensor, z: Tensor, dW: Tensor, since: Tensor) -> tuple[Tensor, Tensor]:
            return scheme.step(equation, t, dt, z, dW, since)  # type: ignore[arg-type]

        try:
            with torch.no_grad():
                made = once(graph(functionalize(apply), *given, shapes=False), *given)
                found = made(*given)
        except Exception:  # whatever a rule of one's own cannot do with a number that is not known yet
            self.lost = True
            return
        self.lost = not all(a.stride() == b.stride() and torch.allclose(a, b, rtol=AGREES, atol=0.0, equal_nan=True)
                            for a, b in zip(found, wanted, strict=True))
        self._records[place] = made
