"""ViT-CX."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Features, Layer, UnsuitableError, check_number, check_seed, normalize, resize, wide

TYPICAL = 100
"""The number of clusters that is assumed for the number of forward passes, if the layer has more channels."""
CHANNELS = 32
"""The number of channels that are resized to the image at a time."""


class ViTCX(xai.Explainer):
    """ViT-CX: the effect of each group of similar feature maps, used as masks, on the probability.

        L = 1/N sum_i s_i M_i / sum_j M_j
        s_i = f(x * M_i + n_i * (1 - M_i)) - f(x + n_i * (1 - M_i)) + f(x)

    The channels of the layer are resized to the image and min-max normalized. They are clustered with complete linkage,
    so that the cosine distance within a cluster is at most `distance`. M_i is the sum of the channels of cluster i,
    min-max normalized. x is the normalized image, f is the softmax probability, and n_i is Gaussian noise.

    The second term of s_i subtracts the effect of the noise. The division by the coverage corrects for pixels that are
    in more masks than others. Pixels that are in no mask have the relevance zero.

    Source: Xie, Li, Cao and Zhang, "ViT-CX: Causal Explanation of Vision Transformers", IJCAI 2023.

    Parameters
    ----------
    layer
        Module name or module. Default: the last spatial features. If the head reads a class token, this is the input of
        the last attention, as in the authors' example.
    distance
        Largest cosine distance within a cluster, in [0, 2].
    noise
        Standard deviation of the noise, in units of the normalized image, at least 0.
    seed
        Seed of the noise.
    """

    name = "vit-cx"
    volumes = True
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "SciPy clusters the channels on the host, and the number of clusters is needed there"
    }

    def __init__(self, layer: Layer | None = None, distance: float = 0.1, noise: float = 0.1, seed: int = 0) -> None:
        self.layer = layer
        self.distance = check_number("distance", distance, minimum=0, maximum=2)
        self.noise = check_number("noise", noise, minimum=0)
        self.seed = check_seed(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activations of the layer, after checking that they are tokens."""
        features = self._features(adapter)
        if features.layout.endswith("HW"):
            raise UnsuitableError(
                f"vit-cx requires tokens of a transformer, but layer {features.layer!r} returns a feature map, whose "
                "channels form too many clusters. Use score-cam, which masks images in the same way"
            )
        return xai.Needs(activations=(features.layer,))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count two for each cluster, of which there are about 100, and at most one for each channel."""
        return 1 + 2 * min(self._features(adapter).channels, TYPICAL)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Weight the masks of each image by their effects."""
        return captured.once(self, lambda: self._maps(captured))[captured.index]

    def _features(self, adapter: xai.ModelAdapter) -> Features:
        return adapter.features(adapter.default_layer if self.layer is None else adapter.layer_name(self.layer))

    def _maps(self, captured: xai.Captured) -> Float[Tensor, "V B *size"]:
        """Return the maps of all V targets of the pass."""
        scores = captured.model_score.each(captured.images, kind="probability")  # [V,B]
        maps = [self._map(captured, image, scores[:, image, None]) for image in range(len(captured.images))]
        return torch.stack(maps, 1)

    def _map(self, captured: xai.Captured, image: int, score: Float[Tensor, "V 1"]) -> Float[Tensor, "V *size"]:
        """Return the maps of one image, for all targets."""
        x, model_score = captured.images[image], captured.model_score
        groups = clustered(captured.activation()[image], tuple(x.shape[1:]), self.distance)  # [N,*grid]
        sums, coverage = score.new_zeros(len(score), *x.shape[1:]), score.new_zeros(x.shape[1:])
        for block in model_score.blocks(len(groups)):
            masks = normalize(resize(groups[block], tuple(x.shape[1:])))[:, None].to(x)  # [n,1,*size]
            noise = self._noise(x, block) * (1 - masks)
            both = torch.cat([x * masks + noise, x + noise])
            of = torch.full((len(both),), image, device=x.device)
            masked, noisy = model_score.each(both, of, "probability").chunk(2, 1)
            sums += torch.tensordot(masked - noisy + score, masks[:, 0].to(score), 1)
            coverage += masks[:, 0].sum(0)
        return sums / coverage.where(coverage > 0, 1) / len(groups)

    def _noise(self, x: Float[Tensor, "C *size"], block: slice) -> Float[Tensor, "n C *size"]:
        """Return the noise of each mask, which is the same for every image and any block size."""
        generator = torch.Generator()
        drawn = [
            torch.randn(x.shape, generator=generator.manual_seed(self.seed + index))
            for index in range(block.start, block.stop)
        ]
        return self.noise * torch.stack(drawn).to(x.device, x.dtype, non_blocking=True)


def clustered(channels: Float[Tensor, "K *grid"], size: tuple[int, ...], distance: float) -> Float[Tensor, "N *grid"]:
    """Return the sums of the channels of each cluster, each channel scaled so that it is in [0,1] in the image.

    Constant channels are zero, and are clusters of their own.
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # it takes long to import
    from scipy.spatial.distance import squareform

    if len(channels) == 1:
        return channels
    ends = [resize(part, size).flatten(1).aminmax(dim=1) for part in channels.split(CHANNELS)]
    low, high = (torch.cat(values).view(-1, *[1] * len(size)) for values in zip(*ends, strict=True))
    scaled = (channels - low) / (high - low).where(high > low, 1)
    products = inner_products(wide(scaled), size)
    norms = products.diagonal().sqrt()
    cosines = (products / (norms[:, None] * norms)).nan_to_num(0)
    distances = (1 - cosines).clamp_min(0).fill_diagonal_(0).cpu().numpy()
    labels = fcluster(linkage(squareform(distances, checks=False), "complete"), distance, "distance") - 1
    sums = scaled.new_zeros(labels.max() + 1, *scaled.shape[1:])
    return sums.index_add(0, torch.from_numpy(labels).long().to(scaled.device), scaled)


def inner_products(channels: Float[Tensor, "K *grid"], size: tuple[int, ...]) -> Float[Tensor, "K K"]:
    """Return the inner products of channels resized to an image, without the resized channels.

    Resizing multiplies each side by a matrix U [image,grid], so the product of a and b is that of a and U'U b.
    """
    weighted = channels
    for axis, (side, length) in enumerate(zip(channels.shape[1:], size, strict=True), 1):
        u = F.interpolate(torch.eye(side, dtype=channels.dtype, device=channels.device)[None], length, mode="linear")[0]
        weighted = (weighted.movedim(axis, -1) @ (u @ u.mT)).movedim(-1, axis)
    return channels.flatten(1) @ weighted.flatten(1).mT
