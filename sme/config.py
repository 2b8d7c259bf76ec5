"""From a Hydra configuration to a study: the only module that knows Hydra."""

import inspect
import os
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr
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
from sme.study import Study

FIELDS = ("theta", "m", "v")
"""start values that a problem's configuration may give; an optimizer takes those of its fields"""


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
    if (share := _share()) is not None:
        torch.set_num_threads(1)  # this process is the launcher's, and others work beside it
        if values.get("processes") == "auto":
            values["processes"] = share
    for name in ("tau", "results"):
        if values.get(name) is None:
            raise SMEError(f"{name} is missing: leave it out of the command for its default")
    return weak_error(problem, optimizer, start=start, **values)


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


def _share() -> int | None:
    """The processors of a job that a launcher runs beside others, as many as it was told, or one; None for a job by itself."""
    here = HydraConfig.get() if HydraConfig.initialized() else None
    if here is None or here.mode is not RunMode.MULTIRUN or "basic" in str(here.launcher["_target_"]):
        return None
    return OmegaConf.select(here.launcher, "cpus_per_task") or 1


def cli(task: Callable[[], Any]) -> None:
    """Run a Hydra application; print bad input as one line `error: …` and exit with 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
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
    except RuntimeError as fault:
        if not isinstance(fault, BrokenProcessPool) and not type(fault).__module__.startswith("submitit"):
            raise
        _fail("a job was killed, as happens where memory or time runs out. Every point that was finished is kept: run the same "
              "command again, where memory ran out with fewer jobs or processes at a time")
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
