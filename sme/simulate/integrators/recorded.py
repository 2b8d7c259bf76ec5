"""A scheme's substep of a derived equation as a list of operations, each done once."""

import dis
from collections import Counter
from collections.abc import Iterator
from types import FunctionType

import torch
from torch import Tensor
from torch.func import functionalize
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

from sme.common.derivatives.graphs import graph
from sme.common.derivatives.once import once
from sme.common.identity.owned import PACKAGE, whose
from sme.equations.base import Equation
from sme.equations.derived.step import frozen
from sme.optimizers.base import Optimizer
from sme.simulate.integrators.schemes import Scheme

AFTER, MOST = 16, 4
"""substeps of one shape before they are recorded, and so many shapes at most"""
LARGEST, LEAST = 2**16, 2**12
"""numbers of the states that are taken at a time; with fewer, of more paths, a record does not pay"""
HELD = 2**29
"""bytes of all results of one substep, which are held while it is recorded"""
AGREES = 1e-9
TIMES = 0.0, 1.0, 3.7
"""later than the time of recording, at which a record is tried"""

Place = tuple[tuple[torch.Size, tuple[int, ...]], ...]
Given = tuple[Tensor, Tensor, Tensor]
"""the state, the increment and the motion since the optimizer's step began"""


class Recorded:
    """`scheme.step` of one equation, whose attributes stay as they are.

    A derived equation takes the update rule's derivatives by passing it again and again, along curves that share most of what
    they compute. From some substep on the operations are done that PyTorch did for it, each once (`once`), for some paths at a
    time. That is for paired laws of noise and for rules that are functions of tensors whatever the time (`steady`). A rule that
    cannot be recorded, or whose record gives other numbers when it is tried, goes on as before.
    """

    def __init__(self, equation: Equation, scheme: Scheme) -> None:
        self.equation, self.scheme = equation, scheme
        self.lost = not (equation.repeats and equation.law.paired and steady(equation.optimizer))
        self._met: Counter[Place] = Counter()
        self._records: dict[Place, tuple[GraphModule, int]] = {}

    def step(self, equation: Equation, t: float, dt: float, z: Tensor, dW: Tensor, since: Tensor) -> tuple[Tensor, Tensor]:
        """As the scheme's."""
        if self.lost or equation is not self.equation:
            return self.scheme.step(equation, t, dt, z, dW, since)
        place = tuple((each.shape, each.stride()) for each in (z, dW, since))
        self._met[place] += 1
        if place not in self._records and self._met[place] > AFTER and len(self._records) < MOST:
            self._record(place, t, dt, (z, dW, since))
        if place in self._records:
            return _run(*self._records[place], t, dt, (z, dW, since))
        return self.scheme.step(equation, t, dt, z, dW, since)

    def _record(self, place: Place, t: float, dt: float, given: Given) -> None:
        def apply(t: Tensor, dt: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
            return self.scheme.step(self.equation, t, dt, *given)  # type: ignore[arg-type]

        self.lost = True
        for rows in _rows(given[0]):
            some = _numbers(t, dt) + tuple(each[:rows] for each in given)
            try:
                with torch.no_grad():
                    made = once(graph(functionalize(apply), *some, shapes=False, most=HELD), *some)
                    self.lost = not all(self._same(made, rows, t + later, dt, given) for later in TIMES)
            except MemoryError:
                continue
            except Exception:  # whatever a rule of one's own cannot do with a number that is not known yet
                return
            if not self.lost:
                self._records[place] = made, rows
            return

    def _same(self, made: GraphModule, rows: int, t: float, dt: float, given: Given) -> bool:
        both = zip(_run(made, rows, t, dt, given), self.scheme.step(self.equation, t, dt, *given), strict=True)
        return all(torch.allclose(found, wanted, rtol=AGREES, atol=0.0, equal_nan=True) for found, wanted in both)


def _numbers(t: float, dt: float) -> tuple[Tensor, ...]:
    return torch.tensor(t, dtype=torch.float64), torch.tensor(dt, dtype=torch.float64)


def _rows(z: Tensor) -> Iterator[int]:
    """Paths at a time: all if they are few, else powers of two that divide them, the largest first."""
    rows, size = len(z), z.shape[1]
    if rows * size <= LARGEST:
        yield rows
    rows &= -rows
    while rows * size > LEAST:
        if rows * size <= LARGEST and rows < len(z):
            yield rows
        rows //= 2


def _run(made: GraphModule, rows: int, t: float, dt: float, given: Given) -> tuple[Tensor, Tensor]:
    times = _numbers(t, dt)
    if rows == len(given[0]):
        rate, noise = made(*times, *given)
        return rate, noise
    each = [made(*times, *some) for some in zip(*(part.split(rows) for part in given), strict=True)]
    rate, noise = (torch.cat([part.T for part in column], 1).T for column in zip(*each, strict=True))
    return rate, noise


def steady(optimizer: Optimizer) -> bool:
    """Whether its step is the same function of tensors at all times, with a number or a tensor for the time.

    The package's own rules with numbers for settings are; of another one that cannot change it is known where `update` never
    asks for the time.
    """
    update = type(optimizer).update
    if not frozen(optimizer) or not isinstance(update, FunctionType):
        return False
    numbers = all(isinstance(each, int | float | str) for each in tree_leaves(vars(optimizer)) if each is not None)
    if numbers and whose(type(optimizer)).partition(".")[0] == PACKAGE:
        return True
    names = update.__code__.co_varnames[: update.__code__.co_argcount]
    asks = {each.argval for each in dis.get_instructions(update) if each.opname.startswith("LOAD")}
    return len(names) == 5 and names[-1] not in asks
