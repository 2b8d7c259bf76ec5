"""What compiled code is handed: arrays of just the shape that it was made for."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from sme.common.errors import SMEError


def pointer(what: str, array: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> ctypes.c_void_p:
    """Where the numbers of an array are, which C reads and writes without asking.

    Raises
    ------
    SMEError
        for another shape or type, or numbers that do not lie row by row in the processor's memory.
    """
    if tuple(array.shape) == tuple(shape) and array.dtype == dtype and array.is_contiguous() and array.device.type == "cpu":
        return ctypes.c_void_p(array.data_ptr())
    raise SMEError(f"compiled code takes {what} as {dtype} {tuple(shape)}, row by row, on the processor, and got {array.dtype} "
                   f"{tuple(array.shape)} on {array.device}: a law, a rule or an observable has changed it; use "
                   "backend='torchsde' to see where")
