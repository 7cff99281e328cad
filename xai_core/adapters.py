"""Adapters found: one for images of each size, by one probe of the model."""

from torch import Tensor, nn

from xai_core.adapter import ModelAdapter, adapt
from xai_core.checks import Checks, check_images
from xai_core.modes import Forward
from xai_core.probe import probe
from xai_core.registry import current
from xai_core.traces import Watch


class Adapters:
    """The adapters of a model that is called by `forward`, each found when first asked for, and kept."""

    def __init__(self, model: nn.Module, forward: Forward, watch: Watch) -> None:
        self._model, self._forward, self._watch = model, forward, watch
        self._found: dict[tuple[int, ...], ModelAdapter] = {}

    def of(self, images: Tensor) -> ModelAdapter:
        """The adapter for images of this size."""
        size = tuple(images.shape[1:])
        if size not in self._found:
            checks = Checks()
            check_images(checks, images)
            checks.read()  # what a broken image shows of the model would be remembered
            with self._watch.learning():
                seen = probe(self._model, self._forward, images)
            plugins = current().entries["adapters"].values()
            self._found[size] = adapt(self._model, seen, [entry.made_by for entry in plugins])
        return self._found[size]
