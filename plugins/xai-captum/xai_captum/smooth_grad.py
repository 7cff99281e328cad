"""SmoothGrad."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Differentiated, Part
from xai_captum.options import number, positive, seed_of
from xai_core.plugin import OptionError, SharedModel

KINDS = ("smoothgrad", "smoothgrad_sq", "vargrad")


class SmoothGrad(Differentiated):
    """SmoothGrad: the magnitude of the gradient, averaged over noise on the image.

    1/n sum_i |dy/dx(x + N(0, s^2))| (eq. 2); `smoothgrad_sq` averages squares, and `vargrad` takes the
    variance; all are of magnitudes.

    Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.

    Parameters
    ----------
    nt_samples
        Number of noisy images.
    stdevs
        Standard deviation of the noise, in units of the image as the model takes it.
    nt_type
        `smoothgrad`, `smoothgrad_sq` or `vargrad`.
    seed
        Seed of the noise, which is the same for every image.
    channels
        How channels are reduced.
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
        positive(nt_samples=nt_samples)
        if nt_type not in KINDS:
            raise OptionError(f"nt_type must be one of {', '.join(KINDS)}, not {nt_type!r}")
        self.nt_samples = nt_samples
        self.stdevs = number("stdevs", stdevs, least=0)
        self.nt_type = nt_type
        self.seed = seed_of(seed)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each noise, and the pass."""
        return 1 + self.nt_samples

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C H W"]:
        """Average over noise, in blocks of samples."""
        from captum import attr

        return attr.NoiseTunnel(attr.Saliency(model)).attribute(
            part.images.detach(),
            nt_type=self.nt_type,
            nt_samples=self.nt_samples,
            nt_samples_batch_size=min(model.block, self.nt_samples),
            stdevs=float(self.stdevs),
            additional_forward_args=(part.of,),
        )
