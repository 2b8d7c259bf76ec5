"""An interrupt while a script of ours imports what it needs ends it at once, and without a word.

This module is imported before all that takes long.
"""

import itertools
import signal
import sys
import threading
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "scripts"


def ours() -> bool:
    """Whether this program is one of our scripts, `sme`, or `python -m sme.…`."""
    name = sys.argv[0] if sys.argv else ""
    if name == "-m":  # while Python looks for the module
        return any(flag == "-m" and module.startswith("sme.") for flag, module in itertools.pairwise(sys.orig_argv))
    try:
        return Path(name).name == "sme" or Path(name).absolute().parent == SCRIPTS
    except OSError:  # in a folder that was deleted
        return False


def quiet() -> None:
    """Leave an interrupt to the system, in a script of ours; not where it is ignored, or handled by somebody else."""
    if ours() and threading.current_thread() is threading.main_thread() \
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def heard() -> None:
    """Have an interrupt raise KeyboardInterrupt again."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


quiet()
