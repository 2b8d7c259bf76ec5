"""C source to a loaded library, through the machine's own compiler."""

import atexit
import contextlib
import ctypes
import functools
import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from sme.common.storage.cache import NoCompilerError as NoCompilerError
from sme.common.storage.cache import cache as cache
from sme.common.storage.cache import whole
from sme.common.storage.files import sha

VECTORED = {1: ("exp", "log", "sin", "cos", "pow"), 2: ("expm1", "log1p", "tanh", "erf")}
"""functions of which glibc has a form for vectors, to 4 units in the last place: 2.22 some, 2.35 all"""
INCLUDES = "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n" + "".join(
    f"#if VECTORED >= {since}\n" + "".join(
        f"#pragma omp declare simd notinbranch\ndouble {name}({'double, double' if name == 'pow' else 'double'});\n"
        for name in names) + "#endif\n" for since, names in VECTORED.items())
PATIENCE, GIVEN_UP = 300.0, set[str]()
"""seconds after which a compiler is given up, and those that were"""
ANSWER = 20.0
"""the same where it is asked for its version alone"""
FLAGS = ("-O2", "-ftree-vectorize", "-fPIC", "-shared", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math",
         "-ffp-contract=fast", "-fopenmp-simd", "-w")
"""not -O3, which takes twice as long to compile and makes no faster runs"""
_NATIVE, _MATHS = ("-march=native", "-mprefer-vector-width=512"), ("-Wl,--no-undefined", "-lmvec")
FAST = ((*_NATIVE, "-DVECTORED=2", *_MATHS), (*_NATIVE, "-DVECTORED=1", *_MATHS), _NATIVE, _NATIVE[:1], ())
"""tried in this order"""


_ahead: dict[str, threading.Thread] = {}
_running: "set[subprocess.Popen[str]]" = set()
"""what compiles beside other work, by its source; and the compilers at work"""


@functools.cache
def compiler() -> tuple[str, ...]:
    """The C compiler's command: `$CC` with its arguments, else `cc`, `gcc` or `clang`.

    Raises
    ------
    NoCompilerError
        if there is none.
    """
    given = os.environ.get("CC", "")
    try:
        chosen = shlex.split(given)
    except ValueError as fault:
        raise NoCompilerError(f"CC={given} is no command ({fault})") from None
    if chosen:
        if found := shutil.which(chosen[0]):
            return found, *chosen[1:]
        raise NoCompilerError(f"the C compiler CC={' '.join(chosen)} is not there")
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return (found,)
    raise NoCompilerError("there is no C compiler (cc, gcc or clang) on this machine")


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
    return _run("--version", patience=min(PATIENCE, ANSWER)).stdout


def _run(*arguments: str, patience: float | None = None) -> "subprocess.CompletedProcess[str]":
    """The compiler's answer; with a group of processes of its own, as what it starts may hang too."""
    command, limit = [*compiler(), *arguments], PATIENCE if patience is None else patience
    if command[0] in GIVEN_UP:
        raise NoCompilerError(f"the C compiler {command[0]} was given up")
    try:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              encoding="utf-8", errors="replace", start_new_session=True) as running:
            _running.add(running)
            try:
                out, said = running.communicate(timeout=limit)
            except BaseException:
                _end(running)
                raise
            finally:
                _running.discard(running)
    except OSError as fault:
        raise NoCompilerError(f"the C compiler {command[0]} cannot be run: {fault.strerror}") from fault
    except subprocess.TimeoutExpired as fault:
        GIVEN_UP.add(command[0])
        raise NoCompilerError(f"the C compiler {command[0]} gives no answer within {limit:g} s") from fault
    return subprocess.CompletedProcess(command, running.returncode, out, said)


def _end(running: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)


def ahead(source: str) -> None:
    """Begin to compile what is about to be loaded, beside other work; whatever goes wrong is said where it is loaded."""
    def compiled() -> None:
        with contextlib.suppress(Exception):
            _loaded(source)

    if source not in _ahead:
        _ahead[source] = threading.Thread(target=compiled, daemon=True)
        _ahead[source].start()


@atexit.register
def _leave() -> None:
    """No compiler outlives a process that did not wait for it."""
    at_work = [thread for thread in _ahead.values() if thread.is_alive()]
    GIVEN_UP.update(compiler()[:1] if at_work else ())
    for thread in at_work:
        for _ in range(10):  # one that has just been started is ended a little later
            for each in list(_running):
                _end(each)
            thread.join(0.1)


@functools.lru_cache(maxsize=64)
def load(source: str) -> ctypes.CDLL:
    """The library of this source, compiled at most once on a machine, and once more if its file is damaged or not the user's.

    Raises
    ------
    NoCompilerError
        if it cannot be compiled.
    """
    if source in _ahead:
        _ahead[source].join()
    return _loaded(source)


def _loaded(source: str) -> ctypes.CDLL:
    name, folder = key(source), cache()
    try:
        for path in filter(whole, sorted(folder.glob(f"{name}-*.so"))):
            try:
                return ctypes.CDLL(str(path))
            except OSError:  # whole, but of another machine's loader
                path.unlink(missing_ok=True)
        path = _compile(source, folder, name)
    except OSError as fault:
        raise NoCompilerError(f"compiled code cannot be kept in {folder}: {fault}") from fault
    try:
        return ctypes.CDLL(str(path))
    except OSError as fault:
        raise NoCompilerError(f"what {compiler()[0]} makes cannot be loaded from {folder}: {fault}") from fault


def key(source: str) -> str:
    """What a library is called: it depends on its source, on the compiler and all that it is told, and on the processor.

    Raises
    ------
    NoCompilerError
        if there is no compiler, or it says nothing.
    """
    command = " ".join((*compiler(), *FLAGS, *map(str, FAST)))
    return sha("\n".join((source, compiler_version(), _machine(), command)).encode())


def _compile(source: str, place: Path, name: str) -> Path:
    """The path of the new library, named by this name and its checksum."""
    complaint = ""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        written, made = Path(folder) / "run.c", Path(folder) / "run.so"
        written.write_text(source, encoding="utf-8")
        for fast in FAST:
            done = _run(*FLAGS, str(written), "-o", str(made), *fast, "-lm")
            if done.returncode == 0 and not made.exists():
                raise NoCompilerError(f"{compiler()[0]} makes no library, and says nothing of it")
            if done.returncode == 0:
                made.chmod(0o700)
                with made.open("rb") as file:
                    os.fsync(file.fileno())
                return made.replace(place / f"{name}-{sha(made.read_bytes())}.so")  # whole or not there, for any process
            complaint = complaint or done.stderr.strip()
    raise NoCompilerError(f"{compiler()[0]} fails: {complaint.splitlines()[0][:200] if complaint else 'no message'}")
