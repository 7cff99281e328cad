"""The adapters of a model: one for each image size, from one probe forward pass."""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from xai_core.checks import Checks, check_images
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.model.adapter import ModelAdapter
from xai_core.model.built_in_adapters import adapt
from xai_core.model.execution import Forward
from xai_core.model.probe import Probe, probe
from xai_core.plugin_adapters import PluginAdapters
from xai_core.targets.target import Target

Key = tuple[tuple[int, ...], Hashable]
"""The shape of an image, and the kind of the target."""
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
        of_plugins: PluginAdapters,
    ) -> None:
        self._model, self._forward, self._monitor, self._block_of = model, forward, monitor, block_of
        self._of_plugins = of_plugins
        self._probes: dict[Key, Probe] = {}
        self._adapters: dict[Key, ModelAdapter] = {}

    def of(self, images: Tensor, target: object = None) -> ModelAdapter:
        """Return the adapter for images of this size and for the part of the output that the target reads."""
        key = tuple(images.shape[1:]), _kind(target)
        if key not in self._adapters:
            probed = self._probe(images, target, key)
            self._adapters[key] = self._of_plugins.first(probed) or adapt(self._model, probed)
            functions = [key for key in self._adapters if callable(key[1])]
            for other in functions[:-FUNCTIONS]:
                del self._adapters[other]
                self._probes.pop(other, None)
        return self._adapters[key]

    def share_probes(self, other: "Adapters") -> None:
        """Share the probes of another model if its modules have the same names and types."""
        if _modules(self._model) == _modules(other._model):
            self._probes = other._probes

    def share_disabled(self, other: "Adapters") -> None:
        """Share the adapters of plugins that are not called again with a copy of the model."""
        self._of_plugins.share_disabled(other._of_plugins)

    def _probe(self, images: Tensor, target: object, key: Key) -> Probe:
        if key not in self._probes:
            checks = Checks()
            check_images(checks, images)
            checks.read()  # the probe is kept, so an invalid image must not determine it
            known = next((probed.layouts for (size, _), probed in self._probes.items() if size == key[0]), None)
            own, device = images.clone(), images.device  # the model may write to its images
            with self._monitor.learning():
                self._probes[key] = probe(
                    self._model, self._forward, own, target, known, lambda size: self._block_of(size, device)
                )
        return self._probes[key]


def _modules(model: nn.Module) -> list[tuple[str, type[nn.Module]]]:
    return [(name, type(module)) for name, module in model.named_modules()]


def _kind(target: object) -> Hashable:
    """Return a key that is equal for targets that read the same part of an output."""
    if isinstance(target, Target):
        return target.kind
    return target if callable(target) and isinstance(target, Hashable) else None
