"""AttnLRP."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_attention.linear_graph import require_linear
from xai_attention.propagation_rules import PropagationRules
from xai_core.plugin import (
    CHANNELS,
    at_least_float32,
    check_choice,
    check_number,
    reduce_channels,
    require_plain_modules,
)


class AttnLRP(xai.Explainer):
    """AttnLRP: layer-wise relevance propagation for transformers and residual networks, in one backward pass.

        R = x * dy/dx,    with the gradient of each operation replaced by its rule

    - Linear operations, and sums of branches: the gradient (epsilon rule with epsilon 0). With `gamma`, linear layers
      and convolutions multiply the contributions that have the sign of the output by 1 + gamma (gamma rule).
    - Element-wise activations f: f(x) / x (identity rule).
    - Products of two tensors that depend on the image: half of the gradient for each (uniform rule). Attention consists
      of two such products.
    - Product with a gate, which is the result of a sigmoid: the gated signal receives all relevance.
    - Normalizations: the gradient for a constant denominator.
    - Softmax: its derivative (Taylor decomposition).

    Biases, including those of batch norm, receive a part of the relevance, and so does the softmax.

    The authors state that LRP is covered by a patent. Check its terms before you use the method commercially.

    Source: Achtibat et al., "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers", ICML 2024,
    section 3.

    Parameters
    ----------
    gamma
        Strength of the gamma rule, at least 0. It reduces noise.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See `xai_core.plugin.reduce_channels`.
    """

    name = "attn-lrp"
    volumes = True
    constant_attention: ClassVar[bool] = False

    def __init__(self, gamma: float = 0.25, channels: str = "positive") -> None:
        self.gamma = check_number("gamma", gamma, minimum=0)
        self.channels = check_choice("channels", channels, CHANNELS)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing: the method runs a pass of its own."""
        require_plain_modules(adapter.model, self.name, "integrated-gradients")
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for the modified pass, and one for the shared pass."""
        return 2

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Multiply the images by the modified gradient, block by block."""
        model = captured.shared_model()
        make_constant(model)
        with torch.inference_mode(False), torch.enable_grad():
            images = at_least_float32(captured.images).clone()
            relevance = []
            for indices in torch.arange(len(images), device=images.device).split(model.block):
                block = images[indices].requires_grad_()
                with PropagationRules(self.gamma, self.constant_attention):
                    scores = model(block, indices)
                require_linear(scores, block, self.name)
                (gradient,) = torch.autograd.grad(scores.sum(), block)
                relevance.append(block.detach() * gradient)
        return reduce_channels(torch.cat(relevance), self.channels)


def make_constant(model: nn.Module) -> None:
    """Detach the parameters and buffers of a copy of a model, so that only the image requires gradients."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                tensors[name] = None if tensor is None else tensor.detach()  # type: ignore[assignment]
