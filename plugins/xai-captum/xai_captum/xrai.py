"""XRAI: regions of the image, ranked by the attribution of their pixels."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

import xai_core as xai
from xai_captum.regions import regions
from xai_core.plugin import OptionError, check_integer, relevance, resize


class XRAI(xai.Explainer):
    r"""XRAI: regions of the image in the order of their gain, which is the mean attribution of the pixels they add.

        R_k = argmax_R mean_{i in R \ S} a_i,    L_i = mean_{R_k \ S} a for i in R_k \ S,    then S = S + R_k

    a is the mean of the maps of the explainers, resized to the size of the images. The regions R are segments of
    different scales, and overlap. A region that would add fewer than `min_pixels` pixels is left out. Pixels that no
    region adds receive their mean.

    Source: Kapishnikov, Bolukbasi, Viegas and Terry, "XRAI: Better Attributions Through Regions", ICCV 2019. The scales
    and the other constants are those of the authors' code.

    Parameters
    ----------
    explainers
        Names, specs or objects of explainers. Default: signed integrated gradients from the smallest and from the
        largest value of the image, which are near black and white.
    size
        Number of rows and columns to which the image is resized for the segmentation.
    dilation
        Radius in pixels by which the segments are dilated, so that regions contain their edges.
    min_pixels
        Number of pixels that a region must add.
    """

    name = "xrai"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "scikit-image computes the segments on the host",
        "supports_bfloat16": "the segments of rounded noise are different",
    }

    def __init__(
        self,
        explainers: Sequence[str | xai.Explainer] = (
            "integrated-gradients:baselines=min,channels=sum",
            "integrated-gradients:baselines=max,channels=sum",
        ),
        size: int = 224,
        dilation: int = 5,
        min_pixels: int = 50,
    ) -> None:
        if not explainers:
            raise OptionError("explainers must contain at least one explainer, got none")
        self.explainers = explainers
        self.size = check_integer("size", size, 8)
        self.dilation = check_integer("dilation", dilation, 0)
        self.min_pixels = check_integer("min_pixels", min_pixels, 1)
        self._explainers = [xai.create_explainer(e) if isinstance(e, str) else e for e in explainers]

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request what each explainer needs."""
        return xai.Needs(parts=tuple(explainer.needs(adapter) for explainer in self._explainers))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Add the forward passes of all explainers, and count the shared pass once."""
        return 1 + sum(explainer.forward_passes(adapter) - 1 for explainer in self._explainers)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Compute the attribution and rank the regions of each image."""
        images, pairs = captured.images, zip(self._explainers, captured.parts, strict=True)
        maps = [resize(relevance(explainer.explain(part)), images.shape[2:]) for explainer, part in pairs]
        attribution = torch.stack(maps).mean(0)
        segments = captured.once(
            ("regions", self.size, self.dilation),
            lambda: [regions(image, self.size, self.dilation) for image in images],
        )
        host = attribution.nan_to_num().cpu().double()
        ranked = [gains(values, masks, self.min_pixels) for values, masks in zip(host, segments, strict=True)]
        return torch.stack(ranked).to(attribution)


def gains(attribution: Float64[Tensor, "H W"], masks: Bool[Tensor, "M H W"], min_pixels: int) -> Float64[Tensor, "H W"]:
    """Return for each pixel the gain of the region that adds it."""
    values, flat = attribution.flatten(), masks.flatten(1)
    free, result = torch.ones_like(values, dtype=torch.bool), torch.zeros_like(values)
    counts, sums = flat.sum(1), flat.double() @ values
    while (counts >= min_pixels).any():
        gain = torch.where(counts >= min_pixels, sums / counts, -torch.inf)
        best = gain.argmax()
        added = (flat[best] & free).nonzero().flatten()
        result[added], free[added] = gain[best], False
        covered = flat[:, added]
        counts, sums = counts - covered.sum(1), sums - covered.double() @ values[added]
    if free.any():
        result[free] = values[free].mean()
    return result.view_as(attribution)
