"""FullGrad."""

from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_cam.base import weighted
from xai_core.plugin import UnsuitableError, require_plain_modules, resize

CHANNELS_FIRST = ("NCHW", "NCDHW")
"""Layouts of the outputs of convolutions and batch norm."""


class FullGrad(xai.Explainer):
    """FullGrad: the contributions of the image and of every bias to the score.

        S = psi(dy/dx * x) + sum_l sum_c psi((dy/dz_l * b_l)_c)  (eq. 4)

    The sum is over the layers l with a bias b_l on a feature map z_l. The bias of batch norm is beta - mu gamma /
    sigma. psi takes the magnitude, rescales it to [0,1] over a layer as in the authors' code, and resizes it to the
    image. pytorch-grad-cam rescales each channel separately.

    It is defined for piecewise linear networks, in which the score is the sum of these contributions (eq. 3).

    Source: Srinivas and Fleuret, "Full-Gradient Representation for Neural Network Visualization", NeurIPS 2019.
    """

    name = "full-grad"
    volumes = True

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the gradients at the image and at every layer with a bias on a feature map."""
        require_plain_modules(adapter.model, self.name, "grad-cam", weights=True)
        layers = tuple(biases(adapter)) if adapter.kind != "token" else ()
        if not layers:
            raise UnsuitableError(
                "full-grad requires a convolution or batch norm that has a bias and returns a feature map. This model "
                "has none; use grad-cam"
            )
        return xai.Needs(activations=layers, gradients=True, image_gradient=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Add the magnitudes of all contributions."""
        size = tuple(captured.images.shape[2:])
        total = rescaled_sum(captured.image_gradient * captured.images)
        for layer, bias in biases(captured.adapter).items():
            gradient = captured.gradient(layer)
            total = total + resize(rescaled_sum(weighted(bias.expand(len(gradient), -1), gradient)), size)
        return total


def biases(adapter: xai.ModelAdapter) -> dict[str, Float[Tensor, " K"]]:
    """Return the bias of each convolution and batch norm between the image and the score, by the name of its call.

    Only outputs that are feature maps are considered.
    """
    layer_biases = {}
    for site in reversed([*adapter.probe.on_path]):
        name = site.layer if adapter.probe.runs[site.layer] == 1 else f"{site.layer}@{site.call}"
        bias = module_bias(adapter.model.get_submodule(site.layer))
        if bias is not None and name in adapter.probe.features and adapter.features(name).layout in CHANNELS_FIRST:
            layer_biases[name] = bias.detach()
    return layer_biases


def module_bias(module: nn.Module) -> Float[Tensor, " K"] | None:
    """Return the bias of a convolution, the equivalent bias of a batch norm, or None."""
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        return module.bias
    if (
        isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d)
        and module.running_mean is not None
        and module.running_var is not None
    ):
        scale = (module.running_var + module.eps).rsqrt()
        scale = scale if module.weight is None else scale * module.weight
        bias = -module.running_mean * scale
        return bias if module.bias is None else bias + module.bias
    return None


def rescaled_sum(contributions: Float[Tensor, "B K *grid"]) -> Float[Tensor, "B *grid"]:
    """Rescale the magnitudes of a layer to [0,1], and sum them over channels."""
    magnitude = contributions.abs()
    dims = tuple(range(1, magnitude.ndim))
    low, high = magnitude.amin(dims, keepdim=True), magnitude.amax(dims, keepdim=True)
    return ((magnitude - low) / (high - low).where(high > low, 1)).sum(1)
