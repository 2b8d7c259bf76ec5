"""How settings were written before there was one way: read for one version more, with a line that says the new form."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from sme.cli import command
from sme.common.errors import SMEError, choose, warn


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
GROUPS = ("optimizer", "problem", "start", "experiment")
"""settings that `conf/` has as folders"""
TEXTS = ("results", "studies", "study", "other", "name", "file")
"""settings that are text also where they look like a number"""
HYDRA = re.compile(r"-(m|r|c|p|i|sc|cp|cn|cd)$|--(multirun|run|cfg|config-(path|name|dir)|package|resolve|info|hydra-help|"
                   r"version|shell-completion|experimental-rerun)(=|$)")
VALUED = ("-c", "--cfg", "-p", "--package", "-cp", "-cn", "-cd", "--config-path", "--config-name", "--config-dir",
          "--experimental-rerun")
"""flags of Hydra's own that take the next word"""
SHOWING = {"cfg": ("job", "hydra", "all"), "info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")}
"""what those of Hydra's flags may be that have a choice"""
MULTIRUN = re.compile(r"hydra[/.](launcher|sweeper|sweep)\b")
"""settings that a single run does not read"""


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
    words, old = list(given), False
    while words:
        word = words.pop(0)
        if HYDRA.match(word):
            flags += _hydra(word, words)
        elif word.startswith("--"):
            new += _flag(name, word[2:], words, spelling, known)
            old = True
        elif _path(name, word, spelling, known):
            bare.append(word)
        elif re.match(r"[~+]*[\w/@.\-]+=", word) or word.startswith("~"):
            new += (now := _setting(name, word, spelling, known, further))
            old = old or now not in ([], [word])
        else:
            bare.append(word)
    there = {word.partition("=")[0] for word in new}
    new += _words(name, bare, [each for each in spelling.words if each.rstrip("*") not in there])
    if old or bare:
        script = sys.argv[0] if sys.argv[0].startswith("sme ") else f"python {sys.argv[0]}"
        warn(f"write {script} {shlex.join([*flags, *new, *further])}: the form given here goes with the next version")
    _warn_of_lost(flags, new)
    if further:
        new.append(f"{OPEN[name]}=[{','.join(map(_quoted, further))}]")
    groups = [each for each in GROUPS if any(each in default for default in OmegaConf.select(settings, "defaults") or ())]
    for prefix, group in (re.match(r"(\+*)([^=]*)", word).groups() for word in new):  # type: ignore[union-attr]
        if prefix and group in groups:
            raise SMEError(f"+{group}=… adds a second {group}, and there is one: write {group}=…, without the +")
    options = [each for each in GROUPS[:2] if each in groups]
    return [*flags, *(each for word in new for each in _own(_inside(name, word), options))]


def _hydra(flag: str, words: list[str]) -> list[str]:
    """A flag of Hydra's own with what it takes: in one line where that is wrong, as Hydra would print its whole usage."""
    word, equals, value = flag.partition("=")
    kind = {"-c": "cfg", "-i": "info"}.get(word, word.lstrip("-"))
    taken = [flag]
    if not equals and word in VALUED:
        if not words or words[0].startswith("-") or re.match(r"[\w.]+=", words[0]):
            raise SMEError(f"{flag} has no value: write {flag} {SHOWING.get(kind, ('VALUE',))[0]}")
        taken.append(value := words.pop(0))
    elif not equals and kind == "info":  # alone it is all of it, and Hydra would take what follows for its value
        value = words.pop(0) if words and "=" not in words[0] and words[0][0] not in "-~+" else SHOWING[kind][0]
        taken.append(value)
    if kind in SHOWING:
        choose(f"value of {word}", value, SHOWING[kind])
    return taken


def _path(name: str, word: str, spelling: Spelling, known: Sequence[str]) -> bool:
    """Whether a word with `=` is a folder's name in a place of bare words."""
    first = re.split(r"[=./@]", word.lstrip("~+"), maxsplit=1)[0]
    if not spelling.words or name in OPEN or first in (*known, "hydra", "smoke") or first in spelling.renamed:
        return False
    return "=" in word and (word.startswith(("/", "./", "../")) or Path(word).exists())


def _warn_of_lost(flags: Sequence[str], settings: Sequence[str]) -> None:
    """Nothing that is given is passed over in silence."""
    last = {word.partition("=")[0].lstrip("+"): word for word in settings if not word.startswith("~")}
    names = [word.partition("=")[0].lstrip("+") for word in settings if not word.startswith("~")]
    for each, word in last.items():
        if names.count(each) > 1:
            warn(f"{each} is given {names.count(each)} times, and the last one counts: {word}")
    multirun = {"-m", "--multirun"} & set(flags) or any("hydra.mode=" in word for word in settings)
    if not multirun and (unread := [word for word in settings if MULTIRUN.match(word.lstrip("+~"))]):
        warn(f"{', '.join(unread)} has no effect on a single run: add -m for a multirun")


def _own(word: str, groups: Sequence[str]) -> list[str]:
    """`optimizer=mine.MyOptimizer` is the option `own` with this path, `optimizer=torch.NAdam` the option `torch` of it."""
    group, _, path = word.partition("=")
    if group == "optimizer" and group in groups and (kind := re.fullmatch(r"torch(\.optim)?\.([A-Za-z_]\w*)", path)):
        return [f"{group}=torch", f"{group}.kind={kind[2]}"]
    if group not in groups or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", path):
        return [word]
    return [f"{group}=own", f"{group}._target_={path}"]


def _inside(name: str, word: str) -> str:
    """By the name that the setting has inside."""
    prefix, first, rest = re.match(r"([~+]*)(\w*)(.*)$", word, re.S).groups()  # type: ignore[union-attr]
    return f"{prefix}{INSIDE.get(name, {}).get(first, first)}{rest}"


def _flag(name: str, flag: str, words: list[str], spelling: Spelling, known: Sequence[str]) -> list[str]:
    """`--budget-s 60`, `--budget-s=60` or `--models`; shortened too, where that is one flag alone."""
    setting, equals, value = flag.partition("=")
    setting = setting.replace("-", "_")
    if setting and setting not in (*known, *spelling.renamed):
        longer = [each for each in (*known, *spelling.renamed) if each.startswith(setting)]
        setting = longer[0] if len(longer) == 1 else setting
    now = spelling.renamed.get(setting, setting)
    if "=" in now:
        if equals:
            raise SMEError(f"--{flag} takes no value: write {now}")
        return [now]
    if now.partition(".")[0] not in (*known, *GROUPS):
        raise SMEError(f"--{flag} is no flag of {name}: write its settings as name=value, and see them all by --help")
    if not equals:
        if not words or words[0].startswith("--") or re.match(rf"({'|'.join((*known, *GROUPS))})[.\w]*=", words[0]):
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
            new.append(f"{setting}={_text(left.pop(0))}")
    if left:
        raise SMEError(f"{left[0]!r} is no setting of {name}: write name=value, and see the settings by --help")
    return new


def _value(setting: str, value: str) -> str:
    """As Hydra reads it: a comma makes a list."""
    if setting in TEXTS:
        return _text(value)
    if setting in LISTS and "," in value and value[:1] not in "[{\"'":
        return f"[{','.join(_quoted(each.strip()) for each in value.split(','))}]"
    return value if value[:1] in ("[", "{") else _quoted(value)


def _text(value: str) -> str:
    """With quotes also where Hydra would read a number, a truth value or nothing."""
    if re.fullmatch(r"null|true|false|[+-]?(inf|nan)|[+-]?[\d._]+(e[+-]?\d+)?", value, re.I) and set(value) != {"."}:
        return f"'{value}'"
    return _quoted(value)


def _quoted(value: str) -> str:
    """With quotes where Hydra would read something else than text."""
    if re.fullmatch(r"[\w./*|+\-]*", value, re.ASCII):
        return value
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)  # a \ counts before ' alone
    return f"'{escaped}'"
