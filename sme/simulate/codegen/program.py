"""A run as a C program: what its equations, its discrete run and its control variates are in C, around the same loops."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sme.common.library import INCLUDES
from sme.common.random import counter
from sme.equations.base import Equation
from sme.simulate.codegen.interpreter import NotLoweredError
from sme.simulate.codegen.source import Input, kernel, lanes, products
from sme.simulate.control_variates.controls import Controls
from sme.simulate.control_variates.groups import Groups
from sme.simulate.control_variates.values import STAGES, Valued
from sme.simulate.ensemble import LEVELS, has_floor
from sme.simulate.integrators.schemes import Scheme, scheme
from sme.simulate.setup import Setup

STACK = 2**20
"""bytes that a run may keep on its thread's stack"""
LANES = ((8, 128), (24, 32), (1 << 30, 16))
"""so many numbers of a path at most, so many paths at a time: their state stays in the fastest cache"""
SUBSTEP = ("double t, double dt, double tau, double (*restrict x)[W], double (*restrict dw)[W], double (*restrict since)[W], "
           "double (*restrict kicks)[W]")
LEVEL = ("double begin, double share, const double *restrict parts, double (*restrict y)[W], double (*restrict kicks)[W], "
         "double (*restrict sums)[W], const double *restrict shared")
FOLLOW = ("double tau, double middle, double share, double (*restrict y)[W], double (*restrict followed)[W], "
          "double (*restrict dw)[W], const double *restrict shared")
FOLLOWED = "double (*restrict y)[W], double (*restrict carry)[W], double (*restrict followed)[W], const double *restrict shared"
STEP = ("double t, double tau, double (*restrict x)[W], double (*restrict carry)[W], double (*restrict dw)[W], "
        "const double *restrict shared")


def substep(equation: Equation, scheme: Scheme, valued: Valued | None = None) -> Callable[..., Tensor | tuple[Tensor, Tensor]]:
    """One substep of the equation as a function of tensors alone, `τ` among them; and what its control variates look at."""

    def apply(t: Tensor, dt: Tensor, tau: Tensor, x: Tensor, dW: Tensor, y: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        there = copy.copy(equation)
        there.tau = tau  # type: ignore[assignment]
        rate, noise = scheme.step(there, t, dt, x, dW, y)  # type: ignore[arg-type]
        new = x + dt * rate + noise
        return new if valued is None else (new, valued.noise(there, t, dt, x, dW, noise))  # type: ignore[arg-type]

    return apply


def source(setup: Setup, kind: Scheme | None = None, levels: int = len(LEVELS), discrete: bool = True) -> str:
    """The C source of this run, the same for every `τ`.

    Parameters
    ----------
    setup
        with its control variates' weights, if it shall have any.
    kind, levels, discrete
        the scheme in place of the equation's own, the number of levels, and whether the discrete run goes along.

    Raises
    ------
    NotLoweredError
        if it has no such form, saying why.
    """
    if setup.start["theta"].device.type != "cpu":
        raise NotLoweredError(f"the device is {setup.start['theta'].device.type}")
    equations, law, size = setup.equations(), setup.problem.noise, setup.whole(1).shape[1]
    system = size + max(each.hidden for each in equations)
    if any(each.shared for each in equations):
        raise NotLoweredError("the field is a sum over thousands of points, done once for all paths")
    if any(each.samples for each in equations):
        raise NotLoweredError("drift and noise are sampled in every substep")
    if setup.optimizer.opaque:
        raise NotLoweredError("the optimizer is a black box")
    if any(each.epoch for each in equations):
        raise NotLoweredError("the increments of a whole epoch are drawn before its first step")
    second = max(each.second for each in equations)
    signs = law.signs if second else ()
    grouped = Groups(setup.weights, equations[0], setup.marks) if setup.weights is not None else None
    controls, groups = (grouped.one, grouped.count) if grouped else (None, 1)
    kept = 2 * system * (len(equations) * levels + 2)
    variates = groups * (controls.carried + controls.followed) if controls else 0
    wide, held = max(system, law.motions + second), 8 * (kept + 2 * variates)
    width = next((lanes for most, lanes in LANES if wide <= most and held * lanes <= STACK), None)
    if width is None:
        raise NotLoweredError(f"a path has {size} numbers and {variates} of control variates, too many for the stack")
    parts = _equations(setup, equations, kind, controls) + _controls(setup, equations[0], controls)
    if chain := (law.paired or bool(law.counted)) and discrete:
        parts += _discrete(setup, controls, groups)
    numbers = {"W": width, "FIRST": law.motions, "SECOND": second, "EQUATIONS": len(equations), "LEVELS": levels,
               "REMEMBERED": law.motions if any(each.remembers for each in equations) else 0,
               "STATE": size, "SYSTEM": system, "JUMPS": int(any(each.jumps is not None for each in equations)),
               "CHAIN": int(chain), "COUNTED": 0 if law.paired else law.counted,
               "GROUPS": groups, "CARRY": controls.carried if controls else 0,
               "SIGNS": int(bool(signs)), "KICKS": controls.kicks if controls else 0, "SUMS": controls.summed if controls else 0,
               "STAGES": STAGES,
               "FOLLOWED": controls.followed if controls else 0, "SHARED": controls.shared.shape[1] if controls else 0,
               **_floor(setup)}
    stays = " || ".join(f"(m >= {law.motions + each.start} && m < {law.motions + each.stop})" for each in signs)
    defined = "".join(f"#define {name} {value}\n" for name, value in numbers.items()) + f"#define STAYS(m) ({stays or 0})\n"
    return "\n".join((INCLUDES, defined, counter.source(), products(), *parts, kernel()))


def _number(name: str, value: float) -> Input:
    return name, torch.tensor(value, dtype=torch.float64), True


def _rows_of(name: str, count: int) -> Input:
    return f"{name}[{{i}}][p]", torch.zeros(1, count, dtype=torch.float64), False


def _shared(controls: Controls | None) -> Input:
    return "shared[{i}]", torch.zeros(controls.shared.shape[1] if controls else 0, dtype=torch.float64), True


def _equations(setup: Setup, equations: Sequence[Equation], kind: Scheme | None, controls: Controls | None) -> list[str]:
    parts = []
    for number, each in enumerate(equations):
        whole = "x[{i}][p]", torch.nn.functional.pad(setup.whole(1), (0, each.hidden)), False
        inputs = [_number("t", setup.optimizer.t0 + 0.5), _number("dt", 2.0**-8), _number("tau", 2.0**-6), whole,
                  _rows_of("dw", each.motions), _rows_of("since", each.first)]
        level = float(setup.optimizer.v_floor) if has_floor(setup.optimizer) else 0.0
        valued = controls.valued if controls and controls.kicks and number == 0 else None
        outputs = ["x[{i}][p]", "kicks[{i}][p]"] if valued else ["x[{i}][p]"]
        parts.append(lanes(f"substep_{number}({SUBSTEP})", substep(each, kind or scheme(each), valued), inputs, outputs, level))
    return parts


def _controls(setup: Setup, equation: Equation, controls: Controls | None) -> list[str]:
    """The control variates' substep and step of the equation as functions of tensors alone."""
    if controls is not None and controls.kicks:
        return [_level(setup, controls)]
    if controls is None or not controls.followed:
        return []

    def apply(tau: Tensor, middle: Tensor, share: Tensor, y: Tensor, followed: Tensor, dW: Tensor, shared: Tensor) -> Tensor:
        return controls.substep(followed, shared, tau, y, dW, middle, share)  # type: ignore[arg-type]

    y, followed, shared = ("y[{i}][p]", setup.whole(1), False), _rows_of("followed", controls.followed), _shared(controls)
    inputs = [_number("tau", 2.0**-6), _number("middle", 0.0), _number("share", 0.25), y, followed,
              _rows_of("dw", equation.motions), shared]
    end = lanes(f"follow_step({FOLLOWED})", lambda y, carry, followed, shared: controls.step(carry, followed, shared, y),
                [y, _rows_of("carry", controls.carried), followed, shared], ["carry[{i}][p]"])
    return [lanes(f"follow_substep({FOLLOW})", apply, inputs, ["followed[{i}][p]"]), end]


def _level(setup: Setup, controls: Controls) -> str:
    """What a substep of one level adds to the control variates."""
    def apply(begin: Tensor, share: Tensor, parts: Tensor, y: Tensor, kicks: Tensor, sums: Tensor, shared: Tensor) -> Tensor:
        return controls.level(sums, shared, y, kicks, begin, share, tuple(parts.unbind()))  # type: ignore[arg-type]

    inputs = [_number("begin", 0.25), _number("share", 0.25), ("parts[{i}]", torch.zeros(STAGES, dtype=torch.float64), True),
              ("y[{i}][p]", setup.whole(1), False), _rows_of("kicks", controls.kicks), _rows_of("sums", controls.summed),
              _shared(controls)]
    return lanes(f"level_sums({LEVEL})", apply, inputs, ["sums[{i}][p]"])


def _floor(setup: Setup) -> dict[str, Any]:
    optimizer, dim = setup.optimizer, setup.problem.dim
    if not has_floor(optimizer):
        return {"FLOOR_FROM": 0, "FLOOR_COUNT": 0, "FLOOR_LEVEL": 0.0}
    return {"FLOOR_FROM": optimizer.fields.index("v") * dim, "FLOOR_COUNT": dim, "FLOOR_LEVEL": repr(float(optimizer.v_floor))}


def _discrete(setup: Setup, controls: Controls | None, groups: int) -> list[str]:
    """One step of the discrete run with a group of its control variates, and of another group, as functions of tensors alone."""
    law = setup.problem.noise

    def apply(t: Tensor, tau: Tensor, x: Tensor, carry: Tensor, dW: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        chain = setup.chain
        chain.tau = tau  # type: ignore[assignment]
        state = setup.fields(x)
        if law.paired:
            new, noise = chain.step_at(state, law.draw(dW, tau, _Silent(), len(x)), t)  # type: ignore[arg-type]
        else:
            noise = law.tallied(state["theta"], dW)
            new = chain.moved(state, chain.scale * chain.mean(state["theta"]) + noise, t)  # type: ignore[arg-type]
        if controls is not None:
            carry = controls.chain(carry, shared, x, chain.centred(state["theta"], noise), law.variance(state["theta"]))
        return setup.layout.whole(new), carry

    inputs = [_number("t", setup.optimizer.t0 + 0.5), _number("tau", 2.0**-6), ("x[{i}][p]", setup.whole(1), False),
              _rows_of("carry", controls.carried if controls else 0), _rows_of("dw", law.motions), _shared(controls)]
    whole = lanes(f"chain_step({STEP})", apply, inputs, ["x[{i}][p]", "carry[{i}][p]"])
    if groups == 1:
        return [whole]
    return [whole, lanes(f"chain_rows({STEP})", lambda *given: apply(*given)[1], inputs, ["carry[{i}][p]"])]


class _Silent:
    """A paired law draws nothing of its own."""

    def normal(self, *shape: int) -> Tensor:
        raise NotLoweredError("the discrete run draws numbers of its own")

    integers: Any = normal
