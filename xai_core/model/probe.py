"""The probe: one forward pass of one image that records every module call, to find the default layer and layouts.

Its result contains names and shapes, but no tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.model.attention_reader import AttentionReader
from xai_core.model.autograd_graph import joins
from xai_core.model.execution import Forward, explaining, temporary_hooks
from xai_core.model.gates import Gate, GateFinder
from xai_core.model.layouts import Features, Size
from xai_core.model.module_calls import ModuleCalls, Readout
from xai_core.model.probabilities import probabilities_in
from xai_core.model.user_forward import batch_indices
from xai_core.outputs import scores_of
from xai_core.targets.score_reader import ScoreLocation

LARGEST_CONVOLUTION = 2**24
"""The number of weights of a convolution above which channels-last images are not faster."""


@dataclass(frozen=True)
class Probe:
    """The result of the probe.

    Attributes
    ----------
    size
        (H, W) of the image.
    features
        Layouts of the layers with spatial outputs, by module name, in the order in which the calls ended.
    last
        The last features that the scores depend on, before pooling, or None.
    mixed
        If the last features are tokens: the layer whose tokens the last attention mixes, or None.
    readout
        If the last features are tokens: how the output depends on them, or None if no gradient shows it.
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
        The operations between the image and the scores that combine several tensors computed from the image, the last
        first. An example is the addition of a residual connection.
    class_attention
        Whether an attention layer has one query, such as a separate class token, and all tokens as keys.
    gates
        The gates of channels or locations, in order of execution.
    blocks
        The output tokens of each attention's block, in order of execution. A block is the largest module on every path
        from the image to the scores that contains this attention and no other. If no such module exists, the entry is
        the input of the last module before the next attention. Empty if an attention layer has neither a
        block nor such a module.
    scores
        The location of the class scores in the model's output.
    """

    size: Size
    features: Mapping[str, Features]
    last: Features | None
    mixed: str | None
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

    @property
    def largest(self) -> int:
        """The number of bytes of the largest layer output, for one image."""
        return max(self.sizes.values(), default=0)

    def largest_after(self, layer: str) -> int:
        """Return the number of bytes of the largest output of the layers that end after `layer`, for one image."""
        names = list(self.sizes)
        return max((self.sizes[name] for name in names[names.index(layer) + 1 :]), default=0)


def probe(model: nn.Module, forward: Forward, images: Float[Tensor, "B C H W"]) -> Probe:
    """Probe the model with the first image.

    Raises
    ------
    InputShapeError
        If the first convolution requires another number of channels.
    """
    image = images[:1].detach()
    weights = [module.weight.numel() for module in model.modules() if isinstance(module, nn.Conv2d)]
    if image.device.type == "cpu" and 0 < max(weights, default=0) <= LARGEST_CONVOLUTION:
        try:
            return _probe(model, forward, image.contiguous(memory_format=torch.channels_last))
        except RuntimeError:  # a `view` in the model requires contiguous features
            pass
    return _probe(model, forward, image.contiguous())


def _probe(model: nn.Module, forward: Forward, image: Tensor) -> Probe:
    calls = ModuleCalls(model, (image.shape[-2], image.shape[-1]))
    finder = GateFinder(calls.size, calls.innermost)
    modules = list(model.modules())
    with (
        explaining(model, gradients=True),
        temporary_hooks(dict.fromkeys(modules, calls.enter), dict.fromkeys(modules, calls.leave)),
        AttentionReader(1, calls.attend),
    ):
        graph_image = image.clone().requires_grad_().clone()
        with finder:
            output = forward(model, graph_image, batch_indices(graph_image))
        scores = scores_of(output)
        path = calls.path(scores, graph_image.grad_fn)
        last = calls.last(scores, path)
        return Probe(
            size=calls.size,
            features=calls.features,
            last=last,
            mixed=calls.mixed(last, scores) if last and last.is_sequence else None,
            readout=calls.readout(last, scores) if last and last.is_sequence else None,
            head=calls.head(last, scores) if last else None,
            channels_last=last is not None and last.layout == "NCHW" and not image.is_contiguous(),
            sizes=calls.sizes,
            runs=calls.runs,
            joins=joins(path),
            class_attention=calls.class_attention,
            gates=tuple(finder.gates),
            blocks=calls.blocks(path),
            scores=ScoreLocation.of(output, probabilities_in(output, graph_image)),
        )
