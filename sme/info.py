"""What runs here: versions, processor, compiler, as a table to put beside a number.

    python -m sme.info
"""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from sme.cli import command
from sme.common import library
from sme.common.identity.numerics import NUMERICS, said, written
from sme.common.version import version

PACKAGES = ("torch", "torchsde", "numpy", "scipy", "pandas", "hydra-core", "joblib")
PROBE = "double probe(double x) { return exp(x); }\n"
"""what is compiled to see whether anything can be"""


def cpu() -> str:
    """The processor's name, or the best that there is."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def cores() -> str:
    """Those of the machine, and those that this process may use where they are fewer."""
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return f"{count}" if usable == count else f"{count}, of which {usable} for this process"


def built() -> str | None:
    """The version of CUDA (or of ROCm) that torch is built for, without the seconds that an import of torch takes."""
    place = importlib.util.find_spec("torch")
    assert place is not None
    assert place.origin is not None
    said = runpy.run_path(str(Path(place.origin).with_name("version.py")))
    return said.get("cuda") or said.get("hip")


def driver() -> bool:
    """Whether the machine has a driver; without one torch finds no device."""
    for name in ("nvcuda.dll", "libcuda.so.1", "libamdhip64.so"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def cuda() -> bool:
    """Whether torch has a device; it is asked where it may have one."""
    if not built() or not driver():
        return False
    import torch

    return torch.cuda.is_available()


def devices() -> str:
    """CUDA and its devices."""
    if not cuda():
        return f"none (torch is built {f'for CUDA {made}' if (made := built()) else 'without CUDA'})"
    import torch

    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return f"{torch.version.cuda}: {names}"


def compiler() -> str:
    """The C compiler's command and the first line that it says of itself."""
    return f"{' '.join(library.compiler())}: {library.compiler_version().splitlines()[0]}"


def cache() -> str:
    """The folder of compiled code and how much is in it."""
    folder = library.cache()
    sizes = [path.stat().st_size for path in folder.glob("*.so")]
    return f"{folder}, {sum(sizes) / 2**20:.1f} MiB in {len(sizes)} libraries"


def backend() -> str:
    """What `backend=auto` does, found by compiling something."""
    library.load(library.INCLUDES + PROBE)
    return "compiled C, on the processor; torchsde on the GPU" if cuda() else "compiled C"


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _said(ask: Callable[[], str], instead: str) -> str:
    """The answer, or what stands in its way: this table is read where something is broken."""
    try:
        return ask()
    except Exception as fault:
        return f"{instead}: {fault}"


def table() -> list[tuple[str, str]]:
    """What and its value, a row each; never raises."""
    return [
        ("sme", _said(version, "unknown")), ("numerics", said(written(NUMERICS))), ("python", sys.version.split()[0]),
        ("platform", platform.platform()), ("processor", _said(cpu, "unknown")), ("cores", _said(cores, "unknown")),
        *((name, _said(lambda name=name: _package(name), "unknown")) for name in PACKAGES),  # type: ignore[misc]
        ("CUDA", _said(devices, "none")), ("C compiler", _said(compiler, "none")), ("compiled code", _said(cache, "nowhere")),
        ("backend=auto", _said(backend, "torchsde")),
    ]


def main() -> None:
    """Print the table."""
    print(tabulate(table(), tablefmt="plain", disable_numparse=True))


if __name__ == "__main__":
    command.cli(main)
