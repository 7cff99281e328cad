"""The adapters of a model: one for each image size, from one probe forward pass."""

import warnings
from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from xai_core.checks import Checks, check_images
from xai_core.errors import PluginWarning
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.model.adapter import ModelAdapter, adapt
from xai_core.model.execution import Forward
from xai_core.model.probe import Probe, probe
from xai_core.plugins.registry import current
from xai_core.targets.target import Target

FUNCTIONS = 8
"""The number of target functions whose adapters are kept."""


class Adapters:
    """The adapters of a model that is called by `forward`. Each is created at its first use and kept."""

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        monitor: ModelStateMonitor,
        block_of: Callable[[int, torch.device], int],
    ) -> None:
        self._model, self._forward, self._monitor, self._block_of = model, forward, monitor, block_of
        self._adapters: dict[tuple[tuple[int, ...], Hashable], ModelAdapter] = {}

    def of(self, images: Tensor, target: object = None) -> ModelAdapter:
        """Return the adapter for images of this size, and for a target that may read another part of the output."""
        size, kind = tuple(images.shape[1:]), _kind(target)
        if (size, kind) not in self._adapters:
            checks = Checks()
            check_images(checks, images)
            checks.read()  # the adapter is kept, so an invalid image must not determine it
            layouts = [adapter.probe.layouts for (of, _), adapter in self._adapters.items() if of == size]
            with self._monitor.learning():
                known, device = next(iter(layouts), None), images.device
                probed = probe(
                    self._model, self._forward, images, target, known, lambda size: self._block_of(size, device)
                )
            self._adapters[size, kind] = self._of_plugins(probed) or adapt(self._model, probed)
            functions = [key for key in self._adapters if callable(key[1])]
            for key in functions[:-FUNCTIONS]:
                del self._adapters[key]
        return self._adapters[size, kind]

    def _of_plugins(self, probed: Probe) -> ModelAdapter | None:
        """Return the first adapter of a plugin that supports the model. One that fails is skipped with a warning."""
        for entry in current().entries["adapters"].values():
            made_by: type[ModelAdapter] = entry.made_by
            try:
                if made_by.suits(self._model, probed):
                    return made_by(self._model, probed)
            except Exception as error:
                message = f"adapter {entry.name} of {entry.plugin.release} failed and was skipped"
                warnings.warn(PluginWarning(f"{message}: {type(error).__name__}: {error}"), stacklevel=2)
        return None


def _kind(target: object) -> Hashable:
    """Return a key that is equal for targets that read the same part of an output."""
    if isinstance(target, Target):
        return type(target).__name__
    return target if callable(target) and isinstance(target, Hashable) else None
