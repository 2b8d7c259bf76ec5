"""Operations of torch whose second derivatives are wrong or missing, written out with operations whose are right."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sme.common.derivatives import recurrent
from sme.common.identity.hashing import fingerprint


def _normal(x: Tensor, over: int | tuple[int, ...], eps: float) -> Tensor:
    """`(x − mean)/√(variance + ε)`."""
    centred = x - x.mean(over, keepdim=True)
    normal: Tensor = centred / (centred.square().mean(over, keepdim=True) + eps).sqrt()
    return normal


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _last(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(range(-len(shape), 0))


def _channels(x: Tensor) -> tuple[int, ...]:
    return (1, -1, *[1] * (x.dim() - 2))


def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5, cudnn_enable: bool = True) -> Tensor:
    """`F.layer_norm`."""
    return _affine(_normal(input, _last(normalized_shape), eps), weight, bias, tuple(normalized_shape))


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """`F.rms_norm`."""
    floor = torch.finfo(input.dtype).eps if eps is None else eps
    size = (input.square().mean(_last(normalized_shape), keepdim=True) + floor).sqrt()
    return _affine(input / size, weight, None, tuple(normalized_shape))


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5,
               cudnn_enabled: bool = True) -> Tensor:
    """`F.group_norm`."""
    normal = _normal(input.reshape(len(input), num_groups, -1), -1, eps).reshape(input.shape)
    return _affine(normal, weight, bias, _channels(input))


def instance_norm(input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1,
                  eps: float = 1e-5) -> Tensor:
    """`F.instance_norm`."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return _affine(_normal(input, tuple(range(2, input.dim())), eps), weight, bias, _channels(input))


def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
               bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """`F.batch_norm` with statistics that are known."""
    if training or running_mean is None or running_var is None:
        raise NotImplementedError("a norm with the statistics of its batch is not written out")
    shape = _channels(input)
    return _affine((input - running_mean.reshape(shape)) / (running_var.reshape(shape) + eps).sqrt(), weight, bias, shape)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, *rest: Any, **more: Any) -> Tensor:
    """`F.embedding`, with the row `padding_idx` held fixed, as torch's gradient has it and its forward derivative has not."""
    rows = F.embedding(input, weight, None, *rest, **more)
    if padding_idx is None:
        return rows
    return torch.where((input == padding_idx % len(weight)).unsqueeze(-1), rows.detach(), rows)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """`F.glu`."""
    a, b = input.chunk(2, dim)
    return a * torch.sigmoid(b)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`F.prelu`."""
    slope = weight.reshape(_channels(input)) if input.dim() > 1 else weight
    return torch.relu(input) - slope * torch.relu(-input)


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """`torch._weight_norm`: `v g/|v|`, the norm over all axes but `dim` (-1: over all)."""
    over = [axis for axis in range(v.dim()) if dim == -1 or axis != dim % v.dim()]
    return v * (g / v.square().sum(over, keepdim=True).sqrt())


def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
              is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> Tensor:
    """`F.scaled_dot_product_attention` without dropout."""
    if enable_gqa:
        key, value = (each.repeat_interleave(query.shape[-3] // each.shape[-3], -3) for each in (key, value))
    scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1) @ value


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """`torch.linalg.solve`, by the inverse."""
    inverse = torch.linalg.inv(A)
    if B.dim() == 1 or (B.dim() == A.dim() - 1 and B.shape == A.shape[:-1]):
        return (inverse @ B.unsqueeze(-1)).squeeze(-1)
    return inverse @ B if left else B @ inverse


def heads(query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Tensor | None,
          in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
          out_proj_weight: Tensor, out_proj_bias: Tensor | None, training: bool = True, key_padding_mask: Tensor | None = None,
          need_weights: bool = True, attn_mask: Tensor | None = None, use_separate_proj_weight: bool = False,
          q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
          static_k: Tensor | None = None, static_v: Tensor | None = None, average_attn_weights: bool = True,
          is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
    """`F.multi_head_attention_forward`: tokens first, `(tokens, n, features)` or `(tokens, features)`."""
    if static_k is not None or static_v is not None or (dropout_p and training):
        raise NotImplementedError("attention with dropout, or with keys and values that are given, is not written out")
    if query.dim() == 2:
        mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        whole, seen = heads(query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1), embed_dim_to_check, num_heads,
                            in_proj_weight, in_proj_bias, bias_k, bias_v, add_zero_attn, 0.0, out_proj_weight, out_proj_bias,
                            False, mask, need_weights, attn_mask, use_separate_proj_weight, q_proj_weight, k_proj_weight,
                            v_proj_weight, average_attn_weights=average_attn_weights)
        return whole.squeeze(1), None if seen is None else seen.squeeze(0)
    weights: Sequence[Tensor | None] = (q_proj_weight, k_proj_weight, v_proj_weight)
    if in_proj_weight is not None and not use_separate_proj_weight:
        weights = in_proj_weight.chunk(3)
    biases: Sequence[Tensor | None] = [None] * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    q, k, v = (F.linear(x, w, b)  # type: ignore[arg-type]
               for x, w, b in zip((query, key, value), weights, biases, strict=True))
    count, n = len(q), q.shape[1]
    more = [[each.repeat(1, n, 1)] if each is not None else [] for each in (bias_k, bias_v)]
    if add_zero_attn:
        more = [[*each, torch.zeros_like(k[:1])] for each in more]
    k, v = (torch.cat([each, *rest]) if rest else each for each, rest in zip((k, v), more, strict=True))
    q, k, v = (each.unflatten(-1, (num_heads, -1)).permute(1, 2, 0, 3) for each in (q, k, v))  # (n, heads, tokens, features)
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]))
    if attn_mask is not None:
        scores = _masked(scores, attn_mask if attn_mask.dim() == 2 else attn_mask.unflatten(0, (n, num_heads)))
    if key_padding_mask is not None:
        scores = _masked(scores, key_padding_mask[:, None, None, :])
    seen = scores.softmax(-1)
    out = F.linear((seen @ v).permute(2, 0, 1, 3).reshape(count, n, -1), out_proj_weight, out_proj_bias)
    return out, (seen.mean(1) if average_attn_weights else seen) if need_weights else None


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    """Without the keys at which the mask is true, or with the mask added; those after its last are seen."""
    mask = F.pad(mask, (0, scores.shape[-1] - mask.shape[-1]))
    return scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask


FORMS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.layer_norm: layer_norm, torch.layer_norm: layer_norm, F.rms_norm: rms_norm, torch.rms_norm: rms_norm,
    F.group_norm: group_norm, torch.group_norm: group_norm, F.instance_norm: instance_norm, F.batch_norm: batch_norm,
    F.embedding: embedding,
    F.glu: glu, F.prelu: prelu, torch.prelu: prelu, torch._weight_norm: weight_norm,
    F.scaled_dot_product_attention: attention, F.multi_head_attention_forward: heads, torch.linalg.solve: solve,
    **recurrent.FORMS}
"""by the function of torch in whose place they are taken"""


class Forms(TorchFunctionMode):
    """While it lasts, the functions of torch in `FORMS` are taken in their written-out forms, wherever they are called."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return FORMS.get(func, func)(*args, **(kwargs or {}))


class Written:
    """A function in which torch's functions are written out; to a fingerprint it is the function itself."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        with Forms():
            return self.function(*args)

    def to(self, device: torch.device) -> "Written":
        """The same on `device`."""
        return Written(self.function.to(device)) if hasattr(self.function, "to") else self

    def describe(self) -> object:
        """What identifies it."""
        return fingerprint(self.function)
