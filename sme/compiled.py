"""The same pairs by compiled code: a whole block of steps without leaving the processor's cache."""

import copy
import ctypes
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sme.ensemble import LEVELS, Ensemble, TorchEnsemble, has_floor
from sme.equations.base import Equation, join
from sme.setup import Setup
from sme.simulate import counter
from sme.simulate.compiled.lowering import NotLoweredError
from sme.simulate.compiled.source import kernel, lanes, products
from sme.simulate.library import INCLUDES, load
from sme.simulate.schemes import Scheme, scheme

MOTIONS = 4096
"""whose increments still have room on a thread's stack"""
PROBED, ROUNDING = 64, 1e-9
"""pairs that both take before a run, and how far they may be apart"""
LANES = ((8, 64), (24, 32), (1 << 30, 16))
"""so many numbers of a path at most, so many paths at a time: their state stays in the fastest cache"""
SUBSTEP = "double t, double dt, double tau, double (*restrict x)[W], double (*restrict dw)[W], double (*restrict since)[W]"
STEP = ("double t, double tau, double (*restrict x)[W], double (*restrict carry)[W], double (*restrict dw)[W], "
        "const double *restrict shared")


def substep(equation: Equation, scheme: Scheme) -> Callable[..., Tensor]:
    """One substep of the equation as a function of tensors alone, `τ` among them."""

    def apply(t: Tensor, dt: Tensor, tau: Tensor, x: Tensor, dW: Tensor, y: Tensor) -> Tensor:
        there = copy.copy(equation)
        there.tau = tau  # type: ignore[assignment]
        rate, noise = scheme.rates(there, t, dt, x, dW, y)  # type: ignore[arg-type]
        return x + dt * rate + noise

    return apply


def source(setup: Setup) -> str:
    """The C source of this run, the same for every `τ`.

    Raises
    ------
    NotLoweredError
        if it has no such form, saying why.
    """
    if setup.start["theta"].device.type != "cpu":
        raise NotLoweredError(f"the device is {setup.start['theta'].device.type}")
    equations, weights = setup.equations(), setup.weights
    law, size = setup.problem.noise, setup.whole(1).shape[1]
    second = max(each.second for each in equations)
    if law.motions + second > MOTIONS:
        raise NotLoweredError(f"it has {law.motions + second} Brownian motions, more than {MOTIONS}")
    t, dt, tau = (torch.tensor(value, dtype=torch.float64) for value in (setup.optimizer.t0 + 0.5, 2.0**-8, 2.0**-6))
    x = ("x[{i}][p]", setup.whole(1), False)
    parts = []
    for number, each in enumerate(equations):
        noise = [("dw[{i}][p]", torch.zeros(1, each.motions, dtype=torch.float64), False),
                 ("since[{i}][p]", torch.zeros(1, each.first, dtype=torch.float64), False)]
        parts.append(lanes(f"substep_{number}({SUBSTEP})", substep(each, scheme(each)),
                           [("t", t, True), ("dt", dt, True), ("tau", tau, True), x, *noise], ["x[{i}][p]"]))
    carried, shared = (weights.carried, weights.shared.shape[1]) if weights is not None else (0, 0)
    if law.paired:
        noise = [("dw[{i}][p]", torch.zeros(1, law.motions + second, dtype=torch.float64), False)]
        parts.append(lanes(f"chain_step({STEP})", _discrete(setup),
                           [("t", t, True), ("tau", tau, True), x,
                            ("carry[{i}][p]", torch.zeros(1, carried, dtype=torch.float64), False), *noise,
                            ("shared[{i}]", torch.zeros(shared, dtype=torch.float64), True)], ["x[{i}][p]", "carry[{i}][p]"]))
    width = next(lanes for most, lanes in LANES if max(size, law.motions + second) <= most)
    numbers = {"W": width, "FIRST": law.motions, "SECOND": second, "EQUATIONS": len(equations), "LEVELS": len(LEVELS),
               "STATE": size, "CHAIN": int(law.paired), "CARRY": carried, "SHARED": shared, **_floor(setup)}
    defined = "".join(f"#define {name} {value}\n" for name, value in numbers.items())
    return "\n".join((INCLUDES, defined, counter.source(), products(), *parts, kernel()))


def _floor(setup: Setup) -> dict[str, Any]:
    optimizer, dim = setup.optimizer, setup.problem.dim
    if not has_floor(optimizer):
        return {"FLOOR_FROM": 0, "FLOOR_COUNT": 0, "FLOOR_LEVEL": 0.0}
    return {"FLOOR_FROM": optimizer.fields.index("v") * dim, "FLOOR_COUNT": dim, "FLOOR_LEVEL": repr(float(optimizer.v_floor))}


def _discrete(setup: Setup) -> Callable[..., tuple[Tensor, Tensor]]:
    """One step of the discrete run and of its control variates as a function of tensors alone."""
    law, first, weights = setup.problem.noise, setup.problem.noise.motions, setup.weights

    def apply(t: Tensor, tau: Tensor, x: Tensor, carry: Tensor, dW: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        chain = setup.chain
        chain.tau = tau  # type: ignore[assignment]
        state = setup.fields(x)
        z = law.draw(dW[:, :first], tau, _Silent(), len(x))  # type: ignore[arg-type]
        new, noise = chain.step_at(state, z, t)  # type: ignore[arg-type]
        if weights is not None:
            carry = weights.advance(carry, shared, chain.centred(state["theta"], noise), law.variance(state["theta"]))
        return torch.cat([new[name] for name in setup.optimizer.fields], -1), carry

    return apply


class _Silent:
    """A paired law draws nothing of its own."""

    def normal(self, *shape: int) -> Tensor:
        raise NotLoweredError("the discrete run draws numbers of its own")

    integers: Any = normal


class CompiledEnsemble(Ensemble):
    """All steps up to the next checkpoint in one call of `run` (kernel.c)."""

    def advance(self, to: int) -> None:
        setup, law = self.setup, self.setup.problem.noise
        pairs = self.paths // 2
        x = torch.stack([torch.stack([_rows(level) for level in ladder.levels]) for ladder in self.ladders])
        state, carry = _rows(join(*self.state.values())), _rows(self.controls.carry)
        floored = self.floored.to(torch.uint8)
        weights = self.controls.weights
        shared = weights.shared if weights is not None else torch.zeros(1, dtype=torch.float64)
        keys = (ctypes.c_uint32 * 4)(*self.increments.keys[0], *self.increments.keys[1])
        whole = (pairs, self.increments.offset, self.done, to, self.increments.substeps)
        load(setup.source).run(keys, *map(ctypes.c_int64, whole), *map(ctypes.c_double, (setup.tau, setup.optimizer.t0)),
                               *map(_pointer, (x, state, carry, floored, shared)))
        for ladder, levels in zip(self.ladders, x, strict=True):
            ladder.levels = [level.T for level in levels]
        self.floored = floored.to(torch.bool)
        if law.paired:
            self.state, self.controls.carry = setup.fields(state.T), carry.T
        else:
            for k in range(self.done, to):
                self.discrete(k, None)
        self.done = to


def _rows(x: Tensor) -> Tensor:
    return x.T.contiguous()


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def ensemble(setup: Setup, numbers: tuple[int, ...], pairs: int, offset: int = 0) -> Ensemble:
    """Compiled where the setup has a source, else step by step."""
    return (CompiledEnsemble if setup.source else TorchEnsemble)(setup, numbers, pairs, offset)


def agrees(setup: Setup, source: str) -> bool:
    """Whether compiled code and torchsde take a few pairs through the first steps alike, to rounding."""
    one, other = (ensemble(dataclasses.replace(setup, source=each), (0, setup.steps, 0, 0), PROBED) for each in (source, ""))
    for run in (one, other):
        run.advance(min(2, setup.marks[0]))
    pairs = [(one.controls.carry, other.controls.carry), *((one.state[name], other.state[name]) for name in one.state)]
    for mine, theirs in zip(one.ladders, other.ladders, strict=True):
        pairs += [(a, b.expand_as(a)) for a, b in zip(mine.levels, theirs.levels, strict=True)]
    return all(torch.allclose(a, b, rtol=ROUNDING, atol=ROUNDING, equal_nan=True) for a, b in pairs)
