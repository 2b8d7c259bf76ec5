"""Where the operations of a traced graph switch from one smooth branch to another."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Switch(NamedTuple):
    """What one operation decides at its arguments.

    Attributes
    ----------
    pattern
        which branch every entry takes: it changes where the operation switches.
    value
        a number for every entry that is 0 where it switches; not a number where none is known.
    """

    pattern: Tensor
    value: Tensor


Rule = Callable[..., Switch]


def _sides(x: Tensor, *places: Any) -> Switch:
    """Which of the places `x` has passed; a place itself is a side of its own."""
    gaps = [x - place for place in places if place is not None]
    nearest = gaps[0]
    for gap in gaps[1:]:
        nearest = torch.where(gap.abs() < nearest.abs(), gap, nearest)
    return Switch(sum(torch.sign(gap) for gap in gaps), nearest)  # type: ignore[arg-type]


def _whole(x: Tensor, shift: float = 0.0) -> Switch:
    near = torch.round(x - shift)
    gap = x - shift - near
    return Switch(2 * near + torch.sign(gap), gap)


def _trunc(x: Tensor) -> Switch:
    found = _whole(x)
    return Switch(torch.trunc(x), torch.where(x.abs() < 0.5, math.nan, found.value))


def _quotient(x: Tensor, y: Any, *_: Any, **__: Any) -> Switch:
    return _whole(x / y)


def _quotient_of(x: Any, y: Any, *_: Any, rounding_mode: str | None = None) -> Switch | None:
    """Where it is rounded, or else the pole."""
    if rounding_mode is not None:
        return _whole(x / y)
    return _sides(y, 0.0) if isinstance(y, Tensor) and y.is_floating_point() else None


def _greater(a: Any, b: Any, *_: Any) -> Switch:
    return _sides(torch.as_tensor(a - b), 0.0)


def _touch(x: Tensor, *_: Any, **__: Any) -> Switch:
    """A place that is touched, not crossed: an end of the domain, or a distance of 0."""
    return Switch(torch.zeros_like(x), x)


def _largest(sign: float) -> Rule:
    def found(x: Tensor, dim: Any = None, *_: Any, **__: Any) -> Switch:
        axes = [dim] if isinstance(dim, int) else list(dim or range(x.dim()))
        kept = [axis for axis in range(x.dim()) if axis not in {a % x.dim() for a in axes}]
        flat = (sign * x).permute(*kept, *[a % x.dim() for a in axes]).flatten(len(kept))
        if flat.shape[-1] < 2:
            return Switch(torch.zeros_like(flat), torch.full_like(flat, math.nan))
        two = flat.topk(2, -1)
        return Switch(two.indices[..., 0].to(x.dtype), two.values[..., 0] - two.values[..., 1])

    return found


def _norm(x: Tensor, order: Any = 2, dim: Any = None, *_: Any, **__: Any) -> Switch:
    if order == 2:
        axes = list(range(x.dim())) if dim is None or dim == [] else dim
        return _touch(x.square().sum(axes))
    if order in (math.inf, -math.inf):
        return _largest(math.copysign(1, order))(x.abs(), None if dim == [] else dim)
    return _sides(x, 0.0)


def _power(x: Any, exponent: Any, *_: Any) -> Switch | None:
    if not isinstance(x, Tensor) or not isinstance(exponent, int | float) or (exponent == int(exponent) and exponent >= 0):
        return None
    return _touch(x)


def _middle(x: Tensor, *_: Any) -> Switch:
    place = x.reshape(-1).median(0).indices.to(torch.float64)
    return Switch(place, torch.full_like(place, math.nan))


def _bounds(x: Tensor, low: Any = None, high: Any = None) -> Switch | None:
    return None if low is None and high is None else _sides(x, low, high)


def _cut(y: Tensor, x: Tensor) -> Switch:
    """Of `atan2`: the negative half axis."""
    cut = x < 0
    return Switch(torch.where(cut, torch.sign(y), 0.0), torch.where(cut, y, math.nan))


def _residual(x: Tensor, y: Tensor, _reduction: int = 1, width: float = 1.0) -> Switch:
    return _sides((x - y).abs(), width)


def _distance(a: Tensor, b: Tensor, order: float = 2.0, *_: Any) -> Switch:
    difference = a.unsqueeze(-2) - b.unsqueeze(-3)
    return _touch(difference.square().sum(-1)) if order == 2 else _sides(difference, 0.0)


def _zero(x: Tensor, *_: Any, **__: Any) -> Switch:
    return _sides(x, 0.0)


def _shrink(x: Tensor, width: float = 0.5) -> Switch:
    return _sides(x, -width, width)


def _ends(x: Tensor, *_: Any, **__: Any) -> Switch:
    """Of a function that lives between -1 and 1."""
    return _touch(1 - x * x)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("asin", "acos", "atanh", "erfinv"), _ends), **dict.fromkeys(("reciprocal", "lgamma", "digamma"), _zero),
    **dict.fromkeys(("logit", "special_ndtri", "ndtri"), lambda x, *_: _touch(x * (1 - x))),
    "acosh": lambda x: _touch(x - 1), "tan": lambda x: _sides(torch.cos(x), 0.0),  # type: ignore[dict-item]
    "polygamma": lambda _, x: _sides(x, 0.0),  # type: ignore[dict-item]
    **dict.fromkeys(("sign", "sgn", "abs", "relu", "leaky_relu", "prelu", "_prelu_kernel", "rrelu", "elu", "celu", "selu",
                     "heaviside", "fabs"), _zero),
    **dict.fromkeys(("sqrt", "rsqrt", "log", "log2", "log10", "hypot", "xlogy"), _touch),
    **dict.fromkeys(("floor", "ceil"), _whole), **dict.fromkeys(("trunc", "fix", "frac"), _trunc),
    **dict.fromkeys(("remainder", "fmod", "floor_divide"), _quotient),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin", "gt", "lt", "ge", "le", "eq", "ne"), _greater),
    **dict.fromkeys(("max", "amax"), _largest(1.0)), **dict.fromkeys(("min", "amin"), _largest(-1.0)),
    **dict.fromkeys(("norm", "linalg_vector_norm"), _norm), **dict.fromkeys(("hardshrink", "softshrink"), _shrink),
    **dict.fromkeys(("hardswish", "hardsigmoid"), lambda x: _sides(x, -3.0, 3.0)),
    **dict.fromkeys(("huber_loss", "smooth_l1_loss"), _residual), **dict.fromkeys(("cdist", "_cdist_forward"), _distance),
    "round": lambda x, **_: _whole(x, 0.5), "div": _quotient_of, "relu6": lambda x: _sides(x, 0.0, 6.0),  # type: ignore[dict-item]
    "hardtanh": lambda x, low=-1.0, high=1.0: _sides(x, low, high), "clamp": _bounds,  # type: ignore[dict-item]
    "clamp_min": lambda x, low: _sides(x, low), "clamp_max": lambda x, high: _sides(x, high),
    "threshold": lambda x, place, *_: _sides(x, place), "pow": _power, "atan2": _cut,  # type: ignore[dict-item]
    "median": _middle, "nanmedian": _middle, "copysign": lambda a, b: _sides(torch.as_tensor(b), 0.0),
    "dist": lambda a, b, p=2: _norm(a - b, p),
}
"""ATen operations with kinks, jumps or ends of their domain: their switches"""
SMOOTH = frozenset((
    "add", "sub", "rsub", "mul", "neg", "square", "exp", "exp2", "expm1", "log1p", "sin", "cos", "sinh", "cosh",
    "tanh", "atan", "asinh", "erf", "erfc", "sigmoid", "log_sigmoid",
    "log_sigmoid_forward", "softplus", "silu", "gelu", "mish", "sinc", "i0", "i0e",
    "i1", "i1e", "special_erfcx", "special_ndtr", "special_log_ndtr", "special_entr", "softmax",
    "_softmax", "_safe_softmax", "log_softmax", "_log_softmax", "logsumexp", "logaddexp", "logaddexp2", "logcumsumexp", "glu",
    "sum", "nansum",
    "mean", "prod", "cumsum", "cumprod", "var", "std", "var_mean", "std_mean", "mm", "bmm", "matmul", "mv", "dot", "vdot",
    "addmm", "addmv", "baddbmm", "addbmm", "addr", "addcmul", "addcdiv", "lerp", "outer", "ger", "einsum", "kron", "cross",
    "linalg_cross", "linear", "bilinear", "trace", "det", "linalg_det", "_linalg_det", "logdet", "slogdet", "_linalg_slogdet",
    "inverse", "linalg_inv", "linalg_inv_ex", "linalg_solve", "linalg_solve_ex", "_linalg_solve_ex", "linalg_solve_triangular",
    "cholesky", "linalg_cholesky", "linalg_cholesky_ex", "cholesky_solve", "matrix_exp", "linalg_matrix_exp", "convolution",
    "convolution_overrideable", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "native_layer_norm",
    "layer_norm", "native_group_norm", "group_norm", "native_batch_norm", "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "_batch_norm_with_update", "rms_norm", "_fused_rms_norm",
    "embedding", "mse_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "nll_loss", "nll_loss_forward",
    "nll_loss2d_forward", "nll_loss_nd", "soft_margin_loss", "kl_div", "poisson_nll_loss", "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math", "where", "masked_fill",
    "masked_scatter", "view", "_unsafe_view", "reshape", "_reshape_alias", "expand", "expand_as", "permute", "transpose", "t",
    "squeeze", "unsqueeze", "flatten", "unflatten", "select", "slice", "narrow", "split", "split_with_sizes", "chunk", "unbind",
    "cat", "concat", "stack", "index", "index_select", "index_put", "_index_put_impl", "index_add", "index_copy", "gather",
    "scatter", "scatter_add", "scatter_reduce", "select_scatter", "slice_scatter", "diagonal_scatter", "as_strided", "repeat",
    "repeat_interleave", "tile", "flip", "roll", "rot90", "tril", "triu", "diag", "diagonal", "diag_embed", "unfold", "im2col",
    "col2im", "pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d",
    "upsample_nearest2d", "upsample_bilinear2d", "pixel_shuffle", "clone", "alias", "detach", "contiguous", "lift_fresh",
    "lift_fresh_copy", "copy", "_to_copy", "to", "type_as", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones",
    "new_full", "empty_like", "new_empty", "new_empty_strided", "fill", "zero", "scalar_tensor", "real", "imag", "conj", "_conj",
    "view_as_real", "view_as_complex", "positive", "nan_to_num", "dropout", "native_dropout", "identity", "sort", "topk",
    "median", "kthvalue", "mode", "cummax", "cummin", "max_pool2d_with_indices", "max_pool3d_with_indices",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d", "take", "take_along_dim", "swapaxes", "movedim", "mT",
    "adjoint", "T", "_efficientzerotensor", "_fw_primal", "_make_dual", "_unpack_dual", "linalg_eigh", "_linalg_eigh",
    "linalg_qr", "linalg_svd", "_linalg_svd", "linalg_lu_factor_ex", "linalg_householder_product"))
"""ATen operations that are smooth in each of their branches; those that also give whole numbers have several"""


def name_of(target: object) -> str:
    """`relu` of `aten.relu_.default`."""
    return str(target).removeprefix("aten.").split(".")[0].rstrip("_") or str(target)


def known(name: str) -> bool:
    """Whether something is known of an operation: where it switches, or that it does not."""
    plain = name.removesuffix("_backward")
    return plain in RULES or plain in SMOOTH or plain.endswith("_backward_data")


def before(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Switch | None:
    """The switch of an operation at its arguments, None for one that has none."""
    if name.endswith("_backward"):  # the gradient of what switches comes first among its arguments
        name, args = name.removesuffix("_backward"), args[1:]
    rule = RULES.get(name)
    if rule is None or not any(isinstance(each, Tensor) and each.is_floating_point() for each in args):
        return None
    return rule(*args, **{key: value for key, value in kwargs.items() if key not in ("dtype", "out")})


def after(args: Sequence[Any], result: Any) -> Switch | None:
    """The switch of an operation that makes whole numbers, or truth values, of others: they are the pattern."""
    parts = result if isinstance(result, tuple | list) else [result]
    given = any(isinstance(each, Tensor) and each.is_floating_point() for each in args)
    whole = [part for part in parts if isinstance(part, Tensor) and not part.is_floating_point() and not part.is_complex()]
    if not given or not whole:
        return None
    pattern = whole[0].to(torch.float64)
    return Switch(pattern, torch.full_like(pattern, math.nan))
