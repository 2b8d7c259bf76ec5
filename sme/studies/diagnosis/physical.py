"""What a torch optimizer's step is made of, parameter by parameter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.optimizers.imported import settings
from sme.studies.phases.edge import failing, threshold

Numbers = Float[Tensor, " d"]


@dataclass(frozen=True)
class Physical:
    """The settings of every parameter, and the averages that torch has taken so far.

    Attributes
    ----------
    group
        which of the optimizer's groups a parameter is in.
    lr, beta1, beta2, eps
        by group; `lr` where a scheduler drives it its base rate, `beta1` 0 without a momentum, `beta2` None without a second
        moment.
    steps
        that were taken.
    second
        the second moment that the next step divides by, freed of its bias; None of a fresh optimizer.
    """

    kind: str
    group: Tensor
    lr: tuple[float, ...]
    beta1: tuple[float, ...]
    beta2: tuple[float | None, ...]
    eps: tuple[float, ...]
    nesterov: bool
    steps: int
    second: Numbers | None

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> "Physical":
        """Read off the groups and their state, in the order of these parameters.

        Raises
        ------
        SMEError
            for what is no optimizer of torch.optim, or one of other parameters.
        """
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise SMEError(f"optimizer must be one of torch.optim, such as torch.optim.AdamW(module.parameters()), got "
                           f"{short(optimizer)}")
        owner = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
        if any(id(p) not in owner for p in parameters):
            raise SMEError("the optimizer does not move all parameters of the module: give it module.parameters(), or freeze the "
                           "others by requires_grad_(False)")
        groups = settings.groups(optimizer)
        betas = [group.get("betas") or (group.get("momentum", 0.0), group.get("alpha")) for group in groups]
        lr = [float(group.get("initial_lr", group["lr"])) for group in groups]
        lr = [rate * (1 - group.get("dampening", 0.0)) / (1 - group["momentum"]) if group.get("momentum") else rate
              for rate, group in zip(lr, groups, strict=True)]  # of an average of gradients
        seen = [optimizer.state.get(p, {}) for p in parameters]
        taken = int(max((float(each.get("step", 0)) for each in seen), default=0))
        made = cls(type(optimizer).__name__, torch.cat([torch.full((p.numel(),), owner[id(p)]) for p in parameters]),
                   tuple(lr), tuple(float(b[0] or 0.0) for b in betas),
                   tuple(None if b[1] is None else float(b[1]) for b in betas), tuple(float(g.get("eps", 0.0)) for g in groups),
                   any(bool(g.get("nesterov")) for g in groups), taken, None)
        moments = [each.get("exp_avg_sq", each.get("square_avg")) for each in seen]
        if not taken or any(each is None for each in moments):
            return made
        second = torch.cat([each.detach().double().flatten().cpu() for each in moments])
        corrects = all("exp_avg_sq" in each for each in seen)
        return replace(made, second=second / (1 - made._each(made.beta2) ** taken) if corrects else second)

    def _each(self, by_group: Sequence[float | None]) -> Numbers:
        return torch.tensor([0.0 if each is None else each for each in by_group], dtype=torch.float64)[self.group]

    @property
    def adaptive(self) -> bool:
        """Whether a second moment divides the step."""
        return any(each is not None for each in self.beta2)

    def step(self, square: Numbers) -> Numbers:
        """The step of each parameter for a unit of averaged gradient; `square = E ĝ∘ĝ` stands for averages that are not there."""
        lr = self._each(self.lr)
        if not self.adaptive:
            return lr
        v = square if self.second is None else self.second
        return lr / (v.clamp(min=0).sqrt() + self._each(self.eps)).clamp(min=1e-300)

    @property
    def limit(self) -> float:
        """Step size × curvature up to which a step is stable on a quadratic."""
        return min(float(threshold(beta)) / (1 + 2 * beta if self.nesterov else 1) for beta in self.beta1)

    @property
    def fails(self) -> float:
        """The same from which on order 2 misses a rate by 30 %."""
        return min(failing(beta) for beta in self.beta1)

    @property
    def memories(self) -> dict[str, float]:
        """The steps that each average remembers, the shortest of all groups."""
        found = {"m": [1 / (1 - b) for b in self.beta1 if b], "v": [1 / (1 - b) for b in self.beta2 if b is not None and b < 1]}
        return {name: min(each) for name, each in found.items() if each}
