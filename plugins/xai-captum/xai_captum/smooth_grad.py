"""SmoothGrad."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_core.plugin import SharedModel, check_choice, check_integer, check_number, check_seed

KINDS = ("smoothgrad", "smoothgrad_sq", "vargrad")


class SmoothGrad(GradientAttribution):
    """SmoothGrad: the magnitude of the gradient, averaged over noisy images.

        1/n sum_i |dy/dx(x + N(0, s^2))|  (eq. 2)

    `smoothgrad_sq` averages the squares of the magnitudes, and `vargrad` is their variance.

    Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.

    Parameters
    ----------
    nt_samples
        Number of noisy images.
    stdevs
        Standard deviation of the noise, in units of the model's input.
    nt_type
        `smoothgrad`, `smoothgrad_sq` or `vargrad`.
    seed
        Random seed of the noise, which is the same for every image.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "smooth-grad"

    def __init__(
        self,
        nt_samples: int = 25,
        stdevs: float = 0.5,
        nt_type: str = "smoothgrad",
        seed: int = 0,
        channels: str = "abs",
    ) -> None:
        super().__init__(channels)
        self.nt_samples = check_integer("nt_samples", nt_samples, 1)
        self.stdevs = check_number("stdevs", stdevs, minimum=0)
        self.nt_type = check_choice("nt_type", nt_type, KINDS)
        self.seed = check_seed(seed)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each noisy image, and one for the shared pass."""
        return 1 + self.nt_samples

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Average over noisy images, in blocks of samples."""
        from captum import attr

        return attr.NoiseTunnel(attr.Saliency(model)).attribute(
            block.images.detach(),
            nt_type=self.nt_type,
            nt_samples=self.nt_samples,
            nt_samples_batch_size=min(model.block, self.nt_samples),
            stdevs=float(self.stdevs),
            additional_forward_args=(block.indices,),
        )
