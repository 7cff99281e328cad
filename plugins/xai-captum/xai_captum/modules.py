"""What captum finds in a model: the modules that run."""

from torch import nn

import xai_core as xai


def ran(adapter: xai.ModelAdapter) -> dict[str, nn.Module]:
    """The modules that run in a forward, by name."""
    return {name: module for name, module in adapter.model.named_modules() if adapter.probe.runs.get(name)}


def named(modules: list[nn.Module]) -> str:
    """The kinds of some modules, for a message."""
    return ", ".join(sorted({type(module).__name__ for module in modules}))
