"""What captum finds in a model: the modules that it has rules for, and what happens between modules."""

from torch import Tensor, nn

import xai_core as xai
from xai_core.graph import ways


def ran(adapter: xai.ModelAdapter) -> dict[str, nn.Module]:
    """The modules that run in a forward, by name."""
    return {name: module for name, module in adapter.model.named_modules() if adapter.probe.runs.get(name)}


def joins(score: Tensor, image: Tensor) -> list[str]:
    """The operations in the graph of a score that put together several tensors made from the image."""
    assert score.grad_fn is not None
    assert image.grad_fn is not None
    on_the_way = ways(score.grad_fn, image.grad_fn)
    return [node.name() for node in on_the_way if sum(before in on_the_way for before, _ in node.next_functions) > 1]


def named(modules: list[nn.Module]) -> str:
    """The kinds of some modules, for a message."""
    return ", ".join(sorted({type(module).__name__ for module in modules}))
