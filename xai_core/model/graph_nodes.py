"""The nodes of autograd graphs."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Node(Protocol):
    """An operation of an autograd graph.

    Operations without a Python class, such as int8 layers, are not instances of `torch.autograd.graph.Node`.
    """

    def name(self) -> str:
        """Return the name."""
        ...

    @property
    def next_functions(self) -> "tuple[tuple[Node | None, int], ...]":
        """The operations that computed the operands, each with the index of its output."""
        ...

    @property
    def _input_metadata(self) -> list[Any]: ...
