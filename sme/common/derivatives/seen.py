"""Whether a tensor is one that was seen before."""

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from sme.common.derivatives.tracing import traced


class Seen:
    """A tensor that something was computed from; `Seen(a).is_(b)` says whether `b` is still that tensor, or a view like it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.place = tensor, _place(tensor)

    def is_(self, other: Tensor) -> bool:
        """Whether the numbers are the same because the memory is, and was not written over since."""
        return self.tensor is other if self.place is None else self.place == _place(other)


def _place(tensor: Tensor) -> tuple[object, ...] | None:
    """Where its numbers lie, and how often they were written over; None for a tensor that stands for many, or for none yet."""
    if not (torch._C._functorch.is_functorch_wrapped_tensor(tensor) or tensor.requires_grad or traced() or tensor.is_inference()
            or unpack_dual(tensor).tangent is not None):
        return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor._version, tensor.device
    return None
