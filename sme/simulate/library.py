"""C source to a loaded library, through the machine's own compiler."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sme.errors import SMEError

VECTORED = {1: ("exp", "log", "sin", "cos", "pow"), 2: ("expm1", "log1p", "tanh", "erf")}
"""functions of which glibc has a form for vectors, to 4 units in the last place: 2.22 some, 2.35 all"""
INCLUDES = "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n" + "".join(
    f"#if VECTORED >= {since}\n" + "".join(
        f"#pragma omp declare simd notinbranch\ndouble {name}({'double, double' if name == 'pow' else 'double'});\n"
        for name in names) + "#endif\n" for since, names in VECTORED.items())
FLAGS = ("-O3", "-fPIC", "-shared", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fopenmp-simd",
         "-w")
_NATIVE, _MATHS = ("-march=native", "-mprefer-vector-width=512"), ("-Wl,--no-undefined", "-lmvec")
FAST = ((*_NATIVE, "-DVECTORED=2", *_MATHS), (*_NATIVE, "-DVECTORED=1", *_MATHS), _NATIVE, _NATIVE[:1], ())
"""tried in this order"""


class NoCompilerError(SMEError):
    """There is none, or it fails."""


@functools.cache
def compiler() -> tuple[str, ...]:
    """The C compiler's command: `$CC` with its arguments, else `cc`, `gcc` or `clang`.

    Raises
    ------
    NoCompilerError
        if there is none.
    """
    if chosen := shlex.split(os.environ.get("CC", "")):
        if found := shutil.which(chosen[0]):
            return found, *chosen[1:]
        raise NoCompilerError(f"the C compiler CC={' '.join(chosen)} is not there")
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return (found,)
    raise NoCompilerError("there is no C compiler (cc, gcc or clang) on this machine")


def _folders() -> Iterator[Path]:
    if given := os.environ.get("SME_CACHE"):
        yield Path(given)
    if home := os.environ.get("XDG_CACHE_HOME"):
        yield Path(home) / "sme"
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield Path.home() / ".cache" / "sme"
    yield Path(tempfile.gettempdir()) / f"sme-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"


def cache() -> Path:
    """Where libraries are kept: `$SME_CACHE`, else the user's cache folder, else a temporary one that is the user's own."""
    for folder in _folders():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            own = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
            if own and os.access(folder, os.W_OK):
                return folder
    raise NoCompilerError("no folder for compiled code can be written: set SME_CACHE to one")


@functools.cache
def _machine() -> str:
    """What native code depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        processor = "".join(line for line in lines if line.startswith(("model name", "flags", "Features")))
    except OSError:
        processor = platform.processor()
    return f"{platform.machine()} {processor}"


@functools.cache
def compiler_version() -> str:
    """What the compiler says of its version."""
    return _run("--version").stdout


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run([*compiler(), *arguments], capture_output=True, text=True, check=False)
    except OSError as fault:
        raise NoCompilerError(f"the C compiler {compiler()[0]} cannot be run: {fault.strerror}") from fault


@functools.lru_cache(maxsize=64)
def load(source: str) -> ctypes.CDLL:
    """The library of this source, compiled at most once on a machine, and once more if its file is damaged.

    Raises
    ------
    NoCompilerError
        if it cannot be compiled.
    """
    command = " ".join((*compiler(), *FLAGS, *map(str, FAST)))
    key = hashlib.sha256("\n".join((source, compiler_version(), _machine(), command)).encode()).hexdigest()[:24]
    path = cache() / f"{key}.so"
    for again in (True, False):
        try:
            if not path.exists():
                _compile(source, path)
            return ctypes.CDLL(str(path))
        except OSError as fault:
            path.unlink(missing_ok=True)
            if not again:
                raise NoCompilerError(f"compiled code cannot be kept in {path.parent}: {fault}") from fault
    raise AssertionError


def _compile(source: str, path: Path) -> None:
    complaint = ""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written, made = Path(folder) / "run.c", Path(folder) / "run.so"
        written.write_text(source, encoding="utf-8")
        for fast in FAST:
            done = _run(*FLAGS, str(written), "-o", str(made), *fast, "-lm")
            if done.returncode == 0:
                made.replace(path)  # whole or not there, also for a process beside this one
                return
            complaint = complaint or done.stderr.strip()
    raise NoCompilerError(f"{compiler()[0]} fails: {complaint.splitlines()[0][:200] if complaint else 'no message'}")
