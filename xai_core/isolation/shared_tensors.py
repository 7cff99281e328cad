"""Detects writes of a plugin call to tensors that it shares with other plugin calls."""

from collections.abc import Callable, Iterator

from torch import Tensor

from xai_core.tensor_writes import version

NamedTensors = Callable[[], Iterator[tuple[str, Tensor]]]
"""Function that yields the shared tensors, each with its description. Several tensors may have one description."""


class SharedTensors:
    """The version counters of shared tensors, which require no gradient, at the beginning of a plugin call."""

    def __init__(self, tensors: NamedTensors) -> None:
        self._before = [(name, tensor, version(tensor)) for name, tensor in tensors()]

    def written(self) -> list[str]:
        """Return the descriptions of the tensors that were written to since, and stop requiring their gradients."""
        written = [name for name, tensor, before in self._before if version(tensor) != before]
        for _, tensor, _ in self._before:
            if tensor.requires_grad and tensor.is_leaf:
                tensor.requires_grad_(False).grad = None
        return [*dict.fromkeys(written)]
