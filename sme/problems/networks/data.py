"""Data as people have them: two tensors, a data set or its loader."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from sme.common.errors import SMEError

Data = Sequence[Tensor] | Dataset | DataLoader


def pair(what: str, given: Data) -> tuple[Tensor, Tensor]:
    """Inputs and targets, of floats in float64; a data set is read once, in its own order.

    Raises
    ------
    SMEError
        for anything else, or if there are not as many of one as of the other.
    """
    found: Any = given
    if isinstance(given, DataLoader):
        found = _read(what, given.dataset, default_collate if given.batch_sampler is None else given.collate_fn)
    elif isinstance(given, Dataset):
        found = _read(what, given, default_collate)
    if isinstance(found, Tensor) or not isinstance(found, Sequence) or len(found) != 2 or not all(
            isinstance(part, Tensor) and part.dim() for part in found):
        raise SMEError(f"{what} must be two tensors (inputs, targets) whose first axis counts the examples, or a data set of "
                       f"such pairs, got {type(given).__name__}")
    inputs, targets = (part.to(torch.float64) if part.is_floating_point() else part for part in found)
    if len(inputs) != len(targets) or not len(inputs):
        raise SMEError(f"{what} has {len(inputs)} inputs and {len(targets)} targets: give as many of one as of the other, "
                       "at least one")
    return inputs, targets


def _read(what: str, given: Dataset, collate: Callable[[list[Any]], Any]) -> Any:
    if isinstance(given, TensorDataset):
        return given.tensors
    each: Any = given
    try:
        return collate(list(each) if isinstance(given, IterableDataset) else [each[i] for i in range(len(each))])
    except Exception as fault:
        raise SMEError(f"{what}: {type(given).__name__} cannot be read into two tensors: {fault}") from fault
