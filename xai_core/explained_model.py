"""The model that an engine explains: how it runs, its adapters, and the limits of plugin calls."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.adapter_cache import Adapters
from xai_core.capture.attention_record import AttentionRecord, Rows, record_attention
from xai_core.capture.runner import Runner, laid_out
from xai_core.checks import Checks, check_images, check_output, check_target
from xai_core.data.sources import LoadedModel
from xai_core.detection.listing import Detection, listed
from xai_core.image_inputs import accept_images
from xai_core.isolation.guard import Guard
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.model.adapter import ModelAdapter
from xai_core.model.execution import Forward, unwrapped
from xai_core.model.layouts import Layer
from xai_core.model.user_forward import preserving_images
from xai_core.plugin_adapters import PluginAdapters
from xai_core.plugins.loader import Registry
from xai_core.predictions import Predictions
from xai_core.segments import Segment, segments_of
from xai_core.targets.binding import targets_of
from xai_core.targets.pixel_scores import pixel_reader
from xai_core.targets.target import BoundTarget, TargetLike
from xai_core.tensor_writes import share_memory
from xai_core.visualization.view import View, view_of


class ExplainedModel:
    """A model, with what the calls of one engine share.

    Parameters
    ----------
    model
        The model as the user passed it.
    forward
        Calls the model.
    memory, block, time_limit
        See `Engine`.
    plugins
        The registry in which the engine looks up names, or None for all installed plugins.
    loaded
        The model with its preprocessing and class names, or None if they are not known.
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        *,
        memory: int | None,
        block: int | None,
        time_limit: float | None = None,
        plugins: Registry | None = None,
        loaded: LoadedModel | None = None,
    ) -> None:
        self.bare = unwrapped(model)
        self.forward, self.plugins, self.time_limit = forward, plugins, time_limit
        self._run = preserving_images(forward)
        self.runner = Runner(model, self.bare, self._run, memory, block)
        self._model, self._memory, self._block, self.loaded = model, memory, block, loaded
        self._monitor = ModelStateMonitor.of(self.bare)
        of_plugins = PluginAdapters(self.bare, self._monitor, time_limit)
        self._adapters = Adapters(self.bare, self._run, self._monitor, self.runner.block_of, of_plugins)

    def accept(self, images: Tensor, target: object = None) -> tuple[Tensor, ModelAdapter]:
        """Return a copy of the images for the model, and the adapter for their size and the target.

        The copy protects the user's images from plugins. It is in the model's preferred memory format.
        """
        accepted = accept_images(images, self.bare)
        adapter = self._adapters.of(accepted, target)
        with torch.inference_mode(False), torch.no_grad():
            own = laid_out(accepted, adapter)
            return own.clone() if own.is_inference() or share_memory(own, images) else own, adapter

    def view(self, images: Tensor, output: object, adapter: ModelAdapter) -> View:
        """Return the view of a batch, from which its results are drawn."""
        return view_of(images, output, adapter.score_reader, self.loaded)

    def attention(self, images: Tensor, rows: Rows, module: Layer | None) -> AttentionRecord:
        """Return the attention matrices of a batch. See `Engine.attention`."""
        images, adapter = self.accept(images)
        name = "" if module is None else adapter.layer_name(module)
        output, record = record_attention(self.bare, self._run, images, rows, adapter, name)
        _check(images, output)
        return replace(record, view=self.view(images, output, adapter))

    def predictions(self, images: Tensor, top: int) -> Predictions:
        """Return the classes with the highest scores of each image. See `Engine.predict`."""
        with torch.inference_mode(False), torch.no_grad():
            images, adapter = self.accept(images)
            output = self.runner.output(images)
        reader = adapter.score_reader
        scores = reader(output, len(images))
        _check(images, output)
        names = None if self.loaded is None else self.loaded.class_names
        return Predictions.of(scores, reader.are_probabilities(), names, top)

    def detections(self, images: Tensor, threshold: float) -> list[list[Detection]]:
        """Return the detected objects of each image. See `Engine.detect`."""
        with torch.inference_mode(False), torch.no_grad():
            images, adapter = self.accept(images)
            reader = adapter.score_reader.require_detections()
            output = self.runner.output(images)
        _check(images, output)
        names = None if self.loaded is None else self.loaded.class_names
        return listed(reader(output, len(images)), reader.format.overlapping, threshold, names)

    def segments(self, images: Tensor) -> list[list[Segment]]:
        """Return the classes that have pixels in each image. See `Engine.segment`."""
        with torch.inference_mode(False), torch.no_grad():
            images, adapter = self.accept(images)
            output = self.runner.output(images)
        _check(images, output)
        pixels = pixel_reader(output, len(images), adapter.score_reader.are_probabilities)
        names = None if self.loaded is None else self.loaded.class_names
        return segments_of(pixels, pixels(output, len(images)), names)

    def score(self, images: Tensor, target: TargetLike) -> Tensor:
        """Return the number of each image that a target explains. See `Engine.score`."""
        with torch.inference_mode(False), torch.no_grad():
            images, adapter = self.accept(images, target)
            output = self.runner.output(images)
            bound, several = targets_of(target, output, adapter.score_reader, len(images))
            scores = [each.model_score(output) for each in bound]
        _check(images, output, bound)
        return torch.stack(scores, 1) if several else scores[0]

    def guard(self, images: Tensor) -> Guard:
        """Return the guard of the plugin calls for a batch."""
        return Guard(self._monitor, None if self.time_limit is None else self.time_limit * len(images))

    def copied_to(self, model: nn.Module) -> "ExplainedModel":
        """Return a copy of the model, optionally with other weights, as a model with the same settings and layers."""
        other = ExplainedModel(model, self.forward, memory=self._memory, block=self._block, plugins=self.plugins)
        other._adapters.share_disabled(self._adapters)
        other.share_probes(self)
        return other

    def called_by(self, forward: Forward) -> "ExplainedModel":
        """Return the same model with the same settings, called by another function."""
        other = ExplainedModel(
            self._model,
            forward,
            memory=self._memory,
            block=self._block,
            time_limit=self.time_limit,
            plugins=self.plugins,
            loaded=self.loaded,
        )
        other._adapters.share_disabled(self._adapters)
        return other

    def of_rows(self, rows: range) -> "ExplainedModel":
        """Return the same model for some images of the explained batch, with the side inputs of these images."""

        def forward(model: nn.Module, images: Tensor, of: Tensor) -> Any:
            return self.forward(model, images, torch.tensor(rows, device=of.device)[of])

        other = self.called_by(forward)
        other.share_probes(self)
        return other

    def share_probes(self, other: "ExplainedModel") -> None:
        """Share the probes of another model if its modules have the same names and types."""
        self._adapters.share_probes(other._adapters)


def _check(images: Tensor, output: object, targets: Sequence[BoundTarget] = ()) -> None:
    """Require finite images, a finite output, and targets that are defined for each image."""
    checks = Checks()
    check_images(checks, images)
    check_output(checks, output, len(images))
    for target in targets:
        check_target(checks, target)
    checks.read()
