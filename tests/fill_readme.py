"""Put the tables and pictures of results/ into the README: python tests/fill_readme.py

Each `<!-- name -->` marks a place; what is printed there is copied from a committed `slopes.md`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = {
    "adam": ("adam-ballistic-quadratic", "2"),
    "picture adam": ("adam-ballistic-quadratic", None),
    "obstruction": ("rmsprop-batch_equivalent-polynomial", ""),
    "picture obstruction": ("rmsprop-batch_equivalent-polynomial", None),
    "minibatch rmsprop": ("rmsprop-ballistic-logistic", "2"),
    "minibatch adam": ("adam-ballistic-logistic", "2"),
    "picture minibatch": ("rmsprop-ballistic-logistic", None),
}


def folder(prefix: str, root: Path) -> Path:
    (found,) = (root / "results").glob(f"{prefix}-*")
    return found


def block(prefix: str, order: str | None, root: Path) -> str:
    """The slope table's rows of that order (all if empty), or the picture."""
    place = folder(prefix, root)
    if order is None:
        return f"![weak errors over the step size, {prefix}](results/{place.name}/errors.png)"
    lines = (place / "slopes.md").read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if "slope [95 %]" in line)
    table = lines[first : lines.index("", first)]
    return "\n".join(table[:2] + [line for line in table[2:] if line.startswith(f"| {order}")])


def filled(text: str, root: Path = ROOT) -> str:
    """The README with every place filled from the results/ in `root`."""
    for name, what in PLACES.items():
        pattern = rf"(<!-- {name} -->\n)(?:\n(?:\||!\[).*(?:\n\|.*)*\n)?"
        text = re.sub(pattern, lambda match, what=what: f"{match[1]}\n{block(*what, root)}\n", text)
    return text


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
