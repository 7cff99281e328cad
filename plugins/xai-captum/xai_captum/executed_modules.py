"""Modules that run in a forward pass, to which captum's rules apply."""

from torch import nn

import xai_core as xai


def executed_modules(adapter: xai.ModelAdapter) -> dict[str, nn.Module]:
    """Return the modules that run in a forward pass, by name."""
    return {name: module for name, module in adapter.model.named_modules() if adapter.probe.runs.get(name)}


def class_names(modules: list[nn.Module]) -> str:
    """Return the names of the classes of modules, for an error message."""
    return ", ".join(sorted({type(module).__name__ for module in modules}))
