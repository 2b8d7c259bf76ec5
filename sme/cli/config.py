"""From a Hydra configuration to a study or to trajectories; with `sme.cli.command` all that knows Hydra."""

import inspect
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sme.common.errors import SMEError, choose, warn
from sme.common.identity import recipe
from sme.common.inputs import flag, instance, number, several
from sme.common.process import processes
from sme.common.process.blame import causes
from sme.convergence.api import weak_error
from sme.convergence.cost.plan import Plan, plan
from sme.convergence.study import Study
from sme.equations.order.check import check_order
from sme.equations.order.order_check import OrderCheck
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.simulate.observables import available
from sme.studies.trajectories.report import Trajectories
from sme.studies.trajectories.run import trajectories

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
    """The study that a configuration describes, computed and saved; or with `plan: true` what it would cost."""
    values, began = values_of(config), time.process_time()
    planned = values.pop("plan", False)
    if not flag("plan", planned):
        return weak_error(**arguments(values, weak_error))
    made = plan(**arguments(values, weak_error))
    return made if in_multirun() else replace(made, starting=made.starting + began)  # what this process took to get here


def checked(config: DictConfig, names: Sequence[str]) -> dict[str, Any]:
    """All settings as plain data, which are just these, or `SMEError` names one that is unknown or missing."""
    values = values_of(config)
    only(values, names)
    return values


def draw(config: DictConfig) -> Trajectories:
    """The trajectories that a configuration describes, computed and saved."""
    return trajectories(**arguments(values_of(config), trajectories))


def one_order(values: dict[str, Any]) -> OrderCheck:
    """What the one-step test says of the equation that settings name: at two states, or with a horizon at those of the run."""
    problem, optimizer = build("problem", values["problem"], Problem), build("optimizer", values["optimizer"], Optimizer)
    given, start, horizon = group("start", values["start"]), None, values["horizon"]
    if horizon is None:
        no_use(given, (), "without a horizon the states are two that stand for any")
    else:
        start = started(given, optimizer.fields, problem.dim)
    return check_order(problem, optimizer, values["regime"], values["order"], values["brownian"], model=values["model"],
                       start=start, horizon=horizon, driver=values["driver"])


def values_of(config: DictConfig) -> dict[str, Any]:
    """All settings as plain data, in a process that does not outlive the one that began it."""
    processes.follow_joblib()
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    values.pop("_target_", None)
    if isinstance(values.pop("experiment", None), dict):  # not its name, but what Hydra put below it
        chosen = HydraConfig.get().runtime.choices.get("experiment") if HydraConfig.initialized() else None
        raise SMEError(f"the file of experiment={chosen or '…'} lacks the line '# @package _global_', without which none of its "
                       "settings would hold: write it as the first line")
    return values


def arguments(values: dict[str, Any], task: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a task."""
    settings = inspect.signature(task).parameters
    for name in values:
        choose("setting", name, settings)
    for name in ("problem", "optimizer", "start"):
        group(name, values.get(name))
    problem = build("problem", values.pop("problem"), Problem)
    optimizer = build("optimizer", values.pop("optimizer"), Optimizer)
    given = values.pop("start")
    start = started(given, optimizer.fields, problem.dim)
    no_use(given, optimizer.fields, f"{optimizer.name} has {', '.join(optimizer.fields)}")
    values["observables"] = _observables(values.get("observables"), available(problem, optimizer))
    if (share := _share()) is not None:
        torch.set_num_threads(1)  # this process is the launcher's, and others work beside it
        if values.get("processes") == "auto":
            values["processes"] = share
    for name in ("tau", "results"):
        if values.get(name) is None:
            raise SMEError(f"{name} is missing: leave it out of the command for its default")
    return {"problem": problem, "optimizer": optimizer, "start": start, **values}


def only(given: Iterable[str], needed: Iterable[str], allowed: Iterable[str] = (), place: str = "") -> None:
    """Find a setting that is not one of these, or one that is needed and lacking, of a group if `place` names one.

    Raises
    ------
    SMEError
        naming it.
    """
    there, needed = list(given), list(needed)
    for name in there:
        choose(f"setting of {place}" if place else "setting", name, [*needed, *allowed])
    for name in needed:
        if name not in there:
            raise SMEError(f"{place + '.' if place else ''}{name} is missing: leave it out of the command for its default")


def group(name: str, given: Any) -> dict[str, Any]:
    """A group of settings."""
    return instance(name, given, dict, "a group of settings", "leave it out for the default")


def build(part: str, node: dict[str, Any], kind: type) -> Any:
    """The part that a group of settings describes."""
    target = group(part, node).get(recipe.TARGET)
    if target is None:
        raise SMEError(f"{part} has no {recipe.TARGET}: give the dotted path of yours, such as {part}.{recipe.TARGET}=mine.Mine, "
                       f"or one of the options of {part}")
    recipe.here()
    made_by = recipe.located(target)
    try:
        allowed = inspect.signature(made_by).parameters
    except (TypeError, ValueError):
        raise SMEError(f"{part}.{recipe.TARGET}={target} is no class or function that says what it takes: give the dotted path "
                       f"of one that makes an sme.{kind.__name__}") from None
    for name in node:
        if name != recipe.TARGET and not any(each.kind is each.VAR_KEYWORD for each in allowed.values()):
            choose(f"setting of {made_by.__name__}", name, allowed)
    try:
        made = instantiate(node, _convert_="all")
    except HydraException as fault:
        chain = list(causes(fault))
        cause = next((each for each in chain if isinstance(each, SMEError)), chain[-1])
        if isinstance(cause, SMEError):
            raise cause from None
        takes = (f"it takes {', '.join(allowed)}, as {part}.name=value, or where the option has none of that name as "
                 f"+{part}.name=value" if allowed else "it takes no settings")
        raise SMEError(f"cannot make {target}: {cause}; {takes}") from None
    if not isinstance(made, kind):
        raise SMEError(f"{target} makes a {type(made).__name__}: the {part} must be an sme.{kind.__name__}")
    if isinstance(made, Problem):
        made.recipe = node  # a function that makes a problem is no part of it
    return made


def _observables(given: Any, built_in: Iterable[str]) -> Any:
    """Built-in names as they are; dotted paths as the functions that they name.

    They are called by their last part; by the whole path where a built-in one or another of them has that name.
    """
    if given is None:
        return None
    paths = {} if isinstance(given, dict) else {str(path): str(path).rpartition(".")[2] for path in several(given)}
    taken = Counter(paths.values()) + Counter(name for name in built_in if name not in paths)
    named = given if isinstance(given, dict) else {path if taken[last] > 1 else last: path for path, last in paths.items()}
    return {name: recipe.located(value) if isinstance(value, str) and "." in value else value for name, value in named.items()}


def named() -> set[str]:
    """The settings that the command line gives, by the first part of their names."""
    if not HydraConfig.initialized():
        return set()
    words = OverridesParser.create().parse_overrides([str(text) for text in HydraConfig.get().overrides.task])
    return {each.key_or_group.partition(".")[0] for each in words}


def no_use(start: Mapping[str, Any], taken: Iterable[str], reason: str) -> None:
    """Find a field of a start that the command line gives, and no optimizer takes.

    Options and experiments serve several optimizers, and each takes its own fields of theirs; so does each job of a sweep.

    Raises
    ------
    SMEError
        naming it; a warning in a sweep.
    """
    if not HydraConfig.initialized():
        return
    named: set[str] = set()
    for each in OverridesParser.create().parse_overrides([str(text) for text in HydraConfig.get().overrides.task]):
        group_of, _, field = each.key_or_group.partition(".")
        if group_of == "start":
            value: Any = each.value()
            named.update([field] if field else map(str, value) if isinstance(value, dict) else [])
    for field in sorted(named - set(taken)):
        if start.get(field) is not None:
            said = f"start.{field} has no use: {reason}"
            if not in_multirun():
                raise SMEError(f"{said}; leave it out")
            warn(said)


def started(given: dict[str, Any], fields: Iterable[str], dim: int, place: str = "start") -> dict[str, torch.Tensor]:
    """The fields of a start that an optimizer has."""
    for field in given:
        choose(f"field in {place}", field, (*FIELDS, *fields))
    return {field: repeated(field, given[field], dim) for field in fields if given.get(field) is not None}


def repeated(field: str, given: Any, dim: int) -> torch.Tensor:
    """The values of a start, over and over up to the problem's dimension."""
    values = [number(f"start.{field}", value) for value in several(given)]
    if not values or len(values) > dim:
        raise SMEError(f"start.{field} has {len(values)} values, but the problem has dim = {dim}: give 1 to {dim}")
    return torch.tensor(list(islice(cycle(values), dim)), dtype=torch.float64)


def in_multirun() -> bool:
    """Whether this is one job of several."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _share() -> int | None:
    """The processors of a job that a launcher runs beside others, as many as it was told, or one; None for a job by itself."""
    here = HydraConfig.get() if HydraConfig.initialized() else None
    if here is None or here.mode is not RunMode.MULTIRUN or "basic" in str(here.launcher["_target_"]):
        return None
    return OmegaConf.select(here.launcher, "cpus_per_task") or 1
