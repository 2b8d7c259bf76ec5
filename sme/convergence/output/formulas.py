"""Formulas of an equation's terms as pictures, drawn here so that a page needs no network."""

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from sme.common.errors import SMEError

if TYPE_CHECKING:
    from sme.convergence.spec.specification import Specification

LARGE = 64
"""parameters beyond which a problem is not made again for its formulas alone"""
SIZE = 12
"""points of a letter"""
CLOSED = 79
COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C", CLOSED: "Z"}
"""of SVG, by matplotlib's codes"""
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
    from matplotlib import rc_context, rcdefaults, rcParams
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    with rc_context():
        rcdefaults()  # whatever the caller's settings are
        rcParams["mathtext.fontset"] = "stix"
        try:
            path = TextPath((0, 0), f"${plain(latex)}$", size=SIZE, prop=FontProperties())
        except ValueError:  # a command that matplotlib has not
            return ""
    box = path.get_extents().padded(1)
    parts = [COMMANDS[int(code)] + " ".join(f"{place:.2f}" for place in points if code != CLOSED)
             for points, code in path.iter_segments()]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{box.width:.2f}pt" height="{box.height:.2f}pt" '
            f'viewBox="{box.x0:.2f} {-box.y1:.2f} {box.width:.2f} {box.height:.2f}">'
            f'<path transform="scale(1 -1)" d="{"".join(parts)}"/></svg>')


def plain(latex: str) -> str:
    """The same in the part of LaTeX that matplotlib has."""
    text = re.sub(r"\\[tdc]?frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", latex)
    text = re.sub(r"\\[td]frac", r"\\frac", text)
    text = re.sub(r"\\sqrt\s*(\\[A-Za-z]+|\w)", r"\\sqrt{\1}", text)
    return re.sub(r"\\([bB]ig+)[lrm]?(?![A-Za-z])", "", text).replace(r"\operatorname", r"\mathrm")
