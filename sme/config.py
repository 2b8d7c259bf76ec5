"""From a Hydra configuration to a study, to trajectories or to a report; with `sme.command` all that knows Hydra."""

import inspect
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sme import recipe
from sme.collapse import Collapse, collapse
from sme.errors import SMEError, choose
from sme.hyperparameters import BETAS, Hyperparameters
from sme.inputs import number, several, whole
from sme.measure import weak_error
from sme.optimizers.base import Optimizer
from sme.plan import Plan, plan
from sme.problems.base import Problem
from sme.regime_report import RegimeReport, regime_report
from sme.study import Study
from sme.svag_study import SVAGStudy, svag_study
from sme.tracking import trajectories
from sme.trajectory import Trajectories

FIELDS = ("theta", "m", "v")
"""start values that a problem's configuration may give; an optimizer takes those of its fields"""
POWER = "power"
"""the resolver `${power:factor,base,exponent}` is factor · base^exponent, as a noise of √τ needs"""


def _power(*given: Any) -> float:
    """`factor · base^exponent`."""
    if len(given) != 3:
        raise SMEError(f"${{{POWER}:…}} has {len(given)} parts: give factor, base and exponent, as ${{{POWER}:1,${{tau}},1/2}}")
    factor, base, exponent = (number(f"a part of ${{{POWER}:…}}", each) for each in given)
    return float(factor * base**exponent)


OmegaConf.register_new_resolver(POWER, _power, replace=True)


def run(config: DictConfig) -> Study | Plan:
    """The study that a configuration describes, computed and saved; or with `plan: true` what it would cost.

    Raises
    ------
    SMEError
        for bad input.
    """
    values, began = _values(config), time.process_time()
    planned = values.pop("plan", False)
    if not isinstance(planned, bool):
        raise SMEError(f"plan must be true or false, got {planned!r}: give true to see what the job would cost, or leave it out")
    if not planned:
        return weak_error(**_parts(values, weak_error))
    made = plan(**_parts(values, weak_error))
    return made if _in_multirun() else replace(made, starting=made.starting + began)  # what this process took to get here


def draw(config: DictConfig) -> Trajectories:
    """The trajectories that a configuration describes, computed and saved.

    Raises
    ------
    SMEError
        for bad input.
    """
    return trajectories(**_parts(_values(config), trajectories))


def examine(config: DictConfig) -> RegimeReport:
    """The regime report that a configuration describes, computed and saved.

    Raises
    ------
    SMEError
        for bad input.
    """
    problem, hyperparameters, theta, values = _physical(config, regime_report)
    torch.set_num_threads(1)  # one path: threads only get in each other's way
    return regime_report(problem, hyperparameters, theta, **values)


def approach(config: DictConfig) -> SVAGStudy:
    """The study of SVAG that a configuration describes, computed and saved.

    Raises
    ------
    SMEError
        for bad input.
    """
    problem, hyperparameters, theta, values = _physical(config, svag_study)
    return svag_study(problem, hyperparameters, theta, **values)


def rescale(config: DictConfig) -> Collapse:
    """The runs at several batch sizes that a configuration describes, computed and saved.

    Raises
    ------
    SMEError
        for bad input.
    """
    values = _settings(config, collapse, ("torch", "steps"))
    several_of, steps = values.pop("torch"), values.pop("steps")
    if not isinstance(several_of, dict) or not all(isinstance(given, dict) for given in several_of.values()):
        raise SMEError(f"torch must be a group of optimizers with their hyperparameters, got {several_of!r}")
    problem, theta = _with_batch(values)
    hyperparameters = [_read(name, {**given, "steps": steps}) for name, given in several_of.items()]
    return collapse(problem, hyperparameters, theta, **values)


def _settings(config: DictConfig, task: Callable[..., Any], own: Sequence[str]) -> dict[str, Any]:
    """All settings: arguments of a task by keyword, and in place of the others its own ones in torch's terms."""
    values, own = _values(config), ("problem", "start", "batch", *own)
    keywords = [name for name, each in inspect.signature(task).parameters.items() if each.kind is each.KEYWORD_ONLY]
    for name in values:
        choose("setting", name, [*own, *keywords])
    for name in own:
        if name not in values:
            raise SMEError(f"{name} is missing: leave it out of the command for its default")
    for name in ("problem", "start"):
        if not isinstance(values[name], dict):
            raise SMEError(f"{name} must be a group of settings, got {values[name]!r}: leave it out for the default")
    return values


def _physical(config: DictConfig, task: Callable[..., Any]) -> tuple[Problem, Hyperparameters, torch.Tensor, dict[str, Any]]:
    """Problem, hyperparameters and start, and the other settings, of a configuration in torch's terms."""
    names = ("lr", "beta1", "beta2", "eps", "weight_decay")
    values = _settings(config, task, ("torch", *names))
    problem, theta = _with_batch(values)
    given = {each: values.pop(each) for each in names}
    given["batch_size"] = getattr(problem.noise, "batch_size", None)
    return problem, _read(values.pop("torch"), given), theta, values


def _with_batch(values: dict[str, Any]) -> tuple[Problem, torch.Tensor]:
    """The problem, with the batch size if one is given, and where it starts."""
    batch, sized = values.pop("batch"), "batch_size" in values["problem"]
    if batch is not None and sized:
        values["problem"]["batch_size"] = whole("batch", batch, 1)
    theta, problem = values.pop("start").get("theta"), _build("problem", values.pop("problem"), Problem)
    if batch is not None and not (sized and hasattr(problem.noise, "batch_size")):
        raise SMEError(f"batch = {batch!r} has no meaning for this problem, whose noise is no minibatch's: leave it out")
    if theta is None and "theta" not in problem.start:
        raise SMEError("start.theta is missing: say where the parameters start")
    return problem, problem.start["theta"] if theta is None else _repeated("theta", theta, problem.dim)


def _read(name: str, given: dict[str, Any]) -> Hyperparameters:
    """Hyperparameters, a β that is not given being torch's default."""
    choose("optimizer of torch", name, BETAS)
    allowed = inspect.signature(Hyperparameters).parameters
    for setting in given:
        choose(f"hyperparameter of {name}", setting, [each for each in allowed if each != "optimizer"])
    defaults = {"beta1": 0.9, "beta2": 0.99 if name == "rmsprop" else 0.999}
    betas = {beta: defaults[beta] for beta in BETAS[name] if given.get(beta) is None}
    return Hyperparameters(name, **{**given, **betas})


def _values(config: DictConfig) -> dict[str, Any]:
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    values.pop("experiment", None)
    return values


def _parts(values: dict[str, Any], task: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a task."""
    settings = inspect.signature(task).parameters
    for name in values:
        choose("setting", name, settings)
    for name in ("problem", "optimizer", "start"):
        if not isinstance(values.get(name), dict):
            raise SMEError(f"{name} must be a group of settings, got {values.get(name)!r}: leave it out for the default")
    if str(Path.cwd()) not in sys.path:  # modules of the user's own lie where the command is given
        sys.path.insert(0, str(Path.cwd()))
    problem = _build("problem", values.pop("problem"), Problem)
    optimizer = _build("optimizer", values.pop("optimizer"), Optimizer)
    given = values.pop("start")
    for field in given:
        choose("field in start", field, (*FIELDS, *optimizer.fields))
    start = {field: _repeated(field, given[field], problem.dim) for field in optimizer.fields if given.get(field) is not None}
    values["observables"] = _observables(values.get("observables"))
    if (share := _share()) is not None:
        torch.set_num_threads(1)  # this process is the launcher's, and others work beside it
        if values.get("processes") == "auto":
            values["processes"] = share
    for name in ("tau", "results"):
        if values.get(name) is None:
            raise SMEError(f"{name} is missing: leave it out of the command for its default")
    return {"problem": problem, "optimizer": optimizer, "start": start, **values}


def _build(part: str, node: dict[str, Any], kind: type) -> Any:
    """The part that a group of settings describes."""
    target = node.get(recipe.TARGET)
    if target is None:
        raise SMEError(f"{part} has no {recipe.TARGET}: give the dotted path of yours, such as {part}.{recipe.TARGET}=mine.Mine, "
                       f"or one of the options of {part}")
    made_by = recipe.located(target)
    allowed = inspect.signature(made_by).parameters
    for name in node:
        if name != recipe.TARGET and not any(each.kind is each.VAR_KEYWORD for each in allowed.values()):
            choose(f"setting of {made_by.__name__}", name, allowed)
    try:
        made = instantiate(node, _convert_="all")
    except HydraException as fault:
        cause: BaseException = fault
        while not isinstance(cause, SMEError) and (deeper := cause.__cause__ or cause.__context__) is not None:
            cause = deeper
        if isinstance(cause, SMEError):
            raise cause from None
        raise SMEError(f"cannot make {target}: {cause}; it takes {', '.join(allowed)}, as {part}.name=value, or where the option "
                       f"has none of that name as +{part}.name=value") from None
    if not isinstance(made, kind):
        raise SMEError(f"{target} makes a {type(made).__name__}: the {part} must be an sme.{kind.__name__}")
    if isinstance(made, Problem):
        made.recipe = node  # a function that makes a problem is no part of it
    return made


def _observables(given: Any) -> Any:
    """Built-in names as they are; dotted paths as the functions that they name, called by their last part."""
    if given is None:
        return None
    named = given if isinstance(given, dict) else {str(name).rpartition(".")[2]: str(name) for name in several(given)}
    return {name: recipe.located(value) if "." in value else value for name, value in named.items()}


def _repeated(field: str, given: Any, dim: int) -> torch.Tensor:
    values = [number(f"start.{field}", value) for value in several(given)]
    if not values or len(values) > dim:
        raise SMEError(f"start.{field} has {len(values)} values, but the problem has dim = {dim}: give 1 to {dim}")
    return torch.tensor(list(islice(cycle(values), dim)), dtype=torch.float64)


def _in_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _share() -> int | None:
    """The processors of a job that a launcher runs beside others, as many as it was told, or one; None for a job by itself."""
    here = HydraConfig.get() if HydraConfig.initialized() else None
    if here is None or here.mode is not RunMode.MULTIRUN or "basic" in str(here.launcher["_target_"]):
        return None
    return OmegaConf.select(here.launcher, "cpus_per_task") or 1
