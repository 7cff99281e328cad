"""The probe: one forward pass of one image that records every module call, to find the default layer and layouts.

Its result contains names and shapes, but no tensors.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.detection.formats import DetectionReader
from xai_core.memory_errors import out_of_memory
from xai_core.model.attention_blocks import attention_blocks
from xai_core.model.attention_paths import AttentionPaths
from xai_core.model.autograd_graph import joins
from xai_core.model.coded_images import CodedImages
from xai_core.model.default_layer import default_layer, is_saturated
from xai_core.model.execution import Forward
from xai_core.model.frame_orders import frame_orders
from xai_core.model.gates import Gate
from xai_core.model.layouts import Features, Size
from xai_core.model.noise import NoiseImages
from xai_core.model.observed_pass import Observer
from xai_core.model.readout import Readout, read_out
from xai_core.model.responses import Responses, respond
from xai_core.model.runtimes import single_image_errors
from xai_core.model.site_layouts import SiteLayouts
from xai_core.model.site_responses import Bits, Respond
from xai_core.model.sites import Site, split_call
from xai_core.model.token_subsets import TokenSubsets
from xai_core.targets.score_reader import ScoreLocation

LARGEST_CONVOLUTION = 2**24
"""The number of weights of a convolution above which channels-last images are not faster."""
BlockOf = Callable[[int], int]
"""Returns how many images fit into one forward pass, for the number of bytes that one image requires."""
MEMORY = 2**28
"""The number of bytes of layer outputs that a block of coded images may use."""


@dataclass(frozen=True)
class Probe:
    """The result of the probe.

    Attributes
    ----------
    size
        (H, W) of the image, or (D, H, W) of the volume.
    layouts
        The sites of the forward pass, and their layouts.
    on_path
        The sites between the image and the scores, from last to first, and whether each is on every path.
    last
        The last features that the scores depend on, before pooling, or None.
    default
        The site of the default layer, or None.
    readout
        How the output depends on the last tokens. None if it is not known, or if the last features are not tokens.
    head
        The linear layer that computes the output from the spatial mean of the last features, or None.
    channels_last
        Whether the model is faster on images in channels-last memory format. It is faster for models with feature
        maps on the CPU. Models with a very large convolution are an exception: converting its weights takes longer.
    sizes
        The number of bytes of every layer's output for one image, by name, in the order in which the calls ended.
    runs
        The number of times that each layer ran, by name.
    joins
        The operations between the image and the scores that combine several tensors computed from the image, from last
        to first. An example is the addition of a residual connection.
    class_attention
        Whether an attention layer has one query, such as a separate class token, and all tokens as keys.
    gates
        The gates of channels or locations, in order of execution.
    blocks
        The output tokens of each transformer block, in order of execution. A block is the largest module on every path
        from the image to the scores that contains this attention and no other. If no such module exists, the entry is
        the input of the last module before the next attention. The tuple is empty if neither exists for an
        attention layer.
    scores
        The location of the class scores in the model's output.
    attention
        The attention layers, and their order between the image and the scores.
    token_subsets
        The input tokens of the first transformer block, of which the model may run on subsets.
    detections
        Reads the detections in outputs, or None if the model is not a detector whose output is recognized.
    saturated
        Whether there is no default layer because the gradients of the scores of detections are zero.
    """

    size: Size
    layouts: SiteLayouts
    on_path: Mapping[Site, bool]
    last: Features | None
    default: Site | None
    readout: Readout | None
    head: str | None
    channels_last: bool
    sizes: Mapping[str, int]
    runs: Mapping[str, int]
    joins: tuple[str, ...]
    class_attention: bool
    gates: tuple[Gate, ...]
    blocks: tuple[Features, ...]
    scores: ScoreLocation
    attention: AttentionPaths
    token_subsets: TokenSubsets
    detections: DetectionReader | None = None
    saturated: bool = False

    @property
    def largest(self) -> int:
        """The number of bytes of the largest layer output, for one image."""
        return max(self.sizes.values(), default=0)

    def largest_after(self, layer: str) -> int:
        """Return the number of bytes of the largest output of the layers that end after `layer`, for one image."""
        names = list(self.sizes)
        return max((self.sizes[name] for name in names[names.index(split_call(layer)[0]) + 1 :]), default=0)

    @cached_property
    def features(self) -> Mapping[str, Features]:
        """The layouts of the layers with spatial outputs, by module name. Each is read when it is first requested."""
        return _LayerFeatures(self)

    @property
    def spatial_layers(self) -> tuple[str, ...]:
        """The names of layers whose outputs may be spatial, by their shapes, in order of execution."""
        return tuple(dict.fromkeys(site.layer for site in self.layouts.sites if self.layouts.may_be_spatial(site)))

    @property
    def default_layer(self) -> str | None:
        """The name of the default layer, or None."""
        if self.default is None:
            return None
        layer = self.default.layer
        return layer if self.site(layer) == self.default else f"{layer}@{self.default.call}"

    def site(self, layer: str) -> Site | None:
        """Return the tensor that a layer name refers to, or None if the layer did not run.

        If a layer runs several times, the name refers to the last run between the image and the scores. A number
        selects another run, as in `conv@0`. If the layer returns several tensors, a tensor on every
        path from the image to the scores is preferred.
        """
        name, call = split_call(layer)
        sites = [site for site in self.layouts.sites if site.layer == name and call in (None, site.call)]
        return max(sites, key=self._preference, default=None)

    def _preference(self, site: Site) -> tuple[bool, bool, int, bool]:
        return (
            site in self.on_path,
            self.layouts.may_be_spatial(site),
            site.call,
            self.on_path.get(site, False),
        )


class _LayerFeatures(Mapping[str, Features]):
    """Layouts by layer name."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def __getitem__(self, layer: str) -> Features:
        site = self._probe.site(layer)
        features = None if site is None else self._probe.layouts.of(site)
        if features is None:
            raise KeyError(layer)
        return features

    def __iter__(self) -> Iterator[str]:
        return (layer for layer in self._probe.spatial_layers if layer in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def probe(
    model: nn.Module,
    forward: Forward,
    images: Float[Tensor, "B C *size"],
    target: object = None,
    known: SiteLayouts | None = None,
    block: BlockOf = lambda bytes_per_image: max(MEMORY // bytes_per_image, 1),
) -> Probe:
    """Probe the model with the first image.

    Parameters
    ----------
    model
        The model.
    forward
        Calls the model.
    images
        The images.
    target
        The target that is explained. The default layer is a layer from which the target is computed.
    known
        The layouts that an earlier probe with images of this size found.
    block
        Returns how many coded images fit into one forward pass, for the number of bytes that one image requires.

    Raises
    ------
    InputShapeError
        If the first convolution requires another number of channels, or the model runs on the batch only.
    ModelOutputError
        If the model's output for the same image is random.
    """
    image = images[:1].detach()
    observer = Observer(model, forward, target)
    weights = [module.weight.numel() for module in model.modules() if isinstance(module, nn.Conv2d)]
    with single_image_errors(model, forward, images):
        if image.ndim == 4 and image.device.type == "cpu" and 0 < max(weights, default=0) <= LARGEST_CONVOLUTION:
            with contextlib.suppress(RuntimeError):  # a `view` in the model requires contiguous features
                return _probe(observer, image.contiguous(memory_format=torch.channels_last), known, block)
        try:
            return _probe(observer, image.contiguous(), known, block)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            # a runtime without gradients
            return _probe(replace(observer, gradients=False), image.contiguous(), known, block)


def _probe(observer: Observer, image: Tensor, known: SiteLayouts | None, block: BlockOf) -> Probe:
    """Probe the model, and again with gradients inside of `no_grad` blocks if such a block cuts the graph."""
    observed = observer.observe(image)
    size = tuple(image.shape[2:])
    calls, graph, scores = observed.calls, observed.graph, observed.scores
    if not graph.from_image and observer.gradients and not observer.always_gradients:
        with contextlib.suppress(RuntimeError):  # a block that must not be differentiated
            return _probe(replace(observer, always_gradients=True), image, known, block)
    with torch.inference_mode(False), torch.set_grad_enabled(observer.gradients):
        respond_with = _responder(observer.model, observer.forward, image, block)
        orders = frame_orders(observer.model, observer.forward, image, calls.tensors)
        layouts = SiteLayouts([*calls.tensors], size, graph.kept, graph.earlier, respond_with, orders)
        if known is not None:
            layouts.share(known)
        found = (
            None
            if scores is None
            else default_layer(graph, layouts, calls.excluded, observed.pixel_scores, observed.detection_scores)
        )
        last, default = (None, None) if found is None else (found.last, found.default)
        readout = read_out(graph, last) if last and last[1].is_sequence else None
        attention = AttentionPaths(observed, observer, NoiseImages(image), layouts, last, readout)
        blocks = attention_blocks(observed, layouts, attention.pooling)
        return Probe(
            size=size,
            layouts=layouts,
            last=None if last is None else last[1],
            default=None if default is None else default[0],
            readout=readout,
            head=calls.head(last, observed.class_scores) if last else None,
            channels_last=last is not None and last[1].layout == "NCHW" and not image.is_contiguous(),
            sizes=calls.sizes,
            runs=calls.runs,
            on_path=dict(graph.sites),
            joins=joins(graph.path),
            class_attention=any(call.of_one_query and call.on_path for call in attention.calls),
            gates=observed.gates,
            blocks=blocks,
            scores=observed.location,
            attention=attention,
            token_subsets=TokenSubsets(observer.model, observer.forward, NoiseImages(image), blocks),
            detections=observed.detections,
            saturated=found is None and is_saturated(graph, observed.detection_scores),
        )


def _responder(model: nn.Module, forward: Forward, image: Tensor, block: BlockOf) -> Respond:
    """Return a function that runs the model on coded images with the mean and the standard deviation of an image."""
    device, dtype = image.device, image.dtype
    spread, mean = (float(value) for value in torch.std_mean(image.float()))

    def run(images: Tensor) -> Any:
        of = torch.zeros(len(images), dtype=torch.long, device=device)
        return forward(model, images.to(device, dtype), of)

    def respond_with(
        sites: Sequence[tuple[Site, str]], bits: Bits, seed: int
    ) -> tuple[CodedImages, Mapping[tuple[Site, str], Responses]]:
        images = CodedImages(tuple(image.shape[1:]), bits, mean, spread if spread > 0 else 1.0, seed)
        largest = max((site.nbytes for site, _ in sites), default=1)
        return images, respond(model, run, images, sites, block(4 * largest))

    return respond_with
