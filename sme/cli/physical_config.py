"""From a configuration in torch's terms to a diagnosis, a report of the regime, SVAG, scaling rules or patterns of Adam."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from omegaconf import DictConfig

from sme.cli.config import build, checked, group, no_use, only, repeated, values_of
from sme.common.errors import SMEError, choose, reason
from sme.common.identity import recipe
from sme.common.inputs import flag, instance, several, short, whole
from sme.optimizers.hyperparameters import BETAS, Hyperparameters
from sme.optimizers.imported.by_name import library
from sme.problems.base import Problem
from sme.problems.networks.network import Network
from sme.studies.diagnosis.report import Diagnosis
from sme.studies.diagnosis.run import diagnose
from sme.studies.phases.run import Phases, phases
from sme.studies.regime.run import RegimeReport, regime_report
from sme.studies.scaling.report import Collapse
from sme.studies.scaling.rounds import Rounds, rounds
from sme.studies.scaling.run import collapse
from sme.studies.svag.run import SVAGStudy, svag_study

MADE = {"module": "a torch module", "data": "(inputs, targets)"}
"""what a diagnosis is of, where it is no problem of this package"""
TORCH = ("lr", "betas", "momentum", "alpha", "eps", "weight_decay")
"""hyperparameters of the classes of torch.optim"""


def examine(config: DictConfig) -> RegimeReport:
    """The regime report that a configuration describes, computed and saved."""
    problem, hyperparameters, theta, values = _physical(config, regime_report)
    torch.set_num_threads(1)  # one path: threads only get in each other's way
    return regime_report(problem, hyperparameters, theta, **values)


def approach(config: DictConfig) -> SVAGStudy:
    """The study of SVAG that a configuration describes, computed and saved."""
    problem, hyperparameters, theta, values = _physical(config, svag_study)
    return svag_study(problem, hyperparameters, theta, **values)


def rescale(config: DictConfig) -> Collapse | Rounds:
    """The runs at several batch sizes that a configuration describes, or its rounds, computed and saved."""
    values = _settings(config, collapse, ("batch", "optimizers", "steps", "paths", "rates", "trained"))
    several_of, steps, values["runs"] = values.pop("optimizers"), values.pop("steps"), whole("paths", values.pop("paths"), 4)
    if not isinstance(several_of, dict) or not all(isinstance(given, dict | None) for given in several_of.values()):
        raise SMEError(f"optimizers must be a group of optimizers with their hyperparameters, got {short(several_of)}")
    problem, theta = _with_batch(values)
    hyperparameters = [_read(name, {**given, "steps": steps}) for name, given in several_of.items() if given is not None]
    rates, trained = values.pop("rates", None), values.pop("trained", None)
    if rates is None and trained is None:
        return collapse(problem, hyperparameters, theta, **values)
    if rates is None or trained is None:
        raise SMEError("rates and trained go together: give the learning rates of the rounds and the steps before each, as "
                       "rates=[1e-3,5e-4] trained=[0,400], or neither")
    if len(hyperparameters) != 1:
        raise SMEError(f"rounds are of one optimizer, got {', '.join(each.optimizer for each in hyperparameters)}: give null for "
                       "the others, as optimizers.sgd=null")
    factors = [whole("kappa", each, 1) for each in several(values.pop("kappa"))]
    largest = max(factors, default=1)
    if any(1 < each < largest for each in factors):
        raise SMEError(f"rounds compare one kappa with 1, got {factors}: give one, such as kappa=[{largest}]")
    values.pop("rules")
    return rounds(problem, hyperparameters[0], theta, rates=rates, trained=trained, kappa=largest, **values)


def chart(config: DictConfig) -> Phases:
    """The diagram of patterns that a configuration describes, computed and saved."""
    values = _settings(config, phases, ())
    problem, theta = _with_batch(values)
    torch.set_num_threads(1)  # as a worker process has: any number of processes gives the same digits
    return phases(problem, theta, **values)


def diagnosed(config: DictConfig) -> Diagnosis:
    """The diagnosis of a run that a configuration describes, computed and saved."""
    own = ("problem", "start", "module", "data", "loss", "torch", *TORCH, "clip", "batch", "steps", "compared", "baseline",
           "certificate", "results")
    values = checked(config, own)
    module, data = (_there(name, values[name]) for name in MADE)
    if (module is None) != (data is None):
        raise SMEError("module and data go together: give both, as module=mine.net data=mine.data, or neither for problem's")
    if module is None:
        net = build("problem", group("problem", values["problem"]), Problem)
        if not isinstance(net, Network):
            raise SMEError(f"problem must be a network, such as problem=digits, got {net.name}: or give module and data of yours")
        module, data, values["loss"] = net.model.module.requires_grad_(True), (net.inputs, net.targets), net.losses
    instance("module", module, torch.nn.Module, MADE["module"], "give module=mine.net, say")
    optimizer = library(values["torch"], list(module.parameters()), {name: values[name] for name in TORCH})
    torch.set_num_threads(1)
    return diagnose(module, data, values["loss"], optimizer, clip=values["clip"], batch_size=values["batch"],
                    steps=values["steps"], compared=values["compared"], baseline=values["baseline"], results=values["results"],
                    certificate=flag("certificate", values["certificate"]))


def _there(name: str, given: Any) -> Any:
    """What a dotted path names, or what the function there makes; None of None."""
    if given is None:
        return None
    recipe.here()
    found = recipe.located(given)
    if not callable(found) or isinstance(found, torch.nn.Module):
        return found
    try:
        return found()
    except (Exception, SystemExit) as fault:
        raise SMEError(f"{name}={given} cannot be made: {reason(fault)}; give the dotted path of {MADE[name]}, or of a function "
                       "without arguments that makes it") from fault


def _settings(config: DictConfig, task: Callable[..., Any], own: Sequence[str]) -> dict[str, Any]:
    """All settings: arguments of a task by keyword, and in place of the others its own ones in torch's terms."""
    values, own = values_of(config), ("problem", "start", *own)
    keywords = [name for name, each in inspect.signature(task).parameters.items() if each.kind is each.KEYWORD_ONLY]
    only(values, own, keywords)
    for name in ("problem", "start"):
        group(name, values[name])
    return values


def _physical(config: DictConfig, task: Callable[..., Any]) -> tuple[Problem, Hyperparameters, torch.Tensor, dict[str, Any]]:
    """Problem, hyperparameters and start, and the other settings, of a configuration in torch's terms."""
    names = ("lr", "beta1", "beta2", "eps", "weight_decay")
    values = _settings(config, task, ("batch", "torch", *names))
    problem, theta = _with_batch(values)
    given = {each: values.pop(each) for each in names}
    given["batch_size"] = getattr(problem.noise, "batch_size", None)
    return problem, _read(values.pop("torch"), given), theta, values


def _with_batch(values: dict[str, Any]) -> tuple[Problem, torch.Tensor]:
    """The problem, with the batch size if one is given, and where it starts."""
    batch, sized = values.pop("batch", None), "batch_size" in values["problem"]
    if batch is not None and sized:
        values["problem"]["batch_size"] = whole("batch", batch, 1)
    start, problem = values.pop("start"), build("problem", values.pop("problem"), Problem)
    no_use(start, ("theta",), "only theta is given here, as averages start where the optimizer has them start")
    theta = start.get("theta")
    if batch is not None and not (sized and hasattr(problem.noise, "batch_size")):
        raise SMEError(f"batch = {batch!r} has no meaning for this problem, whose noise is no minibatch's: leave it out")
    if theta is None and "theta" not in problem.start:
        raise SMEError("start.theta is missing: say where the parameters start")
    return problem, problem.start["theta"] if theta is None else repeated("theta", theta, problem.dim)


def _read(name: str, given: dict[str, Any]) -> Hyperparameters:
    """Hyperparameters, a β that is not given being torch's default."""
    choose("optimizer of torch", name, BETAS)
    allowed = inspect.signature(Hyperparameters).parameters
    for setting in given:
        choose(f"hyperparameter of {name}", setting, [each for each in allowed if each != "optimizer"])
    defaults = {"beta1": 0.9, "beta2": 0.99 if name == "rmsprop" else 0.999}
    betas = {beta: defaults[beta] for beta in BETAS[name] if given.get(beta) is None}
    return Hyperparameters(name, **{**given, **betas})
