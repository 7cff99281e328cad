"""SmoothGrad, of any explainer."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import OptionError


class NoiseSmoothed(xai.Explainer):
    """The mean of an explainer's relevance over n noisy images, 1/n sum_i M(x + N(0, sigma^2)) (eq. 2).

    Over `grad-cam++` it is in the spirit of Smooth Grad-CAM++ (Omeiza et al., 2019), which averages the derivatives
    instead of the maps.

    Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.

    Parameters
    ----------
    explainer
        Name, spec or object.
    n
        Number of noisy images.
    sigma
        Standard deviation of the noise, as a share of each image's range from its least to its largest value.
    seed
        Seed of the noise, which is the same for every image of a batch.
    """

    name = "noise-smoothed"

    def __init__(
        self, explainer: str | xai.Explainer = "grad-cam", n: int = 10, sigma: float = 0.15, seed: int = 0
    ) -> None:
        if n < 1 or sigma < 0:
            raise OptionError(f"n must be at least 1 and sigma not negative, got {n} and {sigma}")
        self.explainer = explainer
        self.n = n
        self.sigma = sigma
        self.seed = seed
        self._explainer = xai.create_explainer(explainer) if isinstance(explainer, str) else explainer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing of the image without noise, as long as the explainer suits the model."""
        self._explainer.needs(adapter)
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Those of the explainer, for each noise."""
        return 1 + self.n * self._explainer.forward_passes(adapter)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Explain n noisy images, and take the mean."""
        images = captured.images
        spread = self.sigma * (images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True))
        generator = torch.Generator().manual_seed(self.seed)
        total: Tensor | None = None
        for _ in range(self.n):
            noise = torch.randn(images.shape[1:], generator=generator).to(images, non_blocking=True)
            relevance = captured.explain_images(images + spread * noise, self._explainer)
            total = relevance if total is None else total + relevance
        assert total is not None
        return total / self.n
