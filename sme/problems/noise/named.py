"""Laws by name, for the model problems."""

import math

from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import number
from sme.problems.noise.affine import AffineNoise
from sme.problems.noise.base import GradientLaw
from sme.problems.noise.gaussian import GaussianNoise
from sme.problems.noise.independent.student import StudentNoise
from sme.problems.noise.independent.two_point import TwoPointNoise

LAWS = ("gaussian", "rademacher", "skewed", "student", "affine")
OWN = {"student": ("nu", 5.0), "skewed": ("p", 0.2), "affine": ("growth", 1.0)}
"""the setting that a law has of its own, and its default"""


def named(law: str, factor: Tensor, noise: float, **given: float | None) -> tuple[GradientLaw, dict[str, object]]:
    """A law, and what identifies it beside `noise`: nothing for a Gaussian one.

    Parameters
    ----------
    law
        `"gaussian"`, `"rademacher"` or `"skewed"` (two values, the upper one of probability `p`), each with this factor;
        `"student"`, `noise` times t variates of `nu` degrees of freedom; `"affine"`, Gaussian of variance
        `noise² + growth (∂_i f)²`.
    given
        `nu`, `p` and `growth`, of which a law takes its own; None for the default, 5, 0.2 and 1.

    Raises
    ------
    SMEError
        for another name, numbers that the law does not take, or a setting of another law.
    """
    own, default = OWN.get(choose("law", law, LAWS), ("", math.nan))
    for name, value in given.items():
        if value is not None and name != own:
            of = next(each for each, (setting, _) in OWN.items() if setting == name)
            raise SMEError(f"{name} = {value!r} is a setting of law='{of}', and the law is '{law}': give that law, or leave "
                           f"{name} out")
    if law == "gaussian":
        return GaussianNoise(factor), {}
    if law == "rademacher":
        return TwoPointNoise(factor), {"law": law}
    value = default if given.get(own) is None else number(own, given[own])
    made = {"student": lambda: StudentNoise(value, noise), "affine": lambda: AffineNoise(noise**2, value),
            "skewed": lambda: TwoPointNoise(factor, value)}[law]()
    return made, {"law": law, own: value}
