"""Runs a model further than the pass: scores images, replays what follows a layer, explains other images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.adapter import ModelAdapter
from xai_core.capture import Record, capture
from xai_core.captured import Captured, Tools
from xai_core.explainer import Explainer
from xai_core.modes import Autocast, Forward, autocast_of, scoring, without_autocast
from xai_core.perturb import Scorer
from xai_core.plan import Plan
from xai_core.replay import Replay
from xai_core.saliency import Relevance, relevance
from xai_core.target import Target
from xai_core.twin import Twin


class Runner:
    """Runs one model, in blocks that fit the memory budget.

    Parameters
    ----------
    model, bare
        The model as it was given, which scores images, and out of its wrappers, for everything that needs hooks.
    forward
        How it is called.
    memory, block
        See `Engine`.
    """

    def __init__(
        self, model: nn.Module, bare: nn.Module, forward: Forward, memory: int | None, block: int | None
    ) -> None:
        self._model, self._bare, self._forward = model, bare, forward
        self._memory, self._block = memory, block

    def tools(self, record: Record, adapter: ModelAdapter) -> Tools:
        """What explainers may ask for beyond the pass."""
        images, autocast = record.images, autocast_of(record.images.device)

        def replay(layer: str) -> Scorer:
            activation = record.activations[layer]
            across = 1 if adapter.features(layer).layout == "LNC" else 0
            after = Replay(
                self._bare, self._forward, self._bare.get_submodule(layer), images, adapter.probe.runs[layer]
            )

            def run(maps: Tensor, of: Tensor) -> Any:
                output = adapter.substitute(activation.index_select(across, of), maps, layer)
                with autocast():
                    return after(laid_out(output, adapter), of)

            each = max(adapter.probe.largest_after(layer), activation[:1].numel() * activation.element_size())
            return Scorer(run, record.targets, self._block or self._fitting(4 * each, images.device))

        def again(index: int, images: Tensor, explainer: Explainer) -> Tensor:
            with autocast():
                return relevance(self.explained(images, explainer, record.targets[index], adapter))

        def twin(index: int) -> Twin:
            def run(model: nn.Module, images: Tensor) -> Any:
                with autocast():
                    given = images.to(record.images.dtype).clone()  # the model may write to it
                    return self._forward(model, laid_out(given, adapter))

            kept = sum(adapter.probe.sizes.values())  # by the graph
            block = self._block or self._fitting(kept, images.device)
            return Twin(self._bare, run, record.targets[index], adapter.probe.runs, block)

        return Tools(self.scorer(record.targets, adapter, images, autocast), replay, again, twin)

    def explained(
        self, images: Tensor, explainer: Explainer, target: Target, adapter: ModelAdapter
    ) -> Tensor | Relevance:
        """What an explainer gives for images and a bound target, with a pass of its own."""
        need = explainer.needs(adapter)
        plan = Plan.of([need], adapter.layer_name)
        record = capture(self._bare, self._forward, images, plan, lambda output: [target])
        captured = Captured(record, need, adapter, self.tools(record, adapter))
        with torch.no_grad(), without_autocast(images.device):
            return explainer.explain(captured)

    def scorer(self, targets: Sequence[Target], adapter: ModelAdapter, images: Tensor, autocast: Autocast) -> Scorer:
        """Score images for the targets of a batch, under the caller's autocast setting."""

        def run(images: Tensor, of: Tensor) -> Any:
            with scoring(self._model), autocast():
                return self._forward(self._model, laid_out(images, adapter))

        each = adapter.probe.largest + images[0].numel() * images.element_size()
        block = self._block or self._fitting(4 * each, images.device)  # a layer's input, output and workspace
        return Scorer(run, targets, block)

    def _fitting(self, each: int, device: torch.device) -> int:
        """How many items of so many bytes the memory budget holds."""
        memory = self._memory
        if memory is None:
            memory = 64 * 2**20
            if device.type == "cuda":
                memory = torch.cuda.get_device_properties(device).total_memory // 8
        return max(1, memory // each)


def laid_out(maps: Tensor, adapter: ModelAdapter) -> Tensor:
    """Images or feature maps with channels last in memory where the model is faster on them."""
    fitting = adapter.probe.channels_last and maps.ndim == 4
    return maps.contiguous(memory_format=torch.channels_last) if fitting else maps
