"""Runs a model beyond the shared pass: scores images, runs the part after a layer, explains other images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.capture.captured import Captured, Explains
from xai_core.capture.forward_pass import Bind, capture
from xai_core.capture.needs import NeedsUnion
from xai_core.capture.partial_forward import PartialForward
from xai_core.capture.pass_record import PassRecord
from xai_core.model.adapter import ModelAdapter
from xai_core.model.execution import Autocast, Forward, autocast_of, scoring, without_autocast
from xai_core.model.feature_maps import of_images
from xai_core.model.runtimes import takes_one_image
from xai_core.model.shared_copy import SharedModel
from xai_core.model.user_forward import batch_indices
from xai_core.model_scorer import ModelScorer
from xai_core.precision import wide
from xai_core.saliency import Relevance, relevance
from xai_core.targets.target import BoundTarget


class Runner:
    """Runs one model, in blocks that fit the memory budget.

    Parameters
    ----------
    model, bare
        The model as the user passed it, which scores images, and the model without wrappers, which runs if hooks are
        needed.
    forward
        Calls the model.
    memory, block
        See `Engine`.
    """

    def __init__(
        self, model: nn.Module, bare: nn.Module, forward: Forward, memory: int | None, block: int | None
    ) -> None:
        self._model, self._bare, self._forward = model, bare, forward
        self._memory, self._block = memory, block

    def output(self, images: Tensor) -> Any:
        """Return the model's output for a batch."""
        with scoring(self._model):
            return self._forward(self._model, images, batch_indices(images))

    def record(self, images: Tensor, needs: NeedsUnion, adapter: ModelAdapter, bind: Bind) -> PassRecord:
        """Run the shared pass of explainers. See `capture`."""
        return capture(self._bare, self._forward, images, needs, adapter.site, adapter.probe.attention, bind)

    def further_passes(self, record: PassRecord, adapter: ModelAdapter) -> "RunnerPasses":
        """Return the passes that explainers may request beyond the shared one."""
        return RunnerPasses(self, record, adapter)

    def explained(
        self, images: Tensor, explainer: Explains, target: BoundTarget, adapter: ModelAdapter
    ) -> Tensor | Relevance:
        """Return an explainer's relevance for images and a bound target, from a separate pass."""
        needs = explainer.needs(adapter)
        union = NeedsUnion.of([needs], adapter.layer_name)
        record = self.record(images, union, adapter, lambda output: ([target], False))
        captured = Captured(record, needs, adapter, self.further_passes(record, adapter))
        with torch.no_grad(), without_autocast(images.device):
            return explainer.explain(captured)

    def scorer(
        self, targets: Sequence[BoundTarget], adapter: ModelAdapter, images: Tensor, autocast: Autocast
    ) -> ModelScorer:
        """Return a scorer of images for the targets of a batch, under the caller's autocast setting."""

        def run(images: Tensor, of: Tensor) -> Any:
            with scoring(self._model), autocast():
                return self._forward(self._model, laid_out(images, adapter), of)

        bytes_per_image = adapter.probe.largest + images[0].numel() * images.element_size()
        # A layer's input, output and workspace.
        return ModelScorer(run, targets, self.block_of(4 * bytes_per_image, images.device))

    def layer_scorer(self, record: PassRecord, adapter: ModelAdapter, layer: str, autocast: Autocast) -> ModelScorer:
        """Return a scorer of activations that replace a layer's output, for the targets of a record."""
        activation = record.activations[layer]
        features, site = adapter.features(layer), adapter.site(layer)
        module = self._bare.get_submodule(site.layer)
        after = PartialForward(self._bare, self._forward, module, record.images, site.call, site.path)

        def run(maps: Tensor, of: Tensor) -> Any:
            output = adapter.substitute(of_images(activation, of, features), maps, layer)
            with autocast():
                return after(laid_out(output, adapter), of)

        bytes_per_map = max(adapter.probe.largest_after(layer), activation[:1].numel() * activation.element_size())
        return ModelScorer(run, record.targets.all, self.block_of(4 * bytes_per_map, record.images.device))

    def subset_scorer(self, record: PassRecord, adapter: ModelAdapter, autocast: Autocast) -> ModelScorer:
        """Return a scorer of subsets of the patch tokens, for the targets of a record."""
        subsets = adapter.probe.token_subsets
        layer, call = subsets.features.layer, subsets.features.call
        with autocast():
            tokens = subsets.before(self._bare, self._forward, record.images)
        block = self._bare.get_submodule(layer)
        after = PartialForward(self._bare, self._forward, block, record.images, call, at_input=True)

        def run(cells: Tensor, of: Tensor) -> Any:
            with autocast():
                return after(subsets.of(of_images(tokens, of, subsets.features), cells), of)

        bytes_per_subset = adapter.probe.largest_after(layer)
        return ModelScorer(run, record.targets.all, self.block_of(4 * bytes_per_subset, record.images.device))

    def shared_model(
        self, record: PassRecord, adapter: ModelAdapter, target: BoundTarget, autocast: Autocast, precise: bool
    ) -> SharedModel:
        """Return a copy of the model that scores images for a target, with shared or float64 parameters."""

        def run(model: nn.Module, images: Tensor, of: Tensor) -> Any:
            with autocast():  # which leaves float64 unchanged
                writable = (wide(images) if precise else images.to(record.images.dtype)).clone()
                return self._forward(model, laid_out(writable, adapter), of)

        graph_bytes = sum(adapter.probe.sizes.values())
        block = self.block_of(graph_bytes, record.images.device)
        return SharedModel(self._bare, run, target, adapter.site, adapter.probe.runs, block, precise)

    def block_of(self, bytes_per_item: int, device: torch.device) -> int:
        """Return how many items fit the memory budget, or the user's block size."""
        if self._block:
            return self._block
        if takes_one_image(self._bare):
            return 1
        memory = self._memory
        if memory is None:
            memory = 64 * 2**20
            if device.type == "cuda":
                memory = torch.cuda.get_device_properties(device).total_memory // 8
        return max(1, memory // bytes_per_item)


class RunnerPasses:
    """The `FurtherPasses` of one record: a runner, with the record's targets and the caller's autocast setting."""

    def __init__(self, runner: Runner, record: PassRecord, adapter: ModelAdapter) -> None:
        self._runner, self._record, self._adapter = runner, record, adapter
        self._autocast = autocast_of(record.images.device)
        self.model_scorer = runner.scorer(record.targets.all, adapter, record.images, self._autocast)

    def partial_forward(self, layer: str) -> ModelScorer:
        """See `FurtherPasses`."""
        return self._runner.layer_scorer(self._record, self._adapter, layer, self._autocast)

    def subset_forward(self) -> ModelScorer:
        """See `FurtherPasses`."""
        return self._runner.subset_scorer(self._record, self._adapter, self._autocast)

    def explain_images(self, index: int, images: Tensor, explainer: Explains) -> Tensor:
        """See `FurtherPasses`."""
        with self._autocast():
            return relevance(self._runner.explained(images, explainer, self._record.targets.all[index], self._adapter))

    def shared_model(self, index: int, precise: bool) -> SharedModel:
        """See `FurtherPasses`."""
        target = self._record.targets.all[index]
        return self._runner.shared_model(self._record, self._adapter, target, self._autocast, precise)


def laid_out(maps: Tensor, adapter: ModelAdapter) -> Tensor:
    """Return images or feature maps, in channels-last memory format if the model is faster with it."""
    fitting = adapter.probe.channels_last and maps.ndim == 4
    return maps.contiguous(memory_format=torch.channels_last) if fitting else maps
