"""Precision of computations: float64 where the device supports it, and quantized integers."""

import torch
from torch import Tensor

WITHOUT_FLOAT64 = frozenset({"mps"})
"""Types of devices that do not support float64."""


def wide(tensor: Tensor) -> Tensor:
    """Convert a tensor to float64, or to float32 on a device that does not support float64."""
    return tensor.to(torch.float32 if tensor.device.type in WITHOUT_FLOAT64 else torch.float64)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Convert half-precision and int8 tensors to float32, and return float32 and float64 tensors unchanged."""
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def quantized_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Quantize a floating-point tensor with the scale, the zero point and the type of an int8 activation."""
    return torch.quantize_per_tensor(tensor.float(), like.q_scale(), like.q_zero_point(), like.dtype)
