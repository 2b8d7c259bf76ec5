"""The steps of a rule against those of torch's own optimizer, in double precision."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.base import State, updated
from sme.optimizers.imported.doubled import Double
from sme.optimizers.imported.forms import Group, Place
from sme.optimizers.imported.settings import made
from sme.optimizers.library.adadelta import Adadelta
from sme.optimizers.library.adagrad import DecayedAdagrad
from sme.optimizers.library.adam import TwoMoments
from sme.optimizers.library.asgd import SlowingSGD
from sme.optimizers.library.base import LibraryRule
from sme.optimizers.library.nadam import NAdam
from sme.optimizers.library.rmsprop import PlainRMSprop
from sme.optimizers.library.sgd import DampedBall, HeavyBall

STEPS = 50
NEAR = 1e-12
ONE = (3,)
"""shape of the parameter that is followed where the rule moves every number by itself"""
COUNTERS = {"step", "mu_product", "eta", "mu"}
"""of torch's state what is a function of the number of the step"""


def product(rule: NAdam, steps: float, tau: float) -> float:
    """Torch's product of all `μ` after so many steps."""
    return float(torch.prod(torch.stack([torch.as_tensor(rule.mu(i * tau, tau)) for i in range(1, round(steps) + 1)] or
                                        [torch.ones((), dtype=torch.float64)])))


def torch_state(rule: LibraryRule, state: State, place: Place, group: Group) -> dict[str, Any]:
    """What torch holds beside a parameter when the rule is at `state` and at its start time."""
    tau, size, steps = place.tau, place.size, rule.t0 / place.tau
    count = {"step": torch.tensor(steps, dtype=torch.float64)}
    held = {name: field.clone() for name, field in state.items()}
    if isinstance(rule, TwoMoments):
        more = {"mu_product": torch.tensor(product(rule, steps, tau), dtype=torch.float64)} if isinstance(rule, NAdam) else {}
        return {**count, "exp_avg": held["m"], "exp_avg_sq": held["v"] / size**2, **more}
    if isinstance(rule, PlainRMSprop):
        under = held["v"] if "v" in held else held["u"] + rule.cross(tau) * held["m"] ** 2
        given = {**count, "square_avg": under / size**2}
        if "m" in held:
            given["grad_avg"] = held["m"]
        return {**given, "momentum_buffer": held["b"] * size / tau} if "b" in held else given
    if isinstance(rule, DecayedAdagrad):
        return {**count, "sum": held["v"] / (tau * size**2)}
    if isinstance(rule, Adadelta):
        return {**count, "square_avg": held["v"] / size**2, "acc_delta": held["a"] / size**2}
    if isinstance(rule, SlowingSGD):
        lr = float(group["lr"])
        return {**count, "ax": held.get("x", held["theta"]).clone(),
                "eta": torch.tensor(lr / (1 + rule.slowing * lr * steps) ** rule.alpha, dtype=torch.float64),
                "mu": torch.tensor(1 / max(1.0, steps - group["t0"]), dtype=torch.float64)}
    if isinstance(rule, HeavyBall) and not isinstance(rule, DampedBall):
        return {"momentum_buffer": held["m"] / tau}
    return {"momentum_buffer": held["m"]} if "m" in held else {}


def differences(kind: type, group: Group, rule: LibraryRule, place: Place, steps: int = STEPS) -> dict[str, float]:
    """The largest difference of `θ` over so many steps, and of what torch holds beside it at their end, relative to size."""
    shapes: Sequence[Any] = getattr(rule, "shapes", ()) or (ONE,)
    sizes = [torch.Size(shape).numel() for shape in shapes]
    generator = torch.Generator().manual_seed(0)
    ours: State = {"theta": torch.randn(sum(sizes), generator=generator, dtype=torch.float64)}
    ours |= {name: torch.full_like(ours["theta"], value) for name, value in rule.defaults.items()}
    parameters = [torch.nn.Parameter(part.reshape(shape).clone()) for part, shape in
                  zip(ours["theta"].split(sizes), shapes, strict=True)]
    theirs = made(kind, group, parameters)

    def held() -> list[dict[str, Any]]:
        parts = {name: field.split(sizes) for name, field in ours.items()}
        return [torch_state(rule, {name: field[i].reshape(shape) for name, field in parts.items()}, place, group)
                for i, shape in enumerate(shapes)]

    for parameter, state in zip(parameters, held(), strict=True):
        theirs.state[parameter].update(state)
    gaps: dict[str, list[float]] = {"theta": []}
    with Double(), torch.no_grad():
        for k in range(steps):
            physical = torch.randn(sum(sizes), generator=generator, dtype=torch.float64)
            for parameter, part, shape in zip(parameters, physical.split(sizes), shapes, strict=True):
                parameter.grad = part.reshape(shape).clone()
            theirs.step()
            seen = place.regime.seen(physical * place.size, place.tau)
            ours = updated(rule, ours, seen, place.tau, rule.t0 + k * place.tau)
            gaps["theta"].append(_gap(ours["theta"], torch.cat([parameter.flatten() for parameter in parameters])))
    for parameter, state in zip(parameters, held(), strict=True):
        for name in state.keys() - COUNTERS:
            gaps.setdefault(name, []).append(_gap(state[name], theirs.state[parameter][name]))
    return {name: float(torch.tensor(each, dtype=torch.float64).max()) for name, each in gaps.items()}  # also of a nan


def _gap(one: Tensor, other: Tensor) -> float:
    return float(((one - other).abs() / (1 + other.abs())).max())


def check(kind: type, group: Group, rule: LibraryRule, place: Place) -> None:
    """Raise `SMEError` if torch's own steps are others than the rule's."""
    found = differences(kind, group, rule, place)
    if any(not gap <= NEAR for gap in found.values()):
        worst = ", ".join(f"{name} {gap:.1g}" for name, gap in found.items() if not gap <= NEAR)
        raise SMEError(f"torch {torch.__version__} takes other steps in {kind.__name__} than the rule that is known here, "
                       f"{STEPS} steps from t0 = {rule.t0:g} on differ by {worst}: write its rule as a subclass of sme.Optimizer")
