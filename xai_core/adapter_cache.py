"""Adapters found: one for images of each size, by one probe of the model."""

import warnings

from torch import Tensor, nn

from xai_core.checks import Checks, check_images
from xai_core.errors import PluginWarning
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.model.adapter import ModelAdapter, adapt
from xai_core.model.execution import Forward
from xai_core.model.probe import Probe, probe
from xai_core.plugins.registry import current


class Adapters:
    """The adapters of a model that is called by `forward`, each found when first asked for, and kept."""

    def __init__(self, model: nn.Module, forward: Forward, monitor: ModelStateMonitor) -> None:
        self._model, self._forward, self._monitor = model, forward, monitor
        self._found: dict[tuple[int, ...], ModelAdapter] = {}

    def of(self, images: Tensor) -> ModelAdapter:
        """The adapter for images of this size."""
        size = tuple(images.shape[1:])
        if size not in self._found:
            checks = Checks()
            check_images(checks, images)
            checks.read()  # what a broken image shows of the model would be remembered
            with self._monitor.learning():
                seen = probe(self._model, self._forward, images)
            self._found[size] = self._of_plugins(seen) or adapt(self._model, seen)
        return self._found[size]

    def _of_plugins(self, seen: Probe) -> ModelAdapter | None:
        """The first adapter of a plugin that suits the model; one that fails is passed over."""
        for entry in current().entries["adapters"].values():
            made_by: type[ModelAdapter] = entry.made_by
            try:
                if made_by.suits(self._model, seen):
                    return made_by(self._model, seen)
            except Exception as error:
                said = f"adapter {entry.name} of {entry.plugin.release} failed, and was passed over"
                warnings.warn(PluginWarning(f"{said}: {type(error).__name__}: {error}"), stacklevel=2)
        return None
