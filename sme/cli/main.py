"""The one way in: `python scripts/x.py name=value …`, or `sme x name=value …` where there is no checkout."""

import functools
import re
import sys
from collections.abc import Sequence

from hydra.utils import get_method
from omegaconf import OmegaConf

from sme.cli import command, pages, spellings
from sme.common.errors import SMEError, choose, one_line

PLUMBING = ("hydra/hydra_logging=none", "hydra/job_logging=none", "hydra.output_subdir=null", "hydra.run.dir=.",
            "hydra.sweep.subdir=.")
"""no log files and no folders by the date: what a run leaves is in its results"""
SMOKE = "smoke"
"""`smoke=true`: the sizes of `conf/smoke/`, for a try of less than a minute"""
SHARE, LEAST = 8, 4
"""of an experiment's own count that is smaller than a quick try's, this part, but not fewer"""
ALONE = {"check_order": "model"}
"""a setting beside which a script has nothing to make smaller"""


def console() -> None:
    """`sme weak_error optimizer=adam`: the first word is the script."""
    names = scripts()
    first = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if first in ("--help", "-h"):
        print(pages.index(names))
        return
    try:
        name = choose("script", first.removesuffix(".py"), names)
    except SMEError as fault:
        print(f"error: {one_line(fault)}", file=sys.stderr)
        sys.exit(2)
    sys.argv[:2] = [f"{sys.argv[0]} {name}"]
    main(name)


def scripts() -> list[str]:
    """All that can be run: each has its settings in `conf/`."""
    return sorted(path.stem for path in command.CONF.glob("*.yaml"))


def main(name: str) -> None:
    """Run a script: read the arguments, and do the task that `conf/name.yaml` names."""
    given = sys.argv[1:]
    if {"--help", "-h"} & set(given):
        command.cli(lambda: print(pages.of(name)))
        return
    command.loaded(_target(name).rpartition(".")[0])  # all that takes long, before an interrupt is heard

    def begin() -> None:
        words = spellings.read(name, given)
        flags = [word for word in words if not _override(word)]
        sys.argv[1:] = [*flags, *_plumbing(name, words), *_smoke(name, words[len(flags):])]
        command.configured(name)(task)()

    begin.__wrapped__ = task  # type: ignore[attr-defined]
    command.cli(begin)


def task(settings: command.Settings) -> None:
    """Do what the configuration names, print what came out: in a multirun one line."""
    from sme.cli import config, tasks  # not for the pages of help, which know no more than the settings

    target = settings.get("_target_")
    if target not in map(_target, scripts()):
        raise SMEError(f"_target_ = {target} is no task of this package: leave it as it is")
    study = get_method(target)
    own = study.__module__.startswith("sme.cli.")
    answer = tasks.answer(study(settings) if own else tasks.direct(study, settings))
    print(one_line(answer.line) if config.in_multirun() else answer.text)


@functools.cache
def _target(name: str) -> str:
    """The task of a script: by its line alone, as all files take OmegaConf longer than some tasks."""
    text = (command.CONF / f"{name}.yaml").read_text(encoding="utf-8")
    return "".join(re.findall(r"(?m)^_target_: *(\S+)", text))


def _plumbing(name: str, words: Sequence[str]) -> list[str]:
    """What Hydra is told beside, unless it is told otherwise."""
    there = OmegaConf.load(command.CONF / f"{name}.yaml")
    sweep = ["hydra.sweep.dir=${results}/.hydra" if OmegaConf.select(there, "results") else "hydra.sweep.dir=."]
    named = {word.partition("=")[0].lstrip("+~") for word in words}
    return [each for each in (*PLUMBING, *sweep) if each.partition("=")[0] not in named]


def _override(word: str) -> bool:
    """Whether it is a setting, which Hydra wants behind all flags."""
    return ("=" in word and not word.startswith("-")) or word.startswith("~")


def _smoke(name: str, words: Sequence[str]) -> list[str]:
    """The words, after those of a quick try where one is asked for: what is given counts more."""
    asked = [word for word in words if word.partition("=")[0].lstrip("+") == SMOKE]
    rest = [word for word in words if word not in asked]
    if not asked:
        return rest
    if (value := asked[-1].partition("=")[2].lower()) not in ("true", "false"):
        raise SMEError(f"smoke must be true or false, got {value!r}: smoke=true is a try of less than a minute")
    if name in ALONE and any(word.partition("=")[0].lstrip("+") == ALONE[name] for word in rest):
        return rest
    quick: list[str] = list(OmegaConf.load(command.CONF / SMOKE / f"{name}.yaml"))  # type: ignore[arg-type]
    return [*_within(quick, rest), *rest] if value == "true" else rest


def _within(quick: Sequence[str], words: Sequence[str]) -> list[str]:
    """The quick try's words with counts below those of an experiment that has small ones, as of a network's paths, of which each
    takes long.
    """
    name = next((word.partition("=")[2] for word in words if word.startswith("experiment=")), "")
    place = command.CONF / "experiment" / f"{name}.yaml"
    own = OmegaConf.load(place) if place.is_file() else OmegaConf.create()

    def within(word: str) -> str:
        key, _, value = word.partition("=")
        count = OmegaConf.select(own, key)
        smaller = isinstance(count, int) and value.isdecimal() and count < int(value)
        return f"{key}={max(LEAST, count // SHARE)}" if smaller else word

    return [*map(within, quick)]
