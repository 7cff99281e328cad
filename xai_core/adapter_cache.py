"""The adapters of a model: one for each image size, from one probe forward pass."""

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
    """The adapters of a model that is called by `forward`. Each is created at its first use and kept."""

    def __init__(self, model: nn.Module, forward: Forward, monitor: ModelStateMonitor) -> None:
        self._model, self._forward, self._monitor = model, forward, monitor
        self._adapters: dict[tuple[int, ...], ModelAdapter] = {}

    def of(self, images: Tensor) -> ModelAdapter:
        """Return the adapter for images of this size."""
        size = tuple(images.shape[1:])
        if size not in self._adapters:
            checks = Checks()
            check_images(checks, images)
            checks.read()  # the adapter is kept, so an invalid image must not determine it
            with self._monitor.learning():
                probed = probe(self._model, self._forward, images)
            self._adapters[size] = self._of_plugins(probed) or adapt(self._model, probed)
        return self._adapters[size]

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
