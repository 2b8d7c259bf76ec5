"""The pairs of an ensemble by compiled code: all steps up to a checkpoint without leaving the processor's cache."""

import ctypes
import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from sme.common.errors import SMEError
from sme.common.library import load
from sme.common.pointers import pointer
from sme.common.process.threads import aside
from sme.common.random import jumps as poisson
from sme.common.random.increments import FIRST, SECOND, Increments, coarsen
from sme.equations.base import join
from sme.simulate.control_variates.groups import Groups
from sme.simulate.control_variates.values import STAGES, Parts
from sme.simulate.ensemble import LEVELS, Ensemble, TorchEnsemble, has_floor
from sme.simulate.setup import Setup

PROBED, ROUNDING = 64, 1e-9
"""pairs that both take before a run, and how far they may be apart"""


class CompiledEnsemble(Ensemble):
    """All steps up to the next checkpoint in one call of `run` (kernel.c)."""

    def advance(self, to: int) -> None:
        setup, law = self.setup, self.setup.problem.noise
        system = _sizes(setup.source)["SYSTEM"]
        rows = [_rows(level.expand(self.paths, -1)) for ladder in self.ladders for level in ladder.levels]
        x = torch.stack([pad(row, (0, 0, 0, system - len(row))) for row in rows]).unflatten(0, (len(self.ladders), -1))
        x = pad(x, (0, 0, 0, 0, 0, _sizes(setup.source)["LEVELS"] - x.shape[1]))
        state, groups = _rows(join(*self.state.values())), self.groups
        carry = groups.grouped(self.carry) if groups else _rows(self.carry)
        floored = self.floored.to(torch.uint8)
        shared = groups.shared if groups else torch.zeros(1, dtype=torch.float64)
        counted = _sizes(setup.source)["COUNTED"]
        call(setup.source, self.increments, self.done, to, setup.optimizer.t0, (x, state, carry, floored, shared),
             self.ladders[0].equation.jumps, self._drawn(to) if counted else None, groups.ends if groups else None, self.parts)
        for ladder, levels in zip(self.ladders, x, strict=True):
            ladder.levels = [level[: state.shape[0] + ladder.equation.hidden].T for level in levels[: len(self.parts)]]
        self.floored = floored.to(torch.bool)
        self.carry = groups.rows(carry) if groups else carry.T
        if law.paired or counted:
            self.state = setup.fields(state.T)
        else:
            for k in range(self.done, to):
                self.discrete(k, self._seen(k))
        self.done = to

    @functools.cached_property
    def groups(self) -> Groups | None:
        """The control variates as compiled code has them."""
        return Groups(self.setup.weights, self.ladders[0].equation, self.setup.marks) if self.setup.weights is not None else None

    def _seen(self, k: int) -> Tensor | None:
        """The increment over step `k` of a coupled law."""
        law = self.setup.problem.noise
        if not law.coupled:
            return None
        dW = self.increments.first(k, law.motions)
        return coarsen(dW, len(dW))[0]

    def _drawn(self, to: int) -> Int[Tensor, "steps counted paths"]:
        """The draws of the steps to `to`."""
        setup, law = self.setup, self.setup.problem.noise
        every = [law.draw(self._seen(k), setup.tau, self.increments.draws(k), self.paths) for k in range(self.done, to)]
        return torch.stack([each.T for each in every]).to(torch.int32).contiguous()


def call(source: str, increments: Increments, begin: int, end: int, start: float, arrays: Sequence[Tensor],
         jumps: Tensor | None = None, drawn: Int[Tensor, "steps counted paths"] | None = None,
         ends: Int[Tensor, " groups"] | None = None, parts: Sequence[Parts] | None = None) -> None:
    """Take the arrays from step `begin` to step `end`; time begins at `start`.

    They are changed in place: `x (equations, levels, system, paths)`, `state (state, paths)`, `carry (carried, paths)`,
    `floored (paths)` of uint8; the weights `shared (steps, weights)` are read. `jumps` as an equation has them; `drawn`
    are the places that the discrete run draws, of a law that is `counted`; `ends` the last steps that the groups of control
    variates see, in order; `parts` those of each level that is taken, in their sums, by default of all in none.
    """
    thresholds = torch.tensor([] if jumps is None else poisson.levels(float(jumps[0]) / increments.substeps), dtype=torch.float64)
    groups = _sizes(source)["GROUPS"]
    last = torch.full((groups,), end) if ends is None else ends
    levels = torch.tensor(parts or [(0.0,) * STAGES] * _sizes(source)["LEVELS"], dtype=torch.float64)
    keys = (ctypes.c_uint32 * 4)(*increments.keys[FIRST], *increments.keys[SECOND])
    whole = (increments.pairs, increments.offset, begin, end, increments.substeps)
    given = (keys, *map(ctypes.c_int64, whole), *map(ctypes.c_double, (increments.tau, start)),
             *_pointers(source, 2 * increments.pairs, end, arrays), ctypes.c_int64(len(thresholds)),
             pointer("the levels of the jumps", thresholds, thresholds.shape),
             _places(source, increments, end - begin, drawn), pointer("the ends of groups", last, (groups,), torch.int64),
             ctypes.c_int64(len(levels)), pointer("the parts of the levels", levels, levels.shape))
    run = load(source).run
    with aside():
        run(*given)


def _pointers(source: str, paths: int, end: int, arrays: Sequence[Tensor]) -> Iterator[ctypes.c_void_p]:
    """Where the arrays of `call` are, if they are those that the source was made for."""
    size = _sizes(source)
    x, state, carry, floored, shared = arrays
    yield pointer("the equations' states", x, (size["EQUATIONS"], size["LEVELS"], size["SYSTEM"], paths))
    yield pointer("the discrete run's state", state, (size["STATE"], paths))
    yield pointer("the control variates", carry, (size["GROUPS"] * size["CARRY"], paths))
    yield pointer("the floored paths", floored, (paths,), torch.uint8)
    weights = size["GROUPS"] * size["SHARED"]
    yield pointer("their weights", shared, (max(end, len(shared)), weights) if weights else shared.shape)


def _places(source: str, increments: Increments, steps: int, drawn: Tensor | None) -> ctypes.c_void_p | None:
    """Where the draws are, if they are places among the motions."""
    size = _sizes(source)
    if drawn is None:
        return None
    shape = steps, size["COUNTED"], 2 * increments.pairs
    if drawn.numel() and not 0 <= int(drawn.min()) <= int(drawn.max()) < size["FIRST"]:
        raise SMEError(f"the draws must be places from 0 to {size['FIRST'] - 1}")
    return pointer("the draws", drawn, shape, torch.int32)


@functools.lru_cache(maxsize=64)
def _sizes(source: str) -> dict[str, int]:
    """The whole numbers that a source defines, by name."""
    return {name: int(number) for name, number in re.findall(r"^#define (\w+) (\d+)$", source, re.MULTILINE)}


def _rows(x: Tensor) -> Tensor:
    return x.T.contiguous()


def ensemble(setup: Setup, numbers: tuple[int, ...], pairs: int, offset: int = 0, levels: Sequence[int] = LEVELS
             ) -> Ensemble:
    """Compiled where the setup has a source, else step by step."""
    return (CompiledEnsemble if setup.source else TorchEnsemble)(setup, numbers, pairs, offset, levels)


def agrees(setup: Setup, source: str) -> bool:
    """Whether compiled code and torchsde take a few pairs through the first and the last steps alike, to rounding.

    In the last ones a quarter of the pairs start below the floor, if there is one; in the first all start where the run does,
    so that substeps are taken in their usual form too.
    """
    return _agree(setup, source, 0, low=False) and _agree(setup, source, max(0, setup.marks[-1] - 2), low=True)


def _agree(setup: Setup, source: str, begin: int, low: bool) -> bool:
    one, other = (ensemble(dataclasses.replace(setup, source=each), (0, setup.steps, 0, 0), PROBED) for each in (source, ""))
    for ladder in other.ladders:
        ladder.recorded.lost = True  # PyTorch as it is
    for run in (one, other):
        run.done = begin
        if low:
            _lower(run)
        run.advance(min(begin + 2, setup.marks[-1]))
    pairs = [(one.carry, other.carry), *((one.state[name], other.state[name]) for name in one.state)]
    for mine, theirs in zip(one.ladders, other.ladders, strict=True):
        pairs += [(a, b.expand_as(a)) for a, b in zip(mine.levels, theirs.levels, strict=True)]
    return torch.equal(one.floored, other.floored) and all(same_numbers(a, b) for a, b in pairs)


def _lower(run: Ensemble) -> None:
    """Put the second moment of a quarter of the pairs below the floor."""
    if has_floor(run.setup.optimizer):
        low = torch.arange(run.paths) % 4 == 0
        run.state["v"] = torch.where(low[:, None], 0.4 * run.setup.optimizer.v_floor, run.state["v"])
        for ladder in run.ladders:
            if ladder.equation.motions:
                ladder.levels = [ladder.system(join(*run.state.values())) for _ in ladder.levels]


def same_numbers(a: Tensor, b: Tensor) -> bool:
    """To rounding, column by column; where one is not a number, so must the other be."""
    size = b.nan_to_num(0, 0, 0).abs().amax(0) if len(b) else 0.0
    close = ((a - b).abs() <= ROUNDING * size) | (a == b) | (a.isnan() & b.isnan())
    return bool(close.all())
