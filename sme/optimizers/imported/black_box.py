"""Any library's optimizer as a rule of the package, by its own steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import number, several, short, whole
from sme.common.process.turns import entry
from sme.optimizers.base import Optimizer, State
from sme.optimizers.imported.boxes import Box, Make, TorchBox
from sme.optimizers.imported.boxes import made as fresh
from sme.optimizers.imported.optax_box import OptaxBox
from sme.optimizers.regimes import BALLISTIC, Gradient, Regime

PROBED = 2.0**-6
"""step size at which an optimizer is looked at"""
STEPS, NEAR = 8, 1e-9
"""steps of a fresh optimizer that are compared with those from its state, and how near they must be"""
LATE = 2.0**30
TINY, FINER, MOVED, LEAST = 2.0**-20, 16.0, 2.0**-12, 0.9
"""a small step size, another so many times finer, the relative change that is none of a small step's, and the least power of τ"""


@dataclass(frozen=True)
class BlackBox(Optimizer):
    """A library's optimizer whose steps are taken as they are, see `sme.black_box`."""

    make: Make
    shapes: tuple[tuple[int, ...], ...] = ()
    t0: float = 0.0
    seen: tuple[str, tuple[str, ...], tuple[str, ...]] = field(default=("", (), ()), repr=False)
    """the library's name of it, its fields, and those that are never negative"""

    opaque = True

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("theta", *self.seen[1])

    @property
    def defaults(self) -> dict[str, float]:  # type: ignore[override]
        return {name: 1.0 if name in self.nonnegative else 0.0 for name in self.seen[1]}

    @property
    def nonnegative(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.seen[2]

    @property
    def name(self) -> str:
        return f"black_box_{self.seen[0].lower()}"

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "make": fingerprint(self.make), "shapes": self.shapes, "t0": self.t0}

    def suits(self, regime: Regime) -> None:
        if regime != BALLISTIC:
            raise SMEError("a black box is a rule of the ballistic regime: in the batch-equivalent one the powers of τ in its "
                           "settings would have to be known; sme.from_torch knows those of torch.optim")

    @cached_property
    def _boxes(self) -> dict[int, Box]:
        return {}

    def box(self, dim: int) -> Box:
        """The library's optimizer of so many parameters."""
        if dim not in self._boxes:
            shapes = self.shapes or ((dim,),)
            self._boxes[dim] = boxed(self.make, shapes)
            if sum(self._boxes[dim].sizes) != dim:
                raise SMEError(f"the shapes of the black box have {sum(self._boxes[dim].sizes)} numbers, and there are {dim} "
                               "parameters")
        return self._boxes[dim]

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        scaled, tau, t = gradient.scaled, float(tau), float(t)
        rows = [part.reshape(-1, scaled.shape[-1]) for part in (*(state[name] for name in self.fields), scaled)]
        new = self.box(scaled.shape[-1]).step(rows[:-1], rows[-1], tau, t / tau)
        return {name: part.reshape(scaled.shape) for name, part in zip(self.fields, new, strict=True)}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_boxes"}


def boxed(make: Make, shapes: tuple[tuple[int, ...], ...]) -> Box:
    """The optimizer of these parameters, of whichever library.

    Raises
    ------
    SMEError
        for an object that is none.
    """
    made = fresh(make, [torch.nn.Parameter(torch.ones(shape, dtype=torch.float64)) for shape in shapes], PROBED)
    if callable(getattr(made, "init", None)) and callable(getattr(made, "update", None)):
        return OptaxBox(make, shapes, PROBED)
    if callable(getattr(made, "step", None)) and hasattr(made, "state") and hasattr(made, "param_groups"):
        return TorchBox(make, shapes, PROBED)
    raise SMEError("make(parameters, tau) must return an optimizer with step(), state and param_groups, as those of torch.optim "
                   f"have, or with init and update, as those of optax have, got {short(made)}")


@entry
def black_box(make: Make, *, shapes: Sequence[Sequence[int]] = (), t0: float | None = None) -> BlackBox:
    r"""A rule of any library's optimizer, in the ballistic regime, by taking its own steps.

    ```math
    \begin{aligned}
    x' &= x + \tau\,\varphi_\tau(x, \hat g, t), \qquad m_\tau = \operatorname E\varphi_\tau \\
    dx &= m_\tau\bigl(t - \tfrac\tau2,\ x - \tfrac\tau2\,m_\tau(t, x)\bigr)\, dt
      + \sqrt\tau\, (\operatorname{Cov}\varphi_\tau)^{1/2}\, dW
    \end{aligned}
    ```

    An equation of order 2 needs no more of a step than its mean and covariance at the `τ` in question. They are sums over all
    batches of a small minibatch law, and else sampled: in every substep two fresh gradients for the drift, whose own noise is
    taken out of the equation's, and two or three for the noise. The rule is not differentiated, not compiled and not told what
    its fields mean: `sme.from_torch` knows more of torch's own.

    Parameters
    ----------
    make
        from a list of parameters and `τ` to an optimizer with these: an object with `step()` that keeps its state as those of
        torch.optim do, or one with `init` and `update`, as those of optax. Learning rate `τ`, `β = 1 − cτ`, and so on:
        `lambda parameters, tau: torch.optim.Adam(parameters, lr=tau, betas=(1 - tau, 1 - tau / 2), eps=0.1)`.
    shapes
        of the parameters, one after the other in `θ`; empty for one vector.
    t0
        start time, a multiple of every `τ`, for an optimizer whose steps depend on their number: it goes on after `t0/τ` steps.

    Returns
    -------
    BlackBox
        whose fields are `theta` and what the library keeps of a parameter's shape, by its names.

    Raises
    ------
    SMEError
        for an object that is no optimizer; one whose steps depend on more than `θ`, such fields and the number of the step, or on
        that without a `t0`.

    Notes
    -----
    The order is 2 where the mean step is smooth in the state: a rule may jump in the gradient where noise smooths that. Where the
    mean step jumps (the sign of an average, or of the mean of one of a few batches) it is 1 where a run meets the jump. A black
    box is not searched for that: `sme.check_order` tests one step at given states, where the noise is summed, and says so.
    """
    if not callable(make):
        raise SMEError(f"make must be a function of parameters and τ that returns an optimizer, got {short(make)}")
    given = tuple(tuple(whole("a size in shapes", n, 1) for n in several(shape)) for shape in several(shapes))
    box = boxed(make, given or ((3,),))
    never = _compared(box)
    _small(box)
    start = 0.0 if t0 is None else number("t0", t0)
    if not 0 <= start < math.inf:
        raise SMEError(f"t0 must be finite and ≥ 0, got {start:g}")
    kind = box.name
    if t0 is None and box.counts and _clocked(box):
        raise SMEError(f"the steps of {kind} depend on their number: give t0, a multiple of every τ, to go on after t0/τ steps, "
                       "or an optimizer without a correction of its bias")
    return BlackBox(make, given, start, (kind, box.fields, never))


def _probes(box: Box) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(2)
    dim = sum(box.sizes)
    return (torch.randn(dim, generator=generator, dtype=torch.float64),
            [torch.randn(dim, generator=generator, dtype=torch.float64) for _ in range(STEPS)])


def _compared(box: Box) -> tuple[str, ...]:
    """The fields that are never negative, once steps from a state that is set are those of a run.

    Raises
    ------
    SMEError
        if they are not.
    """
    start, gradients = _probes(box)
    seen = list(box.run(start, gradients, PROBED))
    for k in reversed(range(1, STEPS)):  # in which order they were taken must not matter
        ours = box.step([part.unsqueeze(0) for part in seen[k - 1]], gradients[k].unsqueeze(0), PROBED, float(k))
        gap = max(float(((one[0] - other).abs() / (1 + other.abs())).max()) for one, other in zip(ours, seen[k], strict=True))
        if not all(bool(part.isfinite().all()) for part in (*ours, *seen[k])):
            raise SMEError(f"step {k + 1} of this optimizer, at θ and gradients of size 1, is not finite: look at the settings "
                           "that make gives it")
        if not gap <= NEAR:
            held = ", ".join(("θ", *box.fields))
            raise SMEError(f"the steps of this optimizer depend on more than {held} and the number of the step, by {gap:.1g} "
                           f"in step {k + 1}: what it keeps beside them, such as a scalar, is no variable of an equation here; "
                           "write its rule as a subclass of sme.Optimizer")
    return tuple(name for i, name in enumerate(box.fields, 1) if all(bool((state[i] >= 0).all()) for state in seen))


def _small(box: Box) -> None:
    """Raise `SMEError` unless a step is of size `τ`."""
    start, gradients = _probes(box)
    state = list(box.run(start, gradients, PROBED))[-1]
    rows = [part.unsqueeze(0) for part in state]
    ends = [box.step(rows, gradients[0].unsqueeze(0), tau, 1 / tau) for tau in (TINY, TINY / FINER)]
    for name, before, one, other in zip(("theta", *box.fields), state, *ends, strict=True):
        moved, finer = (float((after[0] - before).abs().max()) for after in (one, other))
        if name == "theta" and not moved:
            raise SMEError(f"a step of τ = {TINY:.1g} does not move θ at all: make must give its optimizer the parameters that "
                           "it is called with, a learning rate that is a multiple of τ, and steps in double precision")
        power = math.log(moved / finer, FINER) if moved and finer else 1.0
        if not moved <= MOVED * (1 + float(before.abs().max())) or not power > LEAST:
            raise SMEError(f"{name} moves by {moved:.2g} in a step of τ = {TINY:.1g}, like τ^{max(0.0, power):.2g}, and a rule "
                           "must move like τ: the learning rate is a multiple of τ and every β = 1 − cτ; a previous gradient, a "
                           "plain sum of squares or an undamped momentum is no such field (sme.from_torch scales the latter two)")


def _clocked(box: Box) -> bool:
    """Whether a step depends on its number."""
    start, gradients = _probes(box)
    state = list(box.run(start, gradients, PROBED))[-1]
    ends = [box.step([part.unsqueeze(0) for part in state], gradients[0].unsqueeze(0), PROBED, k) for k in (2.0, 9.0, LATE)]
    return any(not torch.allclose(one, other, rtol=1e-12, atol=1e-14) for end in ends[1:] for one, other in
               zip(ends[0], end, strict=True))
