"""What `--help` says: what a script is for, an example, and every setting with its default and its choices."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from sme.cli import command, spellings

FLAGS = """Also: smoke=true (a try of less than a minute), -m (a multirun over values with commas), --cfg job (the settings as
they would be), --hydra-help (Hydra's own flags, launchers and sweepers)."""

CHOICES = {"model": "sme malladi compagnoni ode averaged backward midpoint", "law": "gaussian affine student rademacher skewed"}
"""for each setting whose line says `see --help` the names of `MODELS` and of `NAMED`, without torch, which these would load"""


def of(name: str) -> str:
    """The page of one script."""
    path = command.CONF / f"{name}.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    groups = _groups(path)
    outside = {inner: shown for shown, inner in spellings.INSIDE.get(name, {}).items()}
    settings = [re.sub(r"^\w+", lambda word: outside.get(word[0], word[0]), line) for line in _settings(lines)]
    parts = [summary(name), "Settings, as name=value; null is none:", _indented(settings)]
    if groups:
        parts.append("Groups:")
    for place, chosen in groups.items():
        group, _, package = place.partition("@")
        choices = sorted(each.stem for each in (command.CONF / group).glob("*.yaml"))
        parts.append(_indented([f"{place}={chosen or 'null'}   # {' | '.join(choices)}"]))
        if chosen and not package:
            inner = (command.CONF / group / f"{chosen}.yaml").read_text(encoding="utf-8").splitlines()
            parts.append(_indented(_members(group, inner), 6))
    return "\n".join([*parts, "", FLAGS])


def summary(name: str) -> str:
    """What the script's own text says, or the first lines of its settings where there is no checkout."""
    script = command.CONF.parent / "scripts" / f"{name}.py"
    if script.is_file():
        tree = ast.parse(script.read_text(encoding="utf-8"))
        return str(ast.get_docstring(tree, clean=False))
    lines = (command.CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    head = [line[2:].replace(f"python scripts/{name}.py", f"sme {name}") for line in lines if line.startswith("# ")]
    return "\n".join([*head, ""])


def index(names: Sequence[str]) -> str:
    """All scripts, with the first line of each."""
    width = max(map(len, names))
    rows = [f"  {name:<{width}}  {summary(name).splitlines()[0]}" for name in names]
    return "\n".join(["sme SCRIPT name=value …; the settings of one by sme SCRIPT --help.", "", *rows])


def _groups(path: Path) -> dict[str, str | None]:
    defaults = OmegaConf.to_container(OmegaConf.load(path)).get("defaults", [])  # type: ignore[union-attr]
    return {str(group): chosen for each in defaults if isinstance(each, dict) for group, chosen in each.items()}


def _settings(lines: Sequence[str]) -> list[str]:
    """The lines of a configuration without its comments at the top, its defaults and what is Hydra's."""
    kept, block = list[str](), ""
    for line in lines:
        if found := re.match(r"(\w+):", line):
            block = found[1]
        if block in ("defaults", "hydra", "_target_") or line.startswith("#") or not line.strip():
            continue
        kept.append(line)
    return kept


def _members(group: str, lines: Sequence[str]) -> list[str]:
    """The settings of a chosen option, by their whole names."""
    shown, block = list[str](), group
    for line in lines:
        if line.startswith("#") or "_target_" in line or not line.strip():
            continue
        if found := re.match(r"(\w+): *(#.*)?$", line):  # of an option that also fills other groups
            block = found[1]
            continue
        if not line.startswith(" "):
            shown.append(f"{group}.{line}")
        else:
            shown.append(f"{block}.{line.strip()}")
    return [re.sub(r"^([\w.]+): *", r"\1=", line) for line in shown]


def _indented(lines: Sequence[str], by: int = 2) -> str:
    return "\n".join(" " * by + _filled(line) for line in lines)


def _filled(line: str) -> str:
    """With the choices of a setting that has many."""
    found = re.match(r"[\w. ]*?(\w+)[:=]", line)
    return line.replace("see --help", CHOICES[found[1]].replace(" ", " | ")) if found and found[1] in CHOICES else line
