"""The progress of long work, shown on a terminal."""

import sys
from typing import Any

from tqdm import tqdm


def progress(*given: Any, **named: Any) -> Any:
    """A bar of `tqdm`; none where errors go nowhere (`sys.stderr` is None) or to no terminal."""
    return tqdm(*given, **{"leave": False, **named, "disable": True if sys.stderr is None else None})
