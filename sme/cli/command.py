"""How every script runs its task: warnings and bad input as one line each; with `sme.cli.config` all that knows Hydra."""

import gc
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from tqdm import tqdm

from sme.common.errors import SMEError, choose, one_line, plain_warnings, reason
from sme.common.process import interrupt, streams
from sme.common.process.blame import place, scarce
from sme.common.storage.files import here

INSIDE = Path(__file__).parents[1] / "conf"
CONF = INSIDE if INSIDE.is_dir() else Path(__file__).parents[2] / "conf"
"""of an installed wheel inside the package, of a checkout beside it"""
INTERRUPTED = 130
"""exit code after Ctrl-C, as of a shell"""
DATE = "SOURCE_DATE_EPOCH"
"""of the environment, which numpy and matplotlib read as a whole number"""
OWN = ("hydra", "_target_")
"""what stands in a configuration and is no setting"""


Settings = DictConfig
"""what a configured task gets"""


def configured(name: str) -> Callable[[Callable[[Settings], Any]], Any]:
    """A Hydra application with the settings of `conf/name.yaml`, wherever the script lies that it stands in."""
    return hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)


def cli(task: Callable[[], Any]) -> None:
    """Run a script; print a warning as one line `warning: …`, bad input as one line `error: …`, and exit with 2.

    After Ctrl-C the table of what was finished is printed, and the exit code is 130.
    """
    interrupt.heard()
    try:
        with streams.usable():
            _run(task)
    except OSError as fault:
        _fail(f"cannot write to the standard output: {fault.strerror or fault}")


def loaded(module: str) -> None:
    """Import what takes long; that a library is missing, or memory for one, is one line too."""
    if here() is None:
        _fail("the current folder was deleted, and torch cannot be loaded in such a one: go to another")
    if not os.environ.get(DATE, "0").isdecimal():
        print(f"warning: {DATE}={os.environ.pop(DATE)[:40]!r} is no number, and no library can read it: it is left out",
              file=sys.stderr)
    collected = gc.isenabled()
    gc.disable()  # nothing of this is ever freed, and to look for what could be takes a fifth of the time
    try:
        importlib.import_module(module)
    except (ImportError, MemoryError, SMEError) as fault:
        root = (getattr(fault, "name", None) or "").partition(".")[0]
        if scarce(fault):
            _fail("there is not enough memory to load the libraries: allow this process 2 GiB or more (ulimit -v)")
        if root in ("", "sme"):
            raise
        _fail(f"{root}, which sme needs, cannot be loaded ({fault}): install sme again into this environment")
    finally:
        gc.freeze()
        if collected:
            gc.enable()


def _run(task: Callable[[], Any]) -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with plain_warnings():
            task()
            sys.stdout.flush()
    except KeyboardInterrupt as stop:
        if (study := getattr(stop, "study", None)) is not None:  # sme.Interrupted
            print(f"\n{study}")
            _fail(f"{stop}: the same command goes on from there", INTERRUPTED)
        _fail("interrupted; what was finished is kept", INTERRUPTED)
    except SystemExit as stop:
        if (where := place(stop)) is not None and stop.code:
            _fail(f"code of yours ends the program by itself ({reason(stop)}; {where})")
        raise
    except Exception as fault:
        if (said := _said(task, fault)) is None:
            raise
        _fail(said)
    finally:
        GlobalHydra.instance().clear()


def _said(task: Callable[[], Any], fault: Exception) -> str | None:
    """What a user is told of a fault; None of one that is ours, whose traceback is the best that can be said."""
    if (lacking := scarce(fault)) is not None:
        words = str(lacking).partition("\n")[0]
        return f"there is not enough memory{f' ({words})' if words else ''}: give fewer paths or a smaller problem"
    match fault:
        case MissingConfigException():
            return _unknown_option(fault)
        case OverrideParseException():
            return f"cannot read '{fault.override}': {_advice(str(fault.override))}"
        case SMEError() | HydraException() | OmegaConfBaseException() | Warning():  # this one where the user has it raised
            return _in_words(fault)
        case OSError():
            used = "the standard output" if fault.filename is None else fault.filename
            return f"cannot use {used}: {fault.strerror or fault}. Give a file or folder that can be read and written to"
        case RuntimeError() if isinstance(fault, BrokenProcessPool) or type(fault).__module__.startswith("submitit"):
            return ("a job was killed, as happens where memory or time runs out. Every point that was finished is kept: run the "
                    "same command again, where memory ran out with fewer jobs or processes at a time")
        case ValueError() if str(fault).startswith("Config group override"):  # Hydra's, without a class of its own
            return f"{fault}: give a name, such as optimizer=adam, or leave the group out for its default"
    if (where := place(fault)) is not None:
        return f"code of yours fails: {reason(fault)} ({where})"
    if _inside(task, fault):
        return None
    words = f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
    return f"Hydra cannot run this command ({words}): see its own flags by --hydra-help, and its settings by --info"


def _inside(task: Callable[[], Any], fault: BaseException) -> bool:
    """Whether the task itself raised it, and not Hydra or a launcher before the task began."""
    code = getattr(getattr(task, "__wrapped__", None), "__code__", None)
    remote = type(fault.__cause__).__name__ == "_RemoteTraceback"
    return code is None or remote or any(frame.f_code is code for frame, _ in traceback.walk_tb(fault.__traceback__))


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
        cause = None if type(cause.__cause__).__name__ == "_RemoteTraceback" else cause.__cause__
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
    if not group:  # the settings themselves, by --config-path or --config-name
        return str(fault)
    try:
        choose(group, name, fault.options or [])
    except SMEError as better:
        return str(better)
    return str(fault)


def _fail(message: str, code: int = 2) -> None:
    for bar in list(getattr(tqdm, "_instances", ())):  # lest the message stands behind one
        bar.close()
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(code)
