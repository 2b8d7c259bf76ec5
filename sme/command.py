"""How a command line runs a task: warnings and bad input as one line each; with `sme.config` all that knows Hydra."""

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from sme.errors import SMEError, choose, plain_warnings
from sme.study import Interrupted

INTERRUPTED = 130
"""exit code after Ctrl-C, as of a shell"""
OWN = ("hydra", "_target_")
"""what stands in a configuration and is no setting"""


def cli(task: Callable[[], Any]) -> None:
    """Run a Hydra application; print a warning as one line `warning: …`, bad input as one line `error: …`, and exit with 2.

    After Ctrl-C the table of what was finished is printed, and the exit code is 130.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with plain_warnings(), redirect_stderr(_WithoutBanner(sys.stderr)), _own_groups():  # type: ignore[type-var]
            task()
    except Interrupted as stop:
        print(f"\n{stop.study}")
        _fail(f"{stop}: the same command goes on from there", INTERRUPTED)
    except KeyboardInterrupt:
        _fail("interrupted; what was finished is kept", INTERRUPTED)
    except MissingConfigException as fault:
        _fail(_unknown_option(fault))
    except OSError as fault:
        _fail(f"cannot use {fault.filename}: {fault.strerror}. Give results=… a folder that can be written to")
    except OverrideParseException as fault:
        _fail(f"cannot read '{fault.override}': {_advice(str(fault.override))}")
    except (SMEError, HydraException, OmegaConfBaseException) as fault:
        _fail(_in_words(fault))
    except ValueError as fault:
        if not str(fault).startswith("Config group override"):  # Hydra's, without a class of its own
            raise
        _fail(f"{fault}: give a name, such as optimizer=adam, or leave the group out for its default")
    except RuntimeError as fault:
        if not isinstance(fault, BrokenProcessPool) and not type(fault).__module__.startswith("submitit"):
            raise
        _fail("a job was killed, as happens where memory or time runs out. Every point that was finished is kept: run the same "
              "command again, where memory ran out with fewer jobs or processes at a time")
    finally:
        GlobalHydra.instance().clear()


@contextmanager
def _own_groups() -> Iterator[None]:
    """Of `--help`, without the groups of configurations that the task does not take: Hydra lists all that it finds."""
    script = Path(sys.argv[0])
    settings = script.parent.parent / "conf" / f"{script.stem}.yaml"
    if not {"--help", "-h"} & set(sys.argv[1:]) or not settings.exists():
        yield
        return
    defaults = OmegaConf.to_container(OmegaConf.load(settings))["defaults"]  # type: ignore[index, call-overload]
    taken = {str(name) for each in defaults if isinstance(each, dict) for name in each}
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            yield
    finally:
        groups, mark, rest = text.getvalue().partition("== Config ==")
        lines = [line for line in groups.splitlines(keepends=True)
                 if not (named := re.match(r"(\w+): ", line)) or named[1] in taken]
        print("".join(lines) + mark + rest, end="")


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


def _advice(override: str) -> str:
    """How to write a setting that Hydra cannot read."""
    name, equals, value = override.partition("=")
    if not equals or not name or value[:1] in ("", "[", "{", '"', "'"):
        return "write name=value, and a list in quotes, 'tau=[1/8,1/16]'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return ("in a value, ( ) [ ] { } : = , and quotes need quotes of their own inside those of the shell: "
            f"write '{name}=\"{escaped}\"'")


def _unknown_option(fault: MissingConfigException) -> str:
    group, _, name = str(fault.missing_cfg_file or "").rpartition("/")
    try:
        choose(group, name, fault.options or [])
    except SMEError as better:
        return str(better)
    return str(fault)


def _fail(message: str, code: int = 2) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)
