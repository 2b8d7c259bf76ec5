from sme.common.derivatives import torch_forward as torch_forward  # before the first dual number
