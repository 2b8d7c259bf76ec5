"""Real data that ship with scikit-learn."""

import numpy as np
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
