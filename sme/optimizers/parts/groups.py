"""Parts of the parameters that follow rules of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import short, whole
from sme.optimizers.base import Optimizer, State, sound
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class Groups(Optimizer):
    """Runs of parameters, each with one of several rules: torch's param groups.

    Parameters
    ----------
    rules
        the rules, which start at one `t0`. One that mixes numbers (Muon, Lamb) sees its own alone, one after the other.
    runs
        `(rule, count)` for each run of `θ` in turn: `((0, 6), (1, 2), (0, 4))` gives the first six parameters and the last four
        to the first rule.

    Raises
    ------
    SMEError
        for runs that name no such rule, or rules that do not start together; in a step where there are not as many parameters.
    """

    rules: tuple[Optimizer, ...]
    runs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(map(sound, self.rules)))
        if not isinstance(self.runs, tuple | list) or not all(isinstance(each, tuple | list) and len(each) == 2
                                                              for each in self.runs):
            raise SMEError(f"runs must be pairs (rule, count), such as ((0, 6), (1, 2)), got {short(self.runs)}")
        object.__setattr__(self, "runs", tuple((whole("the rule of a run", rule, 0), whole("the count of a run", count, 1))
                                               for rule, count in self.runs))
        if not self.rules or {rule for rule, _ in self.runs} != set(range(len(self.rules))):
            raise SMEError(f"runs must name each of the {len(self.rules)} rules, from 0 on, got {short(self.runs)}")
        for what in ("t0", "memory", "signed", "v_floor"):
            seen = [rule for rule in self.rules if what != "v_floor" or "v" in rule.fields]
            if len(found := {getattr(rule, what) for rule in seen}) > 1:
                raise SMEError(f"the rules of groups must agree in {what}, got {', '.join(map(str, sorted(found)))}")

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(dict.fromkeys(field for rule in self.rules for field in rule.fields))

    @property
    def defaults(self) -> Mapping[str, float]:  # type: ignore[override]
        return {name: value for rule in self.rules for name, value in rule.defaults.items()}

    @property
    def nonnegative(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(dict.fromkeys(field for rule in self.rules for field in rule.nonnegative))

    @property
    def signed(self) -> bool:  # type: ignore[override]
        return self.rules[0].signed

    @property
    def mixes(self) -> bool:  # type: ignore[override]
        return any(rule.mixes for rule in self.rules)

    @property
    def opaque(self) -> bool:  # type: ignore[override]
        return any(rule.opaque for rule in self.rules)

    @property
    def v_floor(self) -> float:  # type: ignore[override]
        return max(rule.v_floor for rule in self.rules)

    @property
    def t0(self) -> float:  # type: ignore[override]
        return self.rules[0].t0

    @property
    def memory(self) -> float:  # type: ignore[override]
        return self.rules[0].memory

    @property
    def name(self) -> str:
        return "groups_" + "_".join(dict.fromkeys(rule.name for rule in self.rules))

    def rates(self) -> dict[str, float]:
        return {f"{name} of group {i}": rate for i, rule in enumerate(self.rules) for name, rate in rule.rates().items()}

    def suits(self, regime: Regime) -> None:
        for rule in self.rules:
            rule.suits(regime)

    def members(self, dim: int) -> list[Tensor]:
        """Which of `dim` parameters each rule moves."""
        if (total := sum(count for _, count in self.runs)) != dim:
            raise SMEError(f"the groups have {total} parameters, and there are {dim}")
        owner = torch.tensor([rule for rule, count in self.runs for _ in range(count)])
        return [owner == rule for rule in range(len(self.rules))]

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        new = dict(state)
        for rule, mine in zip(self.rules, self.members(state["theta"].shape[-1]), strict=True):
            held = {name: state[name] for name in rule.fields}
            if rule.mixes:
                own, back = mine.nonzero().flatten(), (mine.cumsum(0) - 1).clamp(min=0)
                after = rule.update({name: each[..., own] for name, each in held.items()}, _part(gradient, own), tau, t)
                after = {name: each[..., back] for name, each in after.items()}
            else:
                after = rule.update(held, gradient, tau, t)
            new |= {name: torch.where(mine, after[name], new[name]) for name in rule.fields}
        return new


def _part(gradient: Gradient, own: Tensor) -> Gradient:
    """What a rule sees of its own numbers."""
    step, square, sign, seen = gradient
    return Gradient(step[..., own], square[..., own], None if sign is None else sign[..., own],
                    None if seen is None else (seen[0][..., own], seen[1]))
