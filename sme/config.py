"""From a Hydra configuration to a study: the only module that knows Hydra."""

import inspect
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sme.errors import SMEError, choose
from sme.inputs import number, several
from sme.measure import weak_error
from sme.plan import Plan, plan
from sme.study import Study

FIELDS = ("theta", "m", "v")
"""start values that a problem's configuration may give; an optimizer takes those of its fields"""


def run(config: DictConfig) -> Study | Plan:
    """The study that a configuration describes, computed and saved; or with `plan: true` what it would cost.

    Raises
    ------
    SMEError
        for bad input.
    """
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    values.pop("experiment", None)
    planned, began = values.pop("plan", False), time.process_time()
    if not isinstance(planned, bool):
        raise SMEError(f"plan must be true or false, got {planned!r}")
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
    if not planned:
        return weak_error(problem, optimizer, start=start, **values)
    made = plan(problem, optimizer, start=start, **values)
    return made if _in_multirun() else replace(made, starting=made.starting + began)  # what this process took to get here


def _build(node: dict[str, Any]) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except HydraException as fault:
        cause: BaseException = fault
        while not isinstance(cause, SMEError) and (deeper := cause.__cause__ or cause.__context__) is not None:
            cause = deeper
        if isinstance(cause, SMEError):
            raise cause from None
        allowed = ", ".join(key for key in node if key != "_target_")
        raise SMEError(f"cannot make {node.get('_target_')}: {cause}; given were {allowed}") from None


def _repeated(field: str, given: Any, dim: int) -> torch.Tensor:
    values = [number(f"start.{field}", value) for value in several(given)]
    if not values or len(values) > dim:
        raise SMEError(f"start.{field} has {len(values)} values, but the problem has dim = {dim}: give 1 to {dim}")
    return torch.tensor(list(islice(cycle(values), dim)), dtype=torch.float64)


def _in_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _in_parallel() -> bool:
    launcher = HydraConfig.get().launcher if HydraConfig.initialized() else {}
    return "basic" not in str(launcher.get("_target_", "basic"))


def cli(task: Callable[[], Any]) -> None:
    """Run a Hydra application; print a warning as one line `warning: …`, bad input as one line `error: …` and exit with 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    formatted, warnings.formatwarning = warnings.formatwarning, lambda message, *_, **__: f"warning: {message}\n"
    try:
        with redirect_stderr(_WithoutBanner(sys.stderr)):  # type: ignore[type-var]
            task()
    except MissingConfigException as fault:
        _fail(_unknown_option(fault))
    except (SMEError, HydraException, OmegaConfBaseException, OSError) as fault:
        parts: list[str] = []
        cause: BaseException | None = fault
        while cause is not None:
            if str(cause) not in " ".join(parts):
                parts.append(str(cause))
            cause = cause.__cause__
        _fail(": ".join(parts))
    finally:
        warnings.formatwarning = formatted
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
