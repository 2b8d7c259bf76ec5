"""Make docs/settings.md, every setting of every script, from conf/: python -m tests.docs.settings"""

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from sme.cli import command, main, pages, spellings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """# Settings

Every setting of every script, with its default, made from `conf/` by `python -m tests.docs.settings`. A setting is given as
`name=value`; a list or a value with brackets in quotes, `'tau=[1/8,1/16]'`; `null` is none; `--help` says the same. Behind any
script: `smoke=true` (a try of less than a minute), `-m` (a multirun over values with commas), `--cfg job` (the settings as they
would be). [Options](#options) has what `optimizer=`, `problem=` and `experiment=` choose from.
"""
LINE = re.compile(r"^( *)([\w|~^]+):(?: +([^#\s].*?))?(?: +# (.*))?$")
GROUPS = ("optimizer", "problem", "experiment")


def rows(lines: list[str], outside: dict[str, str]) -> Iterator[str]:
    """A row for each setting, by its whole name: default, and what the comment says."""
    names: dict[int, str] = {}
    for i, line in enumerate(lines):
        if not (found := LINE.match(line)):
            continue  # an entry of a list, which stands with its setting
        indent, name, default, said = len(found[1]), found[2], found[3] or "", found[4] or ""
        names = {at: above for at, above in names.items() if at < indent} | {indent: outside.get(name, name)}
        below = lines[i + 1].lstrip() if i + 1 < len(lines) else ""
        if default or said or below.startswith("-"):
            yield row(".".join(names.values()), default or ("a list" if below.startswith("-") else "…"), said)


def row(name: str, default: str, said: str) -> str:
    """One line of a table."""
    said = pages._filled(f"{name}= # {said}").partition("# ")[2]
    code = f"<code>{default.replace('|', '&#124;')}</code>" if "|" in default else f"`{default}`"  # which \\| in `` is not
    cells = (f"`{name}`", code if default != "…" else default, re.sub(r"([|*])", r"\\\1", said))
    return f"| {' | '.join(cells)} |"


TITLES = "| setting | default | choices, meaning |\n|---|---|---|"


def script(name: str) -> str:
    """The section of one script."""
    path = command.CONF / f"{name}.yaml"
    outside = {inner: shown for shown, inner in spellings.INSIDE.get(name, {}).items()}
    table = list(rows(pages._settings(path.read_text(encoding="utf-8").splitlines()), outside))
    chosen = [row(place, choice or "null", "[options](#options) of `" + place.partition("@")[0] + "`")
              for place, choice in pages._groups(path).items()]
    summary = pages.summary(name).splitlines()[0]
    return "\n".join([f"## {name}", "", summary, "", TITLES, *chosen, *table, ""])


def option(path: Path) -> str:
    """The section of one option of a group."""
    lines = path.read_text(encoding="utf-8").splitlines()
    about = " ".join(line[2:] for line in takewhile(lambda line: line.startswith("#") and "python " not in line, lines)
                     if "@package" not in line).partition(". ")[0].rstrip(".:")
    inner = [line for line in lines if line.strip() and not line.startswith("#") and "_target_" not in line]
    kept, block = [], ""
    for line in inner:
        block = line.partition(":")[0] if not line.startswith(" ") else block
        kept += [line] if block != "defaults" else []
    prefix = "" if path.parent.name != "optimizer" else "optimizer."
    table = [each.replace("| `", f"| `{prefix}", 1) for each in rows(kept, {})]
    said = [f"{about}.", ""] if about else []
    shown = [TITLES, *table, ""] if table else ["No settings of its own.", ""]
    return "\n".join([f"### {path.parent.name}={path.stem}", "", *said, *shown])


def made() -> str:
    """The page."""
    options = [option(path) for group in GROUPS for path in sorted((command.CONF / group).glob("*.yaml"))]
    return "\n".join([HEAD, *map(script, main.scripts()), "## Options", "", *options]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(made(), encoding="utf-8")
