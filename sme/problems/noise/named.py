"""Laws by name, for the model problems."""

from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import number
from sme.problems.noise import affine, gaussian
from sme.problems.noise.base import NAMED, GradientLaw
from sme.problems.noise.independent import student, two_point

LAWS = (gaussian, affine, student, two_point)
"""modules whose classes fill `NAMED`"""


def named(law: str, factor: Tensor, noise: float, **given: float | None) -> tuple[GradientLaw, dict[str, object]]:
    """A law, and what identifies it beside `noise`: nothing for a Gaussian one.

    Parameters
    ----------
    law
        one of `NAMED`, which the classes of the laws fill.
    factor, noise
        of the problem; a law takes either.
    given
        settings of the laws' own, of which each takes its own; None for the default.

    Raises
    ------
    SMEError
        for another name, numbers that the law does not take, or a setting of another law or of none.
    """
    make, own, default = NAMED[choose("law", law, NAMED)]
    for name, value in given.items():
        of = {each.setting: kind for kind, each in NAMED.items() if each.setting}
        choose("setting of the noise", name, of)
        if value is not None and name != own:
            raise SMEError(f"{name} = {value!r} is a setting of law='{of[name]}', and the law is '{law}': give that law, or "
                           f"leave {name} out")
    value = default if given.get(own) is None else number(own, given[own])
    described = {} if law == "gaussian" else {"law": law, **({own: value} if own else {})}
    return make(factor, noise, value), described
