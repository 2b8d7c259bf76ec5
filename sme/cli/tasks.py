"""What each script does with its settings; `_target_` in `conf/` names one of these."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sme.cli import again, config, sweeps
from sme.cli.command import Settings
from sme.cli.config import build, checked, only, values_of
from sme.common.errors import SMEError, choose
from sme.common.identity import recipe
from sme.common.inputs import flag, several, short, whole
from sme.convergence import collect as tables
from sme.convergence.api import load
from sme.convergence.cost.plan import Plan
from sme.convergence.output import beside
from sme.convergence.output import page as pages
from sme.equations.formula import formula as formulas
from sme.optimizers.base import Optimizer

GROWING = ("tau", "paths", "seed", "processes", "order", "tolerance", "budget_s")
"""settings of a study that is extended"""
PAGE = "report.html"
"""of a folder of results, in it"""
COMPARING = ("tau", "paths", "seed", "processes")


class Answer(NamedTuple):
    """What a task says: all of it, and in one line for a job of a multirun."""

    text: str
    line: str


def weak_error(settings: Settings) -> Answer:
    """`sme.weak_error`, or with `plan=true` what it would cost."""
    made = config.run(settings)
    if isinstance(made, Plan):
        return _plain(str(made))
    tables.join(settings.results)
    if made.folder is not None:
        sweeps.note(made.folder)
    verdicts = made.slopes["verdict"].value_counts()
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    return Answer(f"\n{made}\n\nin {made.folder}", f"{made.folder}: {counts or 'no slopes, as one step size has none'}")


def formula(settings: Settings) -> Answer:
    """`sme.formula`, as text and as LaTeX."""
    values = checked(settings, ("optimizer", "regime", "driver", "brownian", "order", "elementwise", "gaussian"))
    optimizer = build("optimizer", values["optimizer"], Optimizer)
    made = formulas.formula(optimizer, values["regime"], values["brownian"], whole("order", values["order"], 1, 2),
                            flag("elementwise", values["elementwise"]), flag("gaussian", values["gaussian"]), values["driver"])
    return _plain(f"{made}\n\n{made.latex}")


def study(settings: Settings) -> Answer:
    """A study that is there: shown, extended, or compared with another."""
    values = checked(settings, ("task", "study", "other", "style", "orders", *GROWING))
    task = choose("task", values["task"], ("show", "extend", "compare"))
    if values["study"] is None:
        raise SMEError("study is missing: give the folder of one, such as "
                       "study=results/adam-ballistic-quadratic-independent-44ed0b05")
    given = {name: values[name] for name in GROWING if values[name] is not None}
    takes: Sequence[str] = {"show": (), "extend": GROWING, "compare": COMPARING}[task]
    for name in given:
        if name not in takes and not (name == "processes" and task == "show"):
            raise SMEError(f"{name} is no setting of task={task}: it takes {', '.join(takes) or 'style'}")
    recipe.here()
    found, home = load(values["study"]), Path(values["study"])
    if task == "show":
        return _plain(found.text(values["style"]))
    if task == "extend":
        made = found.extend(**given)
        tables.join(home.resolve().parent)
        return _plain(str(made))
    other = None if values["other"] is None else load(values["other"])
    orders = None if values["orders"] is None else [whole("an order", each, 1, 2) for each in several(values["orders"])]
    if orders is not None and len(orders) != 2:
        raise SMEError(f"orders must be two, of the first study's equation and of the other's, got {values['orders']!r}: "
                       "give orders=[1,2]")
    return _plain(str(found.compare(other, orders=orders, **given)))


def collect(settings: Settings) -> Answer:
    """Every table again from what is on disk."""
    values = checked(settings, ("results",))
    return _plain(tables.rebuild(place("results", values["results"])).to_string(index=False))


def page(settings: Settings) -> Answer:
    """One page of HTML of all studies of a folder."""
    values = checked(settings, ("results", "file"))
    results = place("results", values["results"])
    path = results / PAGE if values["file"] is None else place("file", values["file"])
    made = pages.write(tables.found(results), path, f"Studies in {values['results']}", again.words, beside.found(results))
    return _plain(f"in {made}")


def direct(study: Callable[..., Any], settings: Settings) -> Any:
    """A study's own function: its arguments are the settings, and what it returns is its report."""
    values, takes = values_of(settings), inspect.signature(study).parameters
    only(values, [name for name, each in takes.items() if each.default is each.empty], takes)
    return study(**values)


def place(name: str, given: Any) -> Path:
    """A folder that is read."""
    if not isinstance(given, str):
        raise SMEError(f"{name} must be the path of a folder, got {short(given)}: give it as text, and one that looks like a "
                       f"number in quotes of its own, {name}=\"'2024'\"")
    return Path(given)


def answer(made: Any) -> Answer:
    """What a task says of what it made, if it has not said it itself: the report, and its folder."""
    if isinstance(made, Answer):
        return made
    return _plain(str(made)) if made.folder is None else Answer(f"{made}\n\nin {made.folder}", str(made.folder))


def _plain(text: str) -> Answer:
    return Answer(text, next((line for line in text.splitlines() if line.strip()), ""))
