"""How much less noisy a minibatch is whose examples are drawn by the size of their gradients."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from tabulate import tabulate
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.common.process.turns import entry
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.minibatch.per_example import CHUNK, Examples
from sme.problems.noise.wrapped.importance import ImportanceNoise


@dataclass(frozen=True, eq=False, repr=False)
class Importance:
    """The noise of a minibatch under the uniform and the optimal probabilities, at one θ.

    Attributes
    ----------
    probabilities
        the optimal `p_i ∝ |D g_i|`, which make `tr D Σ D` least.
    table
        a row for each law (`as drawn` too, if the problem has probabilities of its own): `tr D Σ D`, its `ratio` to the uniform
        one, and the `effective batch` `B/ratio`, of which uniform drawing would have the same trace.
    """

    probabilities: Float[Tensor, " n"]
    table: pd.DataFrame

    def __str__(self) -> str:
        return tabulate(self.table, headers="keys", showindex=False, floatfmt=".4g")  # type: ignore[arg-type]

    __repr__ = __str__


@entry
def importance(problem: Problem, theta: Float[Tensor, " d"], precondition: Float[Tensor, " d"] | None = None) -> Importance:
    """The probabilities under which a minibatch's noise is least at `θ`, and by how much.

        tr D Σ_p D = (1/B) ((1/n²) Σ_i |D g_i|²/p_i − |D ḡ|²),      least for p_i ∝ |D g_i|: (1/B) (((1/n) Σ_i |D g_i|)² − |D ḡ|²)

    Parameters
    ----------
    problem
        with the noise of minibatches drawn with replacement.
    precondition
        the diagonal `D` by which the optimizer multiplies the gradient, such as `1/(√v + ε)`; None: 1.

    Raises
    ------
    SMEError
        for another law, shapes that do not fit, or gradients that all vanish.
    """
    problems.checked(problem)
    law = problem.noise
    if not isinstance(law, MinibatchNoise) or law.sampling.name != "with_replacement":
        raise SMEError("importance is about minibatches with replacement, and the noise of this problem is another: give "
                       "sme.MinibatchNoise(…, sampling='with_replacement')")
    point = _vector("theta", theta, problem.dim)
    d = torch.ones_like(point) if precondition is None else _vector("precondition", precondition, problem.dim)
    if tuple(point.shape) != (problem.dim,) or tuple(d.shape) != (problem.dim,):
        raise SMEError(f"theta and precondition must have shape (d,) = ({problem.dim},), got {tuple(point.shape)} and "
                       f"{tuple(d.shape)}")
    problem.agree(point)
    gradients = d * each(law.examples, point)
    sizes, mean = gradients.norm(dim=1), float(gradients.mean(0).square().sum())
    if not 0 < float(sizes.sum()) < torch.inf:
        raise SMEError("the gradients of the examples all vanish or are not finite here, so no example is more important: give "
                       "another theta")
    n, best = len(sizes), sizes / sizes.sum()
    laws = {"uniform": float(sizes.square().mean()) - mean}
    if isinstance(law, ImportanceNoise):
        laws["as drawn"] = float((sizes.square() / law.probabilities).sum()) / n**2 - mean
    laws["optimal"] = float(sizes.mean()) ** 2 - mean
    rows = [{"probabilities": name, "trace": law.scale**2 * trace / law.batch_size, "ratio": trace / laws["uniform"],
             "effective batch": law.batch_size * laws["uniform"] / trace} for name, trace in laws.items()]
    return Importance(best, pd.DataFrame(rows))


def _vector(what: str, given: Any, dim: int) -> Tensor:
    try:
        value = torch.as_tensor(given, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        raise SMEError(f"{what} must be a real tensor of shape ({dim},), got {short(given)}") from None
    return value


def each(examples: Examples, theta: Float[Tensor, " d"]) -> Float[Tensor, "n d"]:
    """The gradient of every example at `θ`."""
    some = max(1, CHUNK // (examples.count + len(theta)))
    return torch.cat([examples.weigh(theta.expand(len(part), -1), part)[0]
                      for part in torch.eye(examples.count, dtype=theta.dtype).split(some)])
