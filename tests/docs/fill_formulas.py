"""Put the formulas into docs/formulas.md: python tests/docs/fill_formulas.py

Each ```python block that is one line `sme.formula(…)` marks a place: below it stands what that line gives, as a ```math block.
"""

import re
from pathlib import Path

import sme

PAGE = Path(__file__).parents[2] / "docs" / "formulas.md"
PLACE = re.compile(r"(```python\n(sme\.formula\([^\n]*\))\n```\n)(?:\n```math\n.*?\n```\n)?", re.S)
RULES = re.compile(r"```python\n(from dataclasses import dataclass\n.*?)```", re.S)


def filled(text: str) -> str:
    """The page with every place filled, by the rules that it defines."""
    names = {"sme": sme, "__name__": "page"}
    exec(compile(RULES.findall(text)[0], str(PAGE), "exec"), names)
    return PLACE.sub(lambda match: f"{match[1]}\n```math\n{eval(match[2], names).latex}\n```\n", text)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
