"""The noise-free equation of an optimizer with memory, in every form, and the run that it models."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import first_or_second, number, short, whole
from sme.common.process.turns import Turns
from sme.optimizers.adagrad import AdaGrad
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer, initial
from sme.optimizers.grid import StepGrid
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.problems.noise.gaussian import GaussianNoise
from sme.problems.renoised import Renoised
from sme.simulate import noiseless
from sme.simulate.integro import volterra
from sme.simulate.integro.losses import Losses
from sme.simulate.integro.ordinary import Ordinary
from sme.simulate.integro.rule import Rule
from sme.simulate.integro.volterra import Solution
from sme.simulate.setup import Setup


class IDE(Turns):
    """`θ̇ = −F(t, g, m, v)` with memory integrals `m`, `v` over the whole past: AdaGrad, RMSProp and Adam without noise.

    Parameters
    ----------
    problem
        the loss; its noise is left out.
    optimizer, lr, …
        see `sme.simulate.integro.rule.Rule`.

    Raises
    ------
    SMEError
        for bad input.
    """

    def __init__(self, problem: Problem, optimizer: str, lr: float, **hyperparameters: Any) -> None:
        problems.checked(problem)
        for name in hyperparameters:
            choose("hyperparameter", name, list(Rule.__dataclass_fields__)[2:])
        self.problem, self.rule = problem, Rule(optimizer, lr, **hyperparameters)
        self.losses = Losses(problem, self.rule.l2)

    def solve(self, theta: Any, horizon: float) -> Solution:
        """`θ(t)`, `0 ≤ t ≤ horizon`, from the integro-differential equation itself (see `sme.simulate.integro.volterra`).

        Raises
        ------
        SMEError
            for bad input, or if the solution cannot be followed so far.
        """
        if not 0 < (horizon := number("horizon", horizon)) < np.inf:
            raise SMEError(f"horizon must be positive and finite, got {horizon:g}: `steps` steps take a time of steps · lr")
        return volterra.solve(self.losses, self.rule, self._start(theta), horizon)

    def ordinary(self, theta: Any, times: Float[np.ndarray, " n"], order: int = 1, velocity: Any = 0.0,
                 updated: bool = False) -> Float[np.ndarray, "n parts d"]:
        """`(θ, [θ̇,] m, v)` at ascending times from the ordinary equation, of order 1 or 2 in time (see `Ordinary`).

        Parameters
        ----------
        velocity
            `θ̇(0)`, of order 2 alone.
        updated
            whether `F` reads averages that have seen the gradient at `t`.

        Raises
        ------
        SMEError
            for bad input, or if the solution cannot be followed so far.
        """
        times, at = np.asarray(times, float), self._start(theta)
        if (not first_or_second(order) or times.ndim != 1 or not len(times) or not times[0] >= 0 or not times[-1] < np.inf
                or not (np.diff(times) > 0).all()):
            raise SMEError("ordinary takes order 1 or 2 and finite, ascending times from 0 on, got order "
                           f"{short(order)}, times {times}")
        speed = self._vector("velocity", velocity)
        if order == 1 and speed.any():
            raise SMEError(f"the equation of order 1 has no velocity of its own, got {short(velocity)}: leave it out, or "
                           "take order=2")
        return Ordinary(self.losses, self.rule, order, updated).solve(at, times, speed)

    def discrete(self, theta: Any, steps: int) -> dict[str, Float[np.ndarray, "steps+1 d"]]:
        """`theta`, `m` and `v` (AdaGrad: the sum of squares) of the optimizer itself, before every step and after the last."""
        rule, now = self.rule, self._start(theta)
        m, v, rows = np.zeros_like(now), np.zeros_like(now), []
        for k in range(whole("steps", steps, 1)):
            rows.append((now, m, v))
            g = self.losses.gradient(now)
            m = m if rule.beta1 is None else rule.beta1 * m + (1 - rule.beta1) * g
            v = v + g * g if rule.beta2 is None else rule.beta2 * v + (1 - rule.beta2) * g * g
            gain, root = rule.corrections(np.array(k + 1.0))
            top = g if rule.beta1 is None else m
            with np.errstate(invalid="ignore"):  # ε = 0 and no gradient
                step = np.where(top == 0, 0.0, gain * top / (np.sqrt(v) + rule.eps * root))
            now = now - rule.lr * step / (1 + rule.decay * k)
        rows.append((now, m, v))
        return dict(zip(("theta", "m", "v"), (np.array(part) for part in zip(*rows, strict=True)), strict=True))

    def modified(self, state: Mapping[str, Float[np.ndarray, " d"]], step: int, marks: list[int], order: int = 2,
                 tolerance: float = 1e-11) -> Float[np.ndarray, "marks d"]:
        """`θ` of the modified equation of order 1 or 2 in the step size, `marks` steps after the state of the run at `step`.

        The first steps are left out: an average that starts at 0 makes both its expansion and its drift singular there.

        Parameters
        ----------
        state
            `theta`, `m` and `v` of `discrete` at `step`.
        marks
            ascending numbers of steps after it.
        tolerance
            of the solver, relative and absolute.

        Raises
        ------
        SMEError
            for `β = 0`, which is no `1 − cτ` with a small `cτ`, and for `l2` or `decay`.
        """
        rule, lr = self.rule, self.rule.lr
        if 0.0 in (rule.beta1, rule.beta2) or rule.l2 or rule.decay:
            raise SMEError(f"no modified equation for {rule}: it needs β > 0, l2 = 0 and decay = 0")
        tau, fields = lr, {"theta": state["theta"], "m": state["m"], "v": state["v"]}
        common: dict[str, Any] = {"denominator": "updated", "v_floor": 0.0}
        optimizer: Optimizer
        if rule.optimizer == "adagrad":  # its sum of squares is v/τ, its learning rate √τ
            tau, fields["v"] = lr**2, lr**2 * state["v"]
            optimizer = AdaGrad(eps=rule.eps * lr, **common)
        elif rule.beta1 is None or rule.beta2 is None:
            optimizer = RMSProp(c=(1 - (rule.beta2 or 0.0)) / lr, eps=rule.eps, **common)
        else:
            optimizer = Adam(c1=(1 - rule.beta1) / lr, c2=(1 - rule.beta2) / lr, eps=rule.eps, bias_correction=True,
                             t0=whole("step", step, 1) * lr, clock=(1, 1), **common)
        silent = Renoised(self.problem, GaussianNoise(torch.zeros(self.problem.dim, 1, dtype=torch.float64)))
        start: dict[str, Tensor] = {name: torch.from_numpy(np.array(fields[name])) for name in optimizer.fields}
        setup = Setup(silent, optimizer, BALLISTIC, order, "independent", StepGrid.of(tau, max(marks)), start, (), {})
        with torch.no_grad():
            return noiseless.drift(setup, order, marks, tolerance)[:, : self.problem.dim].numpy()

    def _vector(self, name: str, given: Any) -> Float[np.ndarray, " d"]:
        """A number for each parameter, or one for all."""
        try:
            found = np.broadcast_to(np.asarray(given, float), (self.problem.dim,))
        except (TypeError, ValueError):
            found = np.full(self.problem.dim, np.nan)
        if not np.isfinite(found).all():
            raise SMEError(f"{name} must be one finite number, or {self.problem.dim}, got {short(given)}")
        return found

    def _start(self, theta: Any) -> Float[np.ndarray, " d"]:
        if not isinstance(theta, Tensor):
            try:
                theta = torch.as_tensor(np.atleast_1d(np.asarray(theta, float)))
            except (TypeError, ValueError):
                raise SMEError(f"theta must be {self.problem.dim} finite numbers, got {short(theta)}") from None
        return initial(SGD(), {"theta": theta}, self.problem.dim)["theta"].numpy()
