"""Real data that ship with scikit-learn."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.errors import SMEError


def digits() -> tuple[Float[Tensor, "1797 64"], Int[Tensor, "1797"]]:
    """The grey values in [0, 1] of 8 × 8 pixels, and the digits.

    Raises
    ------
    SMEError
        if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as fault:
        raise SMEError("the digits come with scikit-learn: pip install scikit-learn") from fault
    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x) / 16, torch.from_numpy(y)


def diabetes() -> tuple[Float[Tensor, "442 10"], Float[Tensor, "442 1"]]:
    """The standardised features and targets of the diabetes data.

    Raises
    ------
    SMEError
        if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_diabetes
    except ImportError as fault:
        raise SMEError("the diabetes data come with scikit-learn: pip install scikit-learn") from fault
    x, y = load_diabetes(return_X_y=True)
    x, y = ((part - part.mean(0)) / part.std(0) for part in (x, y))
    return torch.from_numpy(x), torch.from_numpy(y).unsqueeze(1)


def breast_cancer() -> tuple[Float[Tensor, "569 30"], Float[Tensor, "569"]]:
    """The standardised features and the 0/1 targets of the breast-cancer data.

    Raises
    ------
    SMEError
        if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError as fault:
        raise SMEError("the breast-cancer data come with scikit-learn: pip install scikit-learn") from fault
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return torch.from_numpy(x), torch.from_numpy(y).to(torch.float64)
