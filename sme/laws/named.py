"""Laws by name, for the model problems."""

from torch import Tensor

from sme.errors import choose
from sme.inputs import number
from sme.laws.affine import AffineNoise
from sme.laws.base import GradientLaw
from sme.laws.gaussian import GaussianNoise
from sme.laws.student import StudentNoise
from sme.laws.two_point import TwoPointNoise

LAWS = ("gaussian", "rademacher", "skewed", "student", "affine")


def named(law: str, factor: Tensor, noise: float, nu: float, p: float, growth: float) -> tuple[GradientLaw, dict[str, object]]:
    """A law, and what identifies it beside `noise`: nothing for a Gaussian one.

    Parameters
    ----------
    law
        `"gaussian"`, `"rademacher"` or `"skewed"` (two values, the upper one of probability `p`), each with this factor;
        `"student"`, `noise` times t variates of `nu` degrees of freedom; `"affine"`, Gaussian of variance
        `noise² + growth (∂_i f)²`.

    Raises
    ------
    SMEError
        for another name, or numbers that the law does not take.
    """
    if choose("law", law, LAWS) == "gaussian":
        return GaussianNoise(factor), {}
    if law == "student":
        return StudentNoise(nu, noise), {"law": law, "nu": number("nu", nu)}
    if law == "affine":
        return AffineNoise(noise**2, growth), {"law": law, "growth": number("growth", growth)}
    if law == "skewed":
        return TwoPointNoise(factor, p), {"law": law, "p": number("p", p)}
    return TwoPointNoise(factor), {"law": law}
