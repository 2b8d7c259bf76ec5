"""From a Hydra configuration to a study: the only module that knows Hydra."""

import inspect
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from itertools import cycle, islice
from typing import Any

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from sme.errors import SMEError, choose
from sme.inputs import number, several
from sme.measure import weak_error
from sme.recipe import located
from sme.study import Study

FIELDS = ("theta", "m", "v")
"""start values that a problem's configuration may give; an optimizer takes those of its fields"""
OWN = ("hydra", "_target_")
"""what stands in a configuration and is no setting"""


def run(config: DictConfig) -> Study:
    """The study that a configuration describes, computed and saved.

    Raises
    ------
    SMEError
        for bad input.
    """
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    values.pop("experiment", None)
    settings = inspect.signature(weak_error).parameters
    for name in values:
        choose("setting", name, settings)
    for name in ("problem", "optimizer", "start"):
        if not isinstance(values.get(name), dict):
            raise SMEError(f"{name} must be a group of settings, got {values.get(name)!r}: leave it out for the default")
    problem, optimizer = (_build(values.pop(part)) for part in ("problem", "optimizer"))
    given = values.pop("start")
    for field in given:
        choose("field in start", field, FIELDS)
    start = {field: _repeated(field, given.get(field), problem.dim) for field in optimizer.fields if field in given}
    if values.get("processes") == "auto" and _in_parallel():
        values["processes"] = 1
    for name in ("tau", "results"):
        if values.get(name) is None:
            raise SMEError(f"{name} is missing: leave it out of the command for its default")
    return weak_error(problem, optimizer, start=start, **values)


def _build(node: dict[str, Any]) -> Any:
    target = located(str(node.get("_target_")))
    allowed = inspect.signature(target).parameters
    for name in node:
        if name != "_target_" and not any(each.kind is each.VAR_KEYWORD for each in allowed.values()):
            choose(f"setting of {target.__name__}", name, allowed)
    try:
        return instantiate(node, _convert_="all")
    except HydraException as fault:
        cause: BaseException = fault
        while not isinstance(cause, SMEError) and (deeper := cause.__cause__ or cause.__context__) is not None:
            cause = deeper
        if isinstance(cause, SMEError):
            raise cause from None
        raise SMEError(f"cannot make {node.get('_target_')}: {cause}; it takes {', '.join(allowed)}") from None


def _repeated(field: str, given: Any, dim: int) -> torch.Tensor:
    values = [number(f"start.{field}", value) for value in several(given)]
    if not values or len(values) > dim:
        raise SMEError(f"start.{field} has {len(values)} values, but the problem has dim = {dim}: give 1 to {dim}")
    return torch.tensor(list(islice(cycle(values), dim)), dtype=torch.float64)


def _in_parallel() -> bool:
    launcher = HydraConfig.get().launcher if HydraConfig.initialized() else {}
    return "basic" not in str(launcher.get("_target_", "basic"))


def cli(task: Callable[[], Any]) -> None:
    """Run a Hydra application; print bad input as one line `error: …` and exit with 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with redirect_stderr(_WithoutBanner(sys.stderr)):  # type: ignore[type-var]
            task()
    except MissingConfigException as fault:
        _fail(_unknown_option(fault))
    except OSError as fault:
        _fail(f"cannot use {fault.filename}: {fault.strerror}. Give results=… a folder that can be written to")
    except OverrideParseException as fault:
        _fail(f"cannot read '{fault.override}': write name=value, and a list in quotes, 'tau=[1/8,1/16]'")
    except (SMEError, HydraException, OmegaConfBaseException) as fault:
        _fail(_in_words(fault))
    except ValueError as fault:
        if not str(fault).startswith("Config group override"):  # Hydra's, without a class of its own
            raise
        _fail(f"{fault}: give a name, such as optimizer=adam, or leave the group out for its default")
    finally:
        GlobalHydra.instance().clear()


class _WithoutBanner:
    """Standard error without the line that Hydra puts before an exception of ours."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if text.startswith("Error executing job with overrides"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _in_words(fault: BaseException) -> str:
    """The messages of a fault and its causes; of a setting that is not there, those that are."""
    parts: list[str] = []
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(cause.parent_node, DictConfig):
            place = str(cause.full_key or "").rpartition(".")[0]
            there = [str(name) for name in cause.parent_node if name not in OWN]
            try:
                choose(f"setting of {place}" if place else "setting", cause.key, there)
            except SMEError as better:
                return str(better)
        if str(cause) not in " ".join(parts):
            parts.append(str(cause))
        cause = cause.__cause__
    if isinstance(fault, ConfigCompositionException) and "merging" in parts[0]:
        parts.append("give a value of the kind that stands there by default")
    return ": ".join(parts)


def _unknown_option(fault: MissingConfigException) -> str:
    group, _, name = str(fault.missing_cfg_file or "").rpartition("/")
    try:
        choose(group, name, fault.options or [])
    except SMEError as better:
        return str(better)
    return str(fault)


def _fail(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
