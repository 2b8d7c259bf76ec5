"""Formulas of an equation's terms as pictures, drawn here so that a page needs no network."""

import functools
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from sme.common.errors import SMEError

if TYPE_CHECKING:
    from sme.convergence.spec.specification import Specification

LARGE = 64
"""parameters beyond which a problem is not made again for its formulas alone"""
SYMBOLS = ("g = ∇f, H = ∇²f, Σ = S Sᵀ the covariance of the gradient noise and σ its diagonal, P the preconditioner of v, "
           "b the leading drift, ∘ entry by entry, λ the weight decay")


class Formula(NamedTuple):
    """Of one term and field; `svg` is empty where it cannot be drawn."""

    term: str
    field: str
    latex: str
    svg: str


def formulas(specification: "Specification", order: int, steps: int) -> list[Formula]:
    """Those of the terms that are there at the study's start, as far as `describe` has them."""
    try:
        found = specification.setup(order, steps).equation().describe(specification.start).latex
    except SMEError:
        return []
    parts = [(key.partition(","), latex) for key, latex in found.items()]
    return [Formula(term, field.strip(), latex, drawn(latex)) for (term, _, field), latex in parts]


@functools.lru_cache(maxsize=512)
def drawn(latex: str) -> str:
    """An SVG of the formula, its letters as paths."""
    from matplotlib import mathtext, rc_context, rcdefaults, rcParams
    from matplotlib.font_manager import FontProperties

    file = io.StringIO()
    with rc_context():
        rcdefaults()  # whatever the caller's settings are
        rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "formula", "mathtext.fontset": "stix"})
        try:
            mathtext.math_to_image(f"${plain(latex)}$", file, FontProperties(size=12), format="svg")
        except ValueError:  # a command that matplotlib has not
            return ""
    return file.getvalue()


def plain(latex: str) -> str:
    """The same in the part of LaTeX that matplotlib has."""
    text = re.sub(r"\\[tdc]?frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", latex)
    text = re.sub(r"\\[td]frac", r"\\frac", text)
    text = re.sub(r"\\sqrt\s*(\\[A-Za-z]+|\w)", r"\\sqrt{\1}", text)
    return re.sub(r"\\([bB]ig+)[lrm]?(?![A-Za-z])", "", text).replace(r"\operatorname", r"\mathrm")
