"""Whether a function is being traced: its tensors then have no values to decide by."""

from torch.fx.experimental.proxy_tensor import get_proxy_mode


def traced() -> bool:
    """Whether tensors stand for values that are not known yet; no branch may ask for them."""
    return get_proxy_mode() is not None
