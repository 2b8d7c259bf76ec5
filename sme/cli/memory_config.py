"""From a configuration to runs beside their memory equations, or to the table of published errors."""

import inspect
from typing import Any

import torch
from omegaconf import DictConfig

from sme.cli.config import checked, only
from sme.common.errors import SMEError, choose
from sme.common.inputs import number, several, short
from sme.common.output.report import Report
from sme.convergence.spec import effort
from sme.problems.base import Problem
from sme.problems.polynomial import Polynomial
from sme.simulate.integro.losses import regression
from sme.studies.ide import lagrangian
from sme.studies.ide import run as runs

SETTINGS = ("table", "results", "losses", "runs", "rates", "epochs", "velocities", "horizon")
TABLES = ("runs", "lagrangian")


def run(config: DictConfig) -> Report:
    """The table that a configuration asks for, computed and saved."""
    values = checked(config, SETTINGS)
    folder = effort.folder(values["results"]) / "ide"
    torch.set_num_threads(1)  # a few points at a time: threads only get in each other's way
    if choose("table", values["table"], TABLES) == "lagrangian":
        rates, velocities = ([number(name, each) for each in several(values[name])] for name in ("rates", "velocities"))
        table = lagrangian.measure(rates, velocities, several(values["epochs"]), number("horizon", values["horizon"]))
        return lagrangian.Lagrangian(table, folder=folder).saved()
    for name, kind, word in (("losses", dict, "group"), ("runs", list, "list")):
        if not isinstance(values[name], kind) or not values[name]:
            raise SMEError(f"{name} must be a {word} with entries, got {short(values[name])}: leave it out for the default")
    table, curves = runs.measure({name: _loss(name, given) for name, given in values["losses"].items()}, values["runs"])
    return runs.Runs(table, curves, folder=folder).saved()


def _loss(name: str, given: Any) -> Problem:
    """A polynomial by its coefficients, or a regression by its settings."""
    if not isinstance(given, dict):
        return Polynomial(given, noise=0.0)
    only(given, inspect.signature(regression).parameters, place=f"losses.{name}")
    return regression(**given)
