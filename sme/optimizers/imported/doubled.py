"""Torch's own steps in double precision."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Double(TorchFunctionMode):
    """Torch keeps some scalars in its default precision, and Muon rounds to bfloat16: here all is double."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and isinstance(args[0], float | int):
            kwargs["dtype"] = torch.float64
        if func is Tensor.bfloat16:
            return args[0].clone()
        return func(*args, **kwargs)
