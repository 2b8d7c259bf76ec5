"""What each script does with its settings; `_target_` in `conf/` names one of these."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sme.cli import again, config, sweeps
from sme.cli.command import Settings
from sme.cli.config import FIELDS, build, checked, group, only, repeated, values_of
from sme.common.errors import SMEError, choose
from sme.common.identity import recipe
from sme.common.inputs import flag, number, several, short, whole
from sme.common.output.report import Report
from sme.convergence import collect as tables
from sme.convergence.api import load
from sme.convergence.cost.plan import Plan
from sme.convergence.output import page as pages
from sme.convergence.spec import effort
from sme.equations.formula import formula as formulas
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.studies.autoencoder import run as autoencoder_run
from sme.studies.autoencoder.report import Autoencoder
from sme.studies.importance import run as importance_run
from sme.studies.interpolation import run as interpolation_run
from sme.studies.interpolation.report import Interpolation
from sme.studies.known_answers import run as known_answers_run
from sme.studies.orders import by_law
from sme.studies.orders.report import ModelOrders, OneOrder, Orders
from sme.studies.orders.run import catalogue, modelled
from sme.studies.panels import run as panels_run
from sme.studies.published import run as published_run
from sme.studies.published.report import Published
from sme.studies.stationary import run as stationary_run
from sme.studies.stationary.report import StationaryLaws

ORDERS: dict[str, Callable[[list[str], int, Path | None], Report]] = {
    "orders": lambda names, processes, folder: Orders(catalogue(names, processes), folder),
    "models": lambda names, processes, folder: ModelOrders(modelled(names, processes), folder),
    "laws": by_law.tables}
TABLES = ("table", "optimizers", "processes")
ONE = ("model", "problem", "optimizer", "start", "regime", "order", "brownian", "horizon")
"""settings of `check_order` for its tables, and for one equation"""
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


def check_order(settings: Settings) -> Answer:
    """Orders by the one-step test, of all equations, models or laws of the noise; or of one equation, what is wrong with it."""
    values = checked(settings, (*TABLES, *ONE, "results"))
    for name in config.named() & {*(TABLES if values["model"] is not None else ONE)}:
        raise SMEError(f"{name} has no use {'beside' if values['model'] is not None else 'without'} model: a table has "
                       f"{', '.join(TABLES)} and smoke=true, one equation, model=mine.paper, has {', '.join(ONE[1:])}")
    folder = _folder(values["results"])
    if values["model"] is not None:
        made = OneOrder(config.one_order(values), folder).saved()
        return Answer(made.found.report, made.title)
    task, names = ORDERS[choose("table", values["table"], ORDERS)], values["optimizers"]
    given = [] if names is None else [str(each) for each in several(names)]
    if names is not None and not any(given):
        raise SMEError(f"optimizers is empty, got {short(names)}: give names, as optimizers=[rmsprop,adam], or null for all")
    return answer(task(given, effort.processes(values["processes"], "cpu"), folder).saved())


def importance(settings: Settings) -> Answer:
    """The gain of examples drawn by the size of their gradients."""
    values = checked(settings, ("problem", "optimizer", "start", "tau", "horizon", "paths", "seed", "results", "processes"))
    problem, optimizer = build("problem", values["problem"], Problem), build("optimizer", values["optimizer"], Optimizer)
    for field in group("start", values["start"]):
        choose("field in start", field, (*FIELDS, *optimizer.fields))
    start = {field: repeated(field, value, problem.dim) for field, value in values["start"].items()
             if value is not None and field in optimizer.fields}
    found = importance_run.gain(
        problem, optimizer, tau=number("tau", values["tau"]), horizon=number("horizon", values["horizon"]), start=start,
        paths=values["paths"], seed=values["seed"], results=_folder(values["results"]), processes=values["processes"])
    return answer(found)


def autoencoder(settings: Settings) -> Answer:
    """Adam, RMSProp and Nesterov's momentum on an autoencoder."""
    values = checked(settings, ("steps", "paths", "examples", "hidden", "results", "processes"))
    sizes = {name: whole(name, values[name], 1) for name in ("steps", "paths", "examples", "hidden")}
    folder = effort.folder(values["results"])
    made = autoencoder_run.race({"examples": sizes["examples"], "hidden": sizes["hidden"]}, sizes["steps"], sizes["paths"],
                                processes=effort.processes(values["processes"], "cpu"))
    return answer(Autoencoder(made, folder).saved())


def interpolation(settings: Settings) -> Answer:
    """AdaBayes between SGD and Adam."""
    values = checked(settings, ("tau", "paths", "results"))
    folder = effort.folder(values["results"])
    table = interpolation_run.measure(_ladder(values["tau"]), whole("paths", values["paths"], 1))
    return answer(Interpolation(table, folder).saved())


def published(settings: Settings) -> Answer:
    """What the differences between the published second-order equations and ours cost."""
    values = checked(settings, ("tau", "paths", "differences", "results", "processes"))
    folder = effort.folder(values["results"])
    which = None if values["differences"] is None else several(values["differences"])
    table = published_run.measure(_ladder(values["tau"]), whole("paths", values["paths"], 1),
                                  effort.processes(values["processes"], "cpu"), which)
    return answer(Published(table, folder).saved())


def stationary(settings: Settings) -> Answer:
    """Stationary variances of every rule."""
    values = checked(settings, ("paths", "results", "processes"))
    paths, folder = whole("paths", values["paths"], 2, 2**24), effort.folder(values["results"])
    table = stationary_run.measure(paths, effort.processes(values["processes"], "cpu"))
    return answer(StationaryLaws(table, folder, paths).saved())


def known_answers(settings: Settings) -> Answer:
    """Weak errors to test other programs by."""
    values = checked(settings, ("tau", "paths", "results", "processes"))
    folder = effort.folder(values["results"])
    paths = whole("paths", values["paths"], 1)
    table = known_answers_run.measure(_ladder(values["tau"]), paths, effort.processes(values["processes"], "cpu"))
    return answer(known_answers_run.KnownAnswers(table, folder, paths).saved())


def formula(settings: Settings) -> Answer:
    """`sme.formula`, as text and as LaTeX."""
    values = checked(settings, ("optimizer", "regime", "brownian", "order", "elementwise", "gaussian"))
    optimizer = build("optimizer", values["optimizer"], Optimizer)
    made = formulas.formula(optimizer, values["regime"], values["brownian"], whole("order", values["order"], 1, 2),
                            flag("elementwise", values["elementwise"]), flag("gaussian", values["gaussian"]))
    return _plain(f"{made}\n\n{made.latex}")


def panels(settings: Settings) -> Answer:
    """Studies or trajectories side by side."""
    values = checked(settings, ("task", "name", "conditions", "results", "studies", "observables", "over"))
    task, name = values["task"], values["name"]
    if task is None or name is None:
        raise SMEError("task and name are missing: give task=errors or task=histograms, and name=… for the table and the picture")
    own: dict[str, Callable[..., Report]] = {"errors": panels_run.errors, "histograms": panels_run.histograms}
    begin, rest = own[choose("task", task, own)], {"errors": "observables", "histograms": "over"}
    if (other := values[rest["histograms" if task == "errors" else "errors"]]) is not None:
        raise SMEError(f"{other!r} is a setting of the other task: task={task} takes {rest[task]}")
    given: Sequence[Any] = () if values[rest[task]] is None else tuple(map(str, several(values[rest[task]])))
    studies = None if values["studies"] is None else _place("studies", values["studies"])
    given_conditions = values["conditions"] or ()
    conditions = [given_conditions] if isinstance(given_conditions, str) else list(map(str, several(given_conditions)))
    made = begin(_place("results", values["results"]), str(name), conditions, given, studies)
    return answer(made)


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
    found, place = load(values["study"]), Path(values["study"])
    if task == "show":
        return _plain(found.text(values["style"]))
    if task == "extend":
        made = found.extend(**given)
        tables.join(place.resolve().parent)
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
    return _plain(tables.rebuild(_place("results", values["results"])).to_string(index=False))


def page(settings: Settings) -> Answer:
    """One page of HTML of all studies of a folder."""
    values = checked(settings, ("results", "file"))
    results = _place("results", values["results"])
    path = results / PAGE if values["file"] is None else _place("file", values["file"])
    made = pages.write(tables.found(results), path, f"Studies in {values['results']}", again.words)
    return _plain(f"in {made}")


def direct(study: Callable[..., Any], settings: Settings) -> Any:
    """A study's own function: its arguments are the settings, and what it returns is its report."""
    values, takes = values_of(settings), inspect.signature(study).parameters
    only(values, [name for name, each in takes.items() if each.default is each.empty], takes)
    return study(**values)


def _folder(given: Any) -> Path | None:
    return None if given is None else effort.folder(given)


def _place(name: str, given: Any) -> Path:
    """A folder that is read."""
    if not isinstance(given, str):
        raise SMEError(f"{name} must be the path of a folder, got {short(given)}: give it as text, and one that looks like a "
                       f"number in quotes of its own, {name}=\"'2024'\"")
    return Path(given)


def _ladder(given: Any) -> list[float]:
    return [number("tau", each) for each in several(given)]


def answer(made: Any) -> Answer:
    """What a task says of what it made, if it has not said it itself: the report, and its folder."""
    if isinstance(made, Answer):
        return made
    return _plain(str(made)) if made.folder is None else Answer(f"{made}\n\nin {made.folder}", str(made.folder))


def _plain(text: str) -> Answer:
    return Answer(text, next((line for line in text.splitlines() if line.strip()), ""))
