"""The probe: one forward of one image that looks at every module call, so that no layer need be named.

What is learnt is kept as names and shapes; no tensor outlives the probe.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.model.attention import AttentionReader
from xai_core.model.autograd_graph import joins
from xai_core.model.execution import Forward, explaining, listening
from xai_core.model.gates import Gate, GateFinder
from xai_core.model.layouts import Features, Size
from xai_core.model.module_calls import ModuleCalls, Readout
from xai_core.outputs import scores_of

LARGEST_CONVOLUTION = 2**24
"""Weights of the largest convolution for which images with channels last pay."""


@dataclass(frozen=True)
class Probe:
    """What one forward showed.

    Attributes
    ----------
    size
        (H, W) of the image.
    features
        The spatial output of every layer that has one, by name, in the order in which the calls ended.
    last
        The last of those that the scores come from: the features before pooling, or None.
    mixed
        Where the last features are tokens, the layer whose tokens the last attention mixes, or None.
    readout
        Where the last features are tokens, how the output reads them, or None where no gradient tells.
    head
        The linear layer that gives the output from the mean of the last features over places, or None.
    channels_last
        Whether the model is best given images whose channels are last in memory: feature maps on the CPU,
        where convolutions are faster on them, in a model that takes them, unless it has so large a convolution
        that laying out its weights anew in every call costs more.
    sizes
        The number of bytes of every layer's output for one image, by name, in the order in which the calls ended.
    runs
        How often each layer ran, by name.
    joins
        The operations between the image and the scores that put together several tensors made from the image, such as
        the additions of residual connections, the last first.
    blocks
        The tokens that each attention's own block gives, in order of execution: of the largest module around it and no
        other attention that all ways from the image to the scores lead through, or where there is none, what the last
        module before the next attention is given; empty where some have neither.
    class_attention
        Whether in some attention one query, such as a class token apart from the patches, attends to all tokens.
    gates
        Where feature maps gate their own channels or places, in order of execution.
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

    @property
    def largest(self) -> int:
        """The number of bytes of the largest output of any layer, for one image."""
        return max(self.sizes.values(), default=0)

    def largest_after(self, layer: str) -> int:
        """The number of bytes of the largest output of the layers that end after this one, for one image."""
        names = list(self.sizes)
        return max((self.sizes[name] for name in names[names.index(layer) + 1 :]), default=0)


def probe(model: nn.Module, forward: Forward, images: Float[Tensor, "B C H W"]) -> Probe:
    """Look at one forward of the first image.

    Raises
    ------
    InputShapeError
        Where the first convolution takes another number of channels.
    """
    image = images[:1].detach()
    weights = [module.weight.numel() for module in model.modules() if isinstance(module, nn.Conv2d)]
    if image.device.type == "cpu" and 0 < max(weights, default=0) <= LARGEST_CONVOLUTION:
        try:
            return _look(model, forward, image.contiguous(memory_format=torch.channels_last))
        except RuntimeError:  # a `view` of the model asks for contiguous features
            pass
    return _look(model, forward, image.contiguous())


def _look(model: nn.Module, forward: Forward, image: Tensor) -> Probe:
    calls = ModuleCalls(model, (image.shape[-2], image.shape[-1]))
    finder = GateFinder(calls.size, calls.here)
    modules = list(model.modules())
    with (
        explaining(model, gradients=True),
        listening(dict.fromkeys(modules, calls.enter), dict.fromkeys(modules, calls.leave)),
        AttentionReader(1, calls.attend),
    ):
        given = image.clone().requires_grad_().clone()
        with finder:
            output = forward(model, given)
        scores = scores_of(output)
        passed = calls.passed(scores, given.grad_fn)
        last = calls.last(scores, passed)
        return Probe(
            size=calls.size,
            features=calls.features,
            last=last,
            mixed=calls.mixed(last, scores) if last and last.sequence else None,
            readout=calls.readout(last, scores) if last and last.sequence else None,
            head=calls.head(last, scores) if last else None,
            channels_last=last is not None and last.layout == "NCHW" and not image.is_contiguous(),
            sizes=calls.sizes,
            runs=calls.runs,
            joins=joins(passed),
            class_attention=calls.class_attention,
            gates=tuple(finder.gates),
            blocks=calls.blocks(passed),
        )
