"""Memory of tensors: the version counter, which every write in place increases, and whether two share memory."""

from torch import Tensor


def version(tensor: Tensor) -> int:
    """Return the number of writes to a tensor and its views, or 0 for an inference tensor, which counts none."""
    return 0 if tensor.is_inference() else tensor._version


def share_memory(tensor: Tensor, other: Tensor) -> bool:
    """Return whether a write to one tensor may change the other."""
    return tensor.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
