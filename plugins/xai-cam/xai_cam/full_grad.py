"""FullGrad."""

from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_core.plugin import UnsuitableError, resize


class FullGrad(xai.Explainer):
    """FullGrad: what the input and every bias contribute to the score.

    S = psi(dy/dx * x) + sum_l sum_c psi((dy/dz_l * b_l)_c) (eq. 4), over the layers l with a bias b_l on a feature
    map z_l, batch norm's being beta - mu gamma / sigma; psi takes the magnitude, rescales it to [0,1] over a layer
    as the authors' code does, and resizes it to the image. pytorch-grad-cam rescales each channel by itself.

    For piecewise linear networks, where the score is the sum of those contributions (eq. 3).

    Source: Srinivas and Fleuret, "Full-Gradient Representation for Neural Network Visualization", NeurIPS 2019.
    """

    name = "full-grad"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The gradients at the image and at every layer with a bias on a feature map."""
        layers = tuple(biases(adapter)) if adapter.kind != "token" else ()
        if not layers:
            raise UnsuitableError(
                "full-grad is defined for convolutional networks, and this model has no convolution or batch norm "
                "with a bias that gives a feature map; use grad-cam"
            )
        return xai.Needs(activations=layers, gradients=True, image_gradient=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Add the magnitudes of all contributions."""
        size = (captured.images.shape[-2], captured.images.shape[-1])
        total = rescaled(captured.image_gradient * captured.images)
        for layer, bias in biases(captured.adapter).items():
            total = total + resize(rescaled(captured.gradient(layer) * bias[:, None, None]), size)
        return total


def biases(adapter: xai.ModelAdapter) -> dict[str, Float[Tensor, " K"]]:
    """The bias of each convolution and batch norm whose output is a feature map, by layer name."""
    found = {}
    for name, features in adapter.probe.features.items():
        module = adapter.model.get_submodule(name)
        bias = bias_of(module) if features.layout == "NCHW" else None
        if bias is not None:
            found[name] = bias.detach()
    return found


def bias_of(module: nn.Module) -> Float[Tensor, " K"] | None:
    """The bias of a convolution, or that which batch norm amounts to."""
    if isinstance(module, nn.Conv2d):
        return module.bias
    if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
        scale = (module.running_var + module.eps).rsqrt()
        scale = scale if module.weight is None else scale * module.weight
        bias = -module.running_mean * scale
        return bias if module.bias is None else bias + module.bias
    return None


def rescaled(contributions: Float[Tensor, "B K h w"]) -> Float[Tensor, "B h w"]:
    """The magnitudes, rescaled to [0,1] over a layer, and added over channels."""
    magnitude = contributions.abs()
    low, high = magnitude.amin((1, 2, 3), keepdim=True), magnitude.amax((1, 2, 3), keepdim=True)
    return ((magnitude - low) / (high - low).where(high > low, 1)).sum(1)
