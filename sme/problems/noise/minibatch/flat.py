"""A torch module as a function of one vector of parameters."""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from sme.common.derivatives.written import Written
from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint

RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)


class FlatModule:
    """`outputs = module(θ, inputs)` with all trainable parameters side by side in `θ`, in float64.

    Parameters
    ----------
    module
        any `torch.nn.Module` whose output for an example does not depend on the others, without random layers (in `eval()` those
        that are deterministic then). A copy is kept; its parameters are the start.

    Raises
    ------
    SMEError
        for what is no module, or one without parameters, with batch statistics, with random or with lazy layers.
    """

    written = False
    """whether torch's functions in it are written out (see `sme.common.derivatives.written`)"""

    def __init__(self, module: nn.Module) -> None:
        self.module = copy.deepcopy(module).to(torch.float64)
        for name, part in self.module.named_modules():
            known = not part.training and getattr(part, "running_mean", None) is not None
            if isinstance(part, nn.modules.batchnorm._NormBase) and not known and (
                    isinstance(part, nn.modules.batchnorm._BatchNorm) or part.track_running_stats):
                raise SMEError(f"{name or 'the module'} is a {type(part).__name__}: with statistics of a batch the loss of an "
                               "example depends on the others, and a minibatch gradient is no mean over examples: use GroupNorm "
                               "or LayerNorm, or call eval() if it has running statistics")
            if isinstance(part, RANDOM) and part.training and getattr(part, "p", 1) > 0:
                raise SMEError(f"{name or 'the module'} is a {type(part).__name__}: the only noise may be that of the minibatch: "
                               "leave it out, set its p to 0, or call eval() on the module")
        named = {name: each for name, each in self.module.named_parameters() if each.requires_grad}
        self.shapes = {name: tuple(each.shape) for name, each in named.items()}
        if not self.shapes:
            raise SMEError("the module has no parameters that require a gradient: there is nothing to optimise")
        self.start: Float[Tensor, " d"] = torch.cat([each.detach().reshape(-1) for each in named.values()])
        self.module.requires_grad_(False)

    @property
    def dim(self) -> int:
        """`d`"""
        return len(self.start)

    def parameters(self, theta: Float[Tensor, " d"]) -> dict[str, Tensor]:
        """The named parameters that `theta` holds, as views."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        return {name: part.reshape(shape) for (name, shape), part in zip(self.shapes.items(), theta.split(sizes), strict=True)}

    def __call__(self, theta: Float[Tensor, " d"], inputs: Tensor) -> Tensor:
        """The outputs for a batch of inputs, of one path."""
        return self.call(self.parameters(theta), inputs)

    def call(self, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """The same with these parameters by name."""
        run = Written(functional_call) if self.written else functional_call
        outputs: Tensor = run(self.module, parameters, (inputs,))
        return outputs

    def describe(self) -> dict[str, object]:
        """What identifies it: the module, and the names of the parameters that are held fixed, if there are any."""
        fixed = [name for name, _ in self.module.named_parameters() if name not in self.shapes]
        return {"module": fingerprint(self.module), **({"fixed": fixed} if fixed else {})}

    def to(self, where: torch.device | torch.dtype) -> "FlatModule":
        """The same on a device, or in another precision."""
        moved = copy.copy(self)
        moved.module, moved.start = copy.deepcopy(self.module).to(where), self.start.to(where)
        return moved
