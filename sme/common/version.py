"""Which code made a number: the version and, in a checkout, the commit."""

import functools
import subprocess
from importlib import metadata
from pathlib import Path

UNKNOWN = "0+unknown"


@functools.cache
def version() -> str:
    """`0.2.0+g1a2b3c4`, with `.changed` behind it if the package's files differ from that commit.

    Without a checkout it is the installed version alone.
    """
    try:
        number = metadata.version("sme")
    except metadata.PackageNotFoundError:
        number = UNKNOWN
    commit = _git("rev-parse", "--short=7", "HEAD")
    if not commit or not _git("ls-files", "--", __file__):  # no checkout, or one of something else
        return number
    changed = ".changed" if _git("status", "--porcelain", "--", ".") else ""
    return f"{number}+g{commit}{changed}"


def _git(*arguments: str) -> str:
    """What git says in the package's folder; empty where there is no git or no checkout."""
    try:
        done = subprocess.run(["git", *arguments], cwd=Path(__file__).parents[1], capture_output=True, text=True,
                              timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
