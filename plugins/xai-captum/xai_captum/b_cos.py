"""Contributions of B-cos networks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_core.plugin import SharedModel, UnsuitableError

EXPLANATION_MODE = "set_explanation_mode"
"""The method of a module that detaches its dynamic scaling, as in the authors' library."""


class BCos(GradientAttribution):
    """B-cos contributions: the contribution of each pixel to the score of a B-cos network, x * W(x).

    A B-cos network is y(x) = W(x) x, where the matrix W depends on the image. With the scaling of each B-cos module
    detached, the gradient at x is the row of W of the target. The contributions add up to the score, without a bias of
    the logits.

    x is the input of the first B-cos module if it has the size of the image. These are the channels r, g, b, 1-r, 1-g
    and 1-b, also if the model appends the last three itself. Otherwise x is the image, which must have these channels.

    Source: Boehle, Fritz and Schiele, "B-cos Networks: Alignment is All We Need for Interpretability", CVPR 2022; the
    explanation mode as in the authors' library `bcos`.

    Parameters
    ----------
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "b-cos"

    def __init__(self, channels: str = "sum") -> None:
        super().__init__(channels)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing, after checking that the model has an explanation mode."""
        if not b_cos_modules(adapter.model):
            raise UnsuitableError(
                f"b-cos explains B-cos networks, whose modules have a method `{EXPLANATION_MODE}`, and "
                f"{type(adapter.model).__name__} has none. For other models, use input-x-gradient"
            )
        return super().needs(adapter)

    def model(self, captured: xai.Captured) -> SharedModel:
        """Return a shared-parameter copy in explanation mode. The mode of the original model does not change."""
        model = super().model(captured)
        for module in b_cos_modules(model):
            getattr(module, EXPLANATION_MODE)(True)
        return model

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Multiply the input of the first B-cos module by its gradient."""
        inputs: list[Tensor] = []
        hooks = [
            module.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for module in b_cos_modules(model)
        ]
        with torch.enable_grad():
            scores = model(block.images, block.indices)
            for hook in hooks:
                hook.remove()
            is_image = inputs[0].ndim > 2 and inputs[0][:, 0].shape == block.images[:, 0].shape
            x = inputs[0] if is_image else block.images
            [gradient] = torch.autograd.grad(scores.sum(), x)
        return x.detach() * gradient


def b_cos_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules that have an explanation mode."""
    return [module for module in model.modules() if callable(getattr(module, EXPLANATION_MODE, None))]
