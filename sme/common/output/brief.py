"""What an interactive session shows of an object that holds tables."""

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from sme.common.inputs import short

MOST = 8
"""numbers that are spelled out"""


class Brief:
    """A dataclass whose `repr` is a few lines: its tables by their sizes. `print` shows them."""

    def __repr__(self) -> str:
        own = [f"    {each.name}={brief(getattr(self, each.name))}" for each in fields(self)]  # type: ignore[arg-type]
        return ",\n".join([f"{type(self).__name__}(", *own]).replace("(,", "(", 1) + ")"


def brief(given: Any) -> str:
    """A value in one line; of a table or many numbers how large it is."""
    if isinstance(given, pd.DataFrame):
        return f"<{len(given)} rows: {short(' '.join(map(str, given.columns)))[1:-1]}>"
    if isinstance(given, Tensor | np.ndarray):
        return f"<numbers {tuple(given.shape)}>" if np.prod(given.shape) > MOST else " ".join(repr(given).split())
    if isinstance(given, Brief):
        return f"<{type(given).__name__}>"
    if isinstance(given, dict | list | tuple) and len(given) > MOST:
        return f"<{len(given)} entries>"
    return short(given)
