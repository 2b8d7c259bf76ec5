"""How settings were written before there was one way: read for one version more, with a line that says the new form."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from omegaconf import OmegaConf

from sme.cli import command
from sme.common.errors import SMEError, warn


class Spelling(NamedTuple):
    """Of one script."""

    words: tuple[str, ...] = ()
    """the settings that bare words were, in their order; a last one with `*` took all that were left"""
    renamed: Mapping[str, str] = {}
    """old name of a setting or flag → what it is now; one with `=` is a flag without a value"""


SPELLINGS = {
    "autoencoder": Spelling(renamed={"seeds": "paths"}),
    "check_order": Spelling(("optimizers*",), {"models": "table=models", "laws": "table=laws"}),
    "collect": Spelling(("results",)),
    "importance": Spelling(renamed={"batch": "problem.batch_size", "examples": "problem.examples", "start": "start.theta"}),
    "panels": Spelling(("task", "name")),
    "regime": Spelling(renamed={"torch": "optimizer"}),
    "scaling": Spelling(renamed={"torch": "optimizers", "runs": "paths"}),
    "study": Spelling(("task", "study", "other")),
    "svag": Spelling(renamed={"torch": "optimizer"}),
}
INSIDE = {"regime": {"optimizer": "torch"}, "svag": {"optimizer": "torch"}}
"""settings that have another name inside, as Hydra would take this one for a group"""
OPEN = {"panels": "conditions"}
"""scripts that take settings of other names too, and the list that these become"""
LISTS = ("tau", "observables", "over", "order", "orders", "times")
"""settings that are lists where there is a comma"""
HYDRA = re.compile(r"-[a-z]+$|--(multirun|run|cfg|config-(path|name|dir)|package|resolve|info|hydra-help|version|"
                   r"shell-completion|experimental-rerun)(=|$)")
VALUED = ("-c", "--cfg", "-p", "--package", "-cp", "-cn", "-cd", "--config-path", "--config-name", "--config-dir", "-i", "--info")
"""flags of Hydra's own that may take the next word"""


def read(name: str, given: Sequence[str]) -> list[str]:
    """The arguments as `name=value`, and a warning where they were not.

    Raises
    ------
    SMEError
        for a word that has no setting, or a flag that there never was.
    """
    spelling = SPELLINGS.get(name, Spelling())
    settings = OmegaConf.load(command.CONF / f"{name}.yaml")
    known = [str(each) for each in settings if each not in ("defaults", *command.OWN)]
    flags, new, bare, further = list[str](), list[str](), list[str](), list[str]()
    words = list(given)
    while words:
        word = words.pop(0)
        if HYDRA.match(word):
            flags.append(word)
            if word in VALUED and words and "=" not in words[0]:
                flags.append(words.pop(0))
        elif word.startswith("--"):
            new += _flag(name, word[2:], words, spelling, known)
        elif re.match(r"[~+]*[\w/@.\-]+=", word) or word.startswith("~"):
            new += _setting(name, word, spelling, known, further)
        else:
            bare.append(word)
    there = {word.partition("=")[0] for word in new}
    new += _words(name, bare, [each for each in spelling.words if each not in there])
    if sorted([*flags, *new, *further]) != sorted(given):
        script = sys.argv[0] if sys.argv[0].startswith("sme ") else f"python {sys.argv[0]}"
        warn(f"write {script} {shlex.join([*flags, *new, *further])}: the form given here goes with the next version")
    if further:
        new.append(f"{OPEN[name]}=[{','.join(map(_quoted, further))}]")
    inside = INSIDE.get(name, {})
    return [*flags, *(f"{inside[first]}{rest}" if (first := re.match(r"\w*", word)[0]) in inside  # type: ignore[index]
                      and (rest := word[len(first):]) else word for word in new)]


def _flag(name: str, flag: str, words: list[str], spelling: Spelling, known: Sequence[str]) -> list[str]:
    """`--budget-s 60`, `--budget-s=60` or `--models`."""
    setting, equals, value = flag.partition("=")
    setting = setting.replace("-", "_")
    now = spelling.renamed.get(setting, setting)
    if "=" in now:
        return [now]
    if now.partition(".")[0] not in (*known, "problem", "optimizer", "start"):
        raise SMEError(f"--{flag} is no flag of {name}: write its settings as name=value, and see them all by --help")
    if not equals:
        if not words:
            raise SMEError(f"--{flag} has no value: write {now}=value")
        value = words.pop(0)
        while setting == "orders" and words and re.fullmatch(r"\d+", words[0]):
            value += f",{words.pop(0)}"
    return [f"{now}={_value(now, value)}"]


def _setting(name: str, word: str, spelling: Spelling, known: Sequence[str], further: list[str]) -> list[str]:
    """`name=value`, by its present name; of a script that takes any, others apart."""
    prefix, setting, rest = re.match(r"([~+]*)([^=]*)(.*)$", word, re.S).groups()  # type: ignore[union-attr]
    first, dot, inner = setting.partition(".")
    now = spelling.renamed.get(first, "=")
    if not {"=", "."} & set(now) and (first not in known or first in INSIDE.get(name, {}).values()):
        return [f"{prefix}{now}{dot}{inner}{rest}"]
    if name in OPEN and not prefix and first not in known and first not in ("hydra", "smoke"):
        further.append(word)
        return []
    return [word]


def _words(name: str, bare: Sequence[str], settings: Sequence[str]) -> list[str]:
    """Bare words, by their places."""
    new, left = list[str](), list(bare)
    for setting in settings:
        if not left:
            break
        if setting.endswith("*"):
            new.append(f"{setting[:-1]}=[{','.join(map(_quoted, left))}]")
            left = []
        else:
            new.append(f"{setting}={_quoted(left.pop(0))}")
    if left:
        raise SMEError(f"{left[0]!r} is no setting of {name}: write name=value, and see the settings by --help")
    return new


def _value(setting: str, value: str) -> str:
    """As Hydra reads it: a comma makes a list."""
    if setting in LISTS and "," in value and value[:1] not in "[{\"'":
        return f"[{','.join(_quoted(each.strip()) for each in value.split(','))}]"
    return value if value[:1] in ("[", "{") else _quoted(value)


def _quoted(value: str) -> str:
    """With quotes where Hydra would read something else than text."""
    if re.fullmatch(r"[\w./*|+\-]*", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
