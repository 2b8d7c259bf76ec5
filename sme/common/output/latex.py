"""Printed tables as LaTeX that needs no more than booktabs."""

import re
import unicodedata

import pandas as pd
from tabulate import tabulate

LETTERS, NAMES = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega")
SYMBOLS = {**dict(zip(LETTERS, NAMES.split(), strict=True)), "±": "pm", "∞": "infty", "∫": "int", "×": "times", "·": "cdot",
           "√": "surd", "≤": "le", "≥": "ge"}
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "…": r"\ldots{}",
           **{each: f"\\{each}" for each in "&%$#_{}"}, **{each: f"${each}$" for each in "|<>"}, "−": "$-$",
           **{each: f"$\\{name}$" for each, name in SYMBOLS.items()}}
WORDS = {"tau": r"$\tau$", "theta": r"$\theta$", "C1": "$C_1$"}
"""whole words that are set as mathematics"""
NUMBERS = re.compile(r"[-+\d.,e\[\] ±%]*\d[-+\d.,e\[\] ±%]*")


def tabular(table: pd.DataFrame, comment: str) -> str:
    """A printed table as a `tabular` with booktabs' rules, below a comment; a column of empty cells is left out."""
    table = table.loc[:, [not table[name].eq("").all() for name in table]]
    cells = pd.DataFrame({text(name): [(observable if name == "observable" else cell)(str(value)) for value in table[name]]
                          for name in table})
    lines = tabulate(cells, headers="keys", tablefmt="latex_raw",  # type: ignore[arg-type]
                     showindex=False, disable_numparse=True)
    for rule in ("top", "mid", "bottom"):  # booktabs' own format would escape the mathematics
        lines = lines.replace(r"\hline", rf"\{rule}rule", 1)
    return f"% {comment}\n{lines}"


def cell(value: str) -> str:
    """Numbers, such as `-0.1e-4 [-1.9, 1.8]e-4` or `1.2e-03 ± 4e-05`, as mathematics; anything else as text."""
    if not NUMBERS.fullmatch(value):
        return text(value)
    powers = re.sub(r"e([-+]?)0*(\d+)", lambda found: rf" \times 10^{{{found[1].strip('+')}{found[2]}}}", value)
    return "$" + powers.replace("%", r"\%").replace("±", r"\pm").replace(" [", r"\ [") + "$"


def observable(name: str) -> str:
    r"""`|theta|^2` as `$|\theta|^2$`, `mean v` as `mean $v$`; other names as text."""
    if found := re.fullmatch(r"\|(\w+)\|\^2", name):
        return f"$|{_symbol(found[1])}|^2$"
    if found := re.fullmatch(r"mean (\w+)", name):
        return f"mean ${_symbol(found[1])}$"
    return text(name)


def text(value: str) -> str:
    """Text with every special character escaped, Greek letters and raised or lowered digits as mathematics."""
    parts = re.split(rf"\b({'|'.join(WORDS)})\b", value)
    return "".join(WORDS.get(part) or "".join(map(_character, part)) for part in parts)


def _symbol(field: str) -> str:
    return r"\theta" if field == "theta" else field if len(field) == 1 else rf"\mathrm{{{text(field)}}}"


def _character(character: str) -> str:
    if character in SPECIAL or character.isascii():
        return SPECIAL.get(character, character)
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    if kind in ("<sub>", "<super>"):
        return f"${'_' if kind == '<sub>' else '^'}{chr(int(code, 16))}$"
    return character
