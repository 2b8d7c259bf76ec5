"""From a configuration to the studies beside the weak error: surveys of models, orders, laws, and smaller ones."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from sme.cli import config, tasks
from sme.cli.command import Settings
from sme.cli.config import build, checked, group, only, started
from sme.common.errors import SMEError, choose
from sme.common.inputs import flag, number, several, short, whole
from sme.common.output.report import Report
from sme.convergence.spec import effort
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.studies.autoencoder import run as autoencoder_run
from sme.studies.autoencoder.report import Autoencoder
from sme.studies.certificate.report import Certificate
from sme.studies.certificate.run import certify
from sme.studies.importance import run as importance_run
from sme.studies.interpolation import run as interpolation_run
from sme.studies.interpolation.report import Interpolation
from sme.studies.known_answers import run as known_answers_run
from sme.studies.models.cases import Case
from sme.studies.models.run import Survey, survey
from sme.studies.orders import by_law
from sme.studies.orders.report import ModelOrders, OneOrder, Orders
from sme.studies.orders.run import catalogue, modelled
from sme.studies.panels import run as panels_run
from sme.studies.published import run as published_run
from sme.studies.published.report import Published
from sme.studies.stationary import run as stationary_run
from sme.studies.stationary.report import StationaryLaws

ORDERS: dict[str, Callable[[list[str], int, Path | None], Report]] = {
    "orders": lambda names, processes, folder: Orders(catalogue(names, processes), folder=folder),
    "models": lambda names, processes, folder: ModelOrders(modelled(names, processes), folder=folder),
    "laws": by_law.tables}
TABLES = ("table", "optimizers", "processes")
ONE = ("model", "problem", "optimizer", "start", "regime", "order", "driver", "brownian", "horizon")
"""settings of `check_order` for its tables, and for one equation"""
SETTINGS = ("parts", "observables", "seed", "processes", "results")
GROUPS = ("problems", "optimizers", "models")
PART = (*GROUPS, "regimes", "tau", "horizon", "paths", "few", "substeps")
READERS: dict[str, Callable[[Any], Any]] = {
    "results": effort.folder, "tau": lambda given: [number("tau", each) for each in several(given)],
    "processes": lambda given: effort.processes(given, "cpu"),
    "differences": lambda given: None if given is None else several(given)}
"""how settings of several tables are read; others are whole numbers from 1 on"""


def compare_models(settings: Settings) -> Survey:
    """The survey that a configuration describes, computed and saved."""
    values = checked(settings, SETTINGS)
    if not isinstance(values["parts"], dict) or not values["parts"]:
        raise SMEError(f"parts must be a group of groups of settings, got {short(values['parts'])}: leave it out for the default")
    cases = [case for name, part in values["parts"].items() for case in _cases(name, part, values["observables"])]
    torch.set_num_threads(1)  # processes share the work
    return survey(cases, seed=values["seed"], processes=values["processes"], results=values["results"])


def _cases(name: str, part: Any, observables: Any) -> list[Case]:
    """Every problem, optimizer and regime of a part."""
    place, cases = f"parts.{name}.", []
    only(group(f"parts.{name}", part), PART, place=f"parts.{name}")
    for each in GROUPS:
        group(place + each, part[each])
    flag(f"{place}few", part["few"])
    models = {model: tuple(several(orders)) for model, orders in part["models"].items()}
    for problem_name, given in part["problems"].items():
        at = f"{place}problems.{problem_name}"
        for setting in group(at, given):
            choose(f"setting of {at}", setting, ("problem", "start"))
        problem, values = build(f"{at}.problem", given.get("problem"), Problem), group(f"{at}.start", given.get("start") or {})
        for optimizer_name, node in part["optimizers"].items():
            optimizer = build(f"{place}optimizers.{optimizer_name}", node, Optimizer)
            start = started(values, optimizer.fields, problem.dim, f"{at}.start")
            for regime in several(part["regimes"]):
                cases.append(Case(
                    problem_name, problem, optimizer, regime, start, models,
                    tuple(number("tau", tau) for tau in several(part["tau"])), number("horizon", part["horizon"]),
                    None if observables is None else tuple(several(observables)), part["paths"], part["few"], part["substeps"]))
    return cases


def check_order(settings: Settings) -> tasks.Answer:
    """Orders by the one-step test, of all equations, models or laws of the noise; or of one equation, what is wrong with it."""
    values = checked(settings, (*TABLES, *ONE, "results"))
    for name in config.named() & {*(TABLES if values["model"] is not None else ONE)}:
        raise SMEError(f"{name} has no use {'beside' if values['model'] is not None else 'without'} model: a table has "
                       f"{', '.join(TABLES)} and smoke=true, one equation, model=mine.paper, has {', '.join(ONE[1:])}")
    folder = effort.place(values["results"])
    if values["model"] is not None:
        made = OneOrder(config.one_order(values), folder=folder).saved()
        return tasks.Answer(made.found.report, made.title)
    task, names = ORDERS[choose("table", values["table"], ORDERS)], values["optimizers"]
    given = [] if names is None else [str(each) for each in several(names)]
    if names is not None and not any(given):
        raise SMEError(f"optimizers is empty, got {short(names)}: give names, as optimizers=[rmsprop,adam], or null for all")
    return tasks.answer(task(given, effort.processes(values["processes"], "cpu"), folder).saved())


def certified(settings: Settings) -> Certificate:
    """The certificate that a configuration describes, computed and saved."""
    values = config.arguments(config.values_of(settings), certify)
    torch.set_num_threads(1)  # many small operations
    return certify(**{**values, "models": None if values["models"] is None else several(values["models"])})


def importance(settings: Settings) -> tasks.Answer:
    """The gain of examples drawn by the size of their gradients."""
    values = checked(settings, ("problem", "optimizer", "start", "tau", "horizon", "paths", "seed", "results", "processes"))
    problem, optimizer = build("problem", values["problem"], Problem), build("optimizer", values["optimizer"], Optimizer)
    start = started(group("start", values["start"]), optimizer.fields, problem.dim)
    found = importance_run.gain(
        problem, optimizer, tau=number("tau", values["tau"]), horizon=number("horizon", values["horizon"]), start=start,
        paths=values["paths"], seed=values["seed"], results=effort.place(values["results"]), processes=values["processes"])
    return tasks.answer(found)


def autoencoder(settings: Settings) -> tasks.Answer:
    """Adam, RMSProp and Nesterov's momentum on an autoencoder."""
    folder, examples, hidden, steps, paths, processes = _read(
        settings, "results", "examples", "hidden", "steps", "paths", "processes")
    made = autoencoder_run.race({"examples": examples, "hidden": hidden}, steps, paths, processes=processes)
    return tasks.answer(Autoencoder(made, folder=folder).saved())


def interpolation(settings: Settings) -> tasks.Answer:
    """AdaBayes between SGD and Adam."""
    folder, *asked = _read(settings, "results", "tau", "paths")
    return tasks.answer(Interpolation(interpolation_run.measure(*asked), folder=folder).saved())


def published(settings: Settings) -> tasks.Answer:
    """What the differences between the published second-order equations and ours cost."""
    folder, *asked = _read(settings, "results", "tau", "paths", "processes", "differences")
    return tasks.answer(Published(published_run.measure(*asked), folder=folder).saved())


def stationary(settings: Settings) -> tasks.Answer:
    """Stationary variances of every rule."""
    most = {"paths": lambda given: whole("paths", given, 2, 2**24)}
    folder, paths, processes = _read(settings, "results", "paths", "processes", **most)
    return tasks.answer(StationaryLaws(stationary_run.measure(paths, processes), paths, folder=folder).saved())


def known_answers(settings: Settings) -> tasks.Answer:
    """Weak errors to test other programs by."""
    folder, tau, paths, processes = _read(settings, "results", "tau", "paths", "processes")
    found = known_answers_run.measure(tau, paths, processes)
    return tasks.answer(known_answers_run.KnownAnswers(found, paths, folder=folder).saved())


def _read(settings: Settings, *names: str, **own: Callable[[Any], Any]) -> list[Any]:
    """The settings of these names, which are all that there are, each by its reader; `own` are readers in place of those."""
    values, readers = checked(settings, names), {**READERS, **own}
    return [readers[name](values[name]) if name in readers else whole(name, values[name], 1) for name in names]


def panels(settings: Settings) -> tasks.Answer:
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
    studies = None if values["studies"] is None else tasks.place("studies", values["studies"])
    given_conditions = values["conditions"] or ()
    conditions = [given_conditions] if isinstance(given_conditions, str) else list(map(str, several(given_conditions)))
    made = begin(tasks.place("results", values["results"]), str(name), conditions, given, studies)
    return tasks.answer(made)
