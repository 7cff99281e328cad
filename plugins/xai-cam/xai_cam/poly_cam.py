"""Poly-CAM."""

import itertools

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import Layers, selected_layers
from xai_cam.percentiles import percentile
from xai_cam.score_cam import ScoreCAM, constant_channels, upsampled
from xai_core.plugin import Layer, check_choice, resize

INVERTED = {"plus": (False,), "minus": (True,), "both": (False, True)}
"""For each variant, whether the masks of each sample hide what the channel shows."""
OUTLIERS = 0.1
"""Percentage of the smallest and of the largest values of a channel that are clipped in its mask."""
EPSILON = 1e-12
"""Smallest divisor of the local normalization."""


class PolyCAM(ScoreCAM):
    """Poly-CAM: score-weighted maps of layers of several resolutions, multiplied from the coarsest to the finest.

        w_k = f(x * H_k)                             (plus)
        w_k = ReLU(f(x) - f(x * (1 - H_k)))          (minus)
        w_k = ReLU(f(x * H_k) + f(x) - f(x * (1 - H_k)))  (both)
        M_l = ReLU(sum_k w_k A_k),    P_L = M_L,    P_l = M_l / up(down(M_l)) * up(P_l+1)

    H_k is channel k of a layer, scaled to [0,1] between its percentiles 0.1 and 99.9 and resized to the image. f is the
    target's score. `down` resizes to the grid of the next coarser layer and `up` resizes to the own grid, both
    bilinearly. Constant channels have the weight zero. The map P_1 has the resolution of the finest layer.

    In the authors' code, H_k is (A_k - p_0.1) / p_99.9. This is the same if at least 0.1 % of the channel is zero, as
    after most ReLUs.

    Source: Englebert et al., "Poly-CAM: High resolution Class Activation Map for Convolutional Neural Networks", 2022.

    Parameters
    ----------
    layer
        Module names joined by plus signs, or a list. Default: the last features before pooling, and the last features
        of each higher resolution through which all paths from the image to the scores lead.
    variant
        `plus` (PCAM+), `minus` (PCAM-) or `both` (PCAM±).
    score
        f: `probability` (softmax) or `logit`.
    """

    name = "poly-cam"

    def __init__(self, layer: Layers = None, variant: str = "both", score: str = "probability") -> None:
        super().__init__(layer, score)
        self.variant = check_choice("variant", variant, tuple(INVERTED))
        self.n = len(INVERTED[variant])

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activations of the layers."""
        return xai.Needs(
            activations=resolutions(adapter) if self.layer is None else selected_layers(self.layer, adapter)
        )

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Multiply the maps of the layers, from the coarsest to the finest."""
        coarsest, *finer = sorted(captured.layers, key=lambda layer: captured.adapter.features(layer).cells)
        product = self.map(captured, coarsest)
        for layer in finer:
            map_ = self.map(captured, layer)
            local = resize(resize(map_, tuple(product.shape[1:])), tuple(map_.shape[1:]))
            product = map_ / local.clamp_min(EPSILON) * resize(product, tuple(map_.shape[1:]))
        return product

    def masked(
        self, images: Float[Tensor, "n C *size"], maps: Float[Tensor, "n *grid"], sample: int
    ) -> Float[Tensor, "n C *size"]:
        """Show what the channel selects, or everything else."""
        masks = upsampled(clipped(maps), images).to(images.dtype)
        return images * (1 - masks if INVERTED[self.variant][sample] else masks)

    def weights(self, captured: xai.Captured, activation: Float[Tensor, "B K *grid"]) -> Float[Tensor, "V B K"]:
        """Return the weight of each channel, for all V targets of the pass."""
        scores = self.scores(captured, activation)
        weights = scores[0]
        if self.variant != "plus":
            whole = captured.once(("whole", self.score), lambda: self.whole(captured))
            drop = whole[..., None].to(scores.dtype) - scores[-1]
            weights = (drop if self.variant == "minus" else weights + drop).relu()
        return weights.masked_fill(constant_channels(activation), 0)

    def whole(self, captured: xai.Captured) -> Float[Tensor, "V B"]:
        """Return the scores of the images without a mask."""
        return captured.model_score.each(captured.images, kind=self.score)


def clipped(maps: Float[Tensor, "n *grid"]) -> Float[Tensor, "n *grid"]:
    """Scale each map to [0,1] between two percentiles. Maps become zero if these are equal."""
    low, high = (percentile(maps[None], percent)[0] for percent in (OUTLIERS, 100 - OUTLIERS))
    return ((maps - low) / (high - low).where(high > low, 1)).clamp(0, 1).where(high > low, 0)


def resolutions(adapter: xai.ModelAdapter) -> tuple[Layer, ...]:
    """Return the default layer, and the last earlier layer of each higher resolution on every path to the scores."""
    layers: list[str] = [adapter.layer_name(adapter.default_layer)]
    before_default = itertools.dropwhile(lambda item: item[0] != adapter.probe.default, adapter.probe.on_path.items())
    for site, on_every_path in before_default:
        name = site.layer if adapter.probe.runs[site.layer] == 1 else f"{site.layer}@{site.call}"
        is_spatial = on_every_path and name in adapter.probe.features
        if is_spatial and adapter.features(name).cells > adapter.features(layers[-1]).cells:
            layers.append(name)
    return tuple(reversed(layers))
