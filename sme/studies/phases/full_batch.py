"""Adam on the full gradient with many settings at once."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.adam import Adam
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem
from sme.studies.phases.edge import sharpness

ITERATIONS = 2
"""of the power iteration at each look, which goes on from the last one's vector"""
BEGIN = 30
"""of them at the first look"""


def follow(problem: Problem, given: Sequence[Hyperparameters], theta: Float[Tensor, " d"], steps: int, every: int = 0) -> tuple[
        Float[np.ndarray, "steps runs"], Float[np.ndarray, "looks runs"]]:
    """The losses before each step of torch's Adam, and before every so many steps where it stands to the edge of stability.

    That is the eigenvalue, largest in size, of `S ∇²f`, `S` the step size of each parameter in that step, bias corrections
    included (`sme.studies.phases.edge`). No number where a run is not finite.

    Raises
    ------
    SMEError
        unless all settings are of Adam, with the same learning rate and `ε`.
    """
    rule, tau = _together(given)
    theta = theta.expand(len(given), -1).clone()
    state = {"theta": theta, "m": torch.zeros_like(theta), "v": torch.zeros_like(theta)}
    u = torch.randn(theta.shape[1], generator=torch.Generator().manual_seed(0), dtype=theta.dtype).expand_as(theta)
    losses, edges = [], []
    with torch.no_grad():
        for k in range(steps):
            gradient, value = problem.both(state["theta"])
            new = rule.update(state, BALLISTIC.seen(gradient, tau), tau, rule.t0 + k * tau)
            losses.append(value)
            if every and k % every == 0:
                factor = rule.correction(rule.t0 + k * tau, tau)
                scale = tau * factor.gain * preconditioner(new["v"], rule.eps * factor.root, rule.v_floor).value
                edge, u = sharpness(problem, state["theta"], scale, u, ITERATIONS if k else BEGIN)
                edges.append(edge)
            state = new
    return torch.stack(losses).numpy(), torch.stack(edges).numpy() if edges else np.empty((0, len(given)))


def _together(given: Sequence[Hyperparameters]) -> tuple[Adam, Any]:
    """One rule whose rates are columns, a row for each setting, as `update` is elementwise; and its step size, a tensor too."""
    if not given or any(each.optimizer != "adam" or (each.lr, each.eps) != (given[0].lr, given[0].eps) for each in given):
        raise SMEError("settings must be one or more of adam with the same lr and eps, got "
                       f"{'; '.join(map(str, given)) or 'none'}")
    made = [each.scaled(BALLISTIC, bias_correction=True, t0=each.lr, clock=(0, 0)).optimizer for each in given]
    rule = copy.copy(made[0])
    assert isinstance(rule, Adam)
    for name in rule.rates():
        object.__setattr__(rule, name, torch.tensor([[getattr(each, name)] for each in made], dtype=torch.float64))
    return rule, torch.tensor(given[0].lr, dtype=torch.float64)
