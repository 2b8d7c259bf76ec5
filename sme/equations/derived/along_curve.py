"""Functions of the parameters at a power series: gradient and noise along a curve."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.func import jvp

from sme.equations.derived.series import Series
from sme.problems.base import Problem
from sme.problems.noise.base import GradientLaw


def _lift(theta: Any, value: Callable[[Tensor], Any], slope: Callable[[Tensor, Tensor], Any],
          bend: Callable[[Tensor, Tensor], Any]) -> Any:
    """`f(c₀ + c₁ e + c₂ e²) = f + ∂f c₁ e + (∂f c₂ + ½ ∂²f[c₁, c₁]) e²`."""
    if not isinstance(theta, Series):
        return value(theta)
    c0, c1, *rest = theta.coefficients
    out = [value(c0), None if c1 is None else slope(c0, c1)]
    for c2 in rest[:1]:
        terms = ([0.5 * bend(c0, c1)] if c1 is not None else []) + ([slope(c0, c2)] if c2 is not None else [])
        out.append(sum(terms[1:], terms[0]) if terms else None)
    return Series(out, theta.level)


def gradient(problem: Problem, theta: Any) -> Any:
    """`∇f` along a curve of at most second order, from the problem's own second and third derivatives."""
    return _lift(theta, problem.gradient, problem.hessian, lambda c, u: problem.third(c, u, u))


def smooth(function: Callable[[Tensor], Tensor], theta: Any) -> Any:
    """A function of θ along a curve of at most second order, by forward differentiation."""

    def slope(c: Tensor, u: Tensor) -> Tensor:
        change: Tensor = jvp(function, (c,), (u,))[1]
        return change

    return _lift(theta, function, slope, lambda c, u: jvp(lambda z: slope(z, u), (c,), (u,))[1])


def variance(law: GradientLaw, theta: Any) -> Any:
    """`diag Σ` along a curve."""
    if law.constant and isinstance(theta, Series):
        return law.variance(theta.coefficients[0])
    return smooth(law.variance, theta)


def diffuse(law: GradientLaw, theta: Any, dW: Tensor) -> Any:
    """`S dW` along a curve."""
    if law.constant and isinstance(theta, Series):
        return law.diffuse(theta.coefficients[0], dW)
    return smooth(lambda point: law.diffuse(point, dW), theta)
