"""SmoothGrad of any explainer."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.noise import noisy_copies
from xai_core.plugin import check_choice, check_integer, check_number, check_seed

STATISTICS = ("mean", "square", "variance")


class NoiseSmoothed(xai.Explainer):
    """A statistic of an explainer's relevance over n noisy images.

        mean      1/n sum_i M_i    (SmoothGrad, eq. 2),    M_i = M(x + N(0, sigma^2))
        square    1/n sum_i M_i^2    (SquareGrad)
        variance  1/n sum_i (M_i - mean)^2    (VarGrad)

    `smooth-grad-cam++` averages the derivatives of Grad-CAM++ instead of its maps.

    Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017. SquareGrad: Hooker et al., "A Benchmark
    for Interpretability Methods in Deep Neural Networks", NeurIPS 2019. VarGrad: Adebayo et al., "Local Explanation
    Methods for Deep Neural Networks Lack Sensitivity to Parameter Values", 2018.

    Parameters
    ----------
    explainer
        Name, spec or object of an explainer.
    n
        Number of noisy images.
    sigma
        Standard deviation of the noise, as a fraction of the difference between the largest and the smallest value of
        each image.
    seed
        Random seed of the noise, which is the same for every image of a batch.
    statistic
        `mean`, `square` or `variance`.
    """

    name = "noise-smoothed"

    def __init__(
        self,
        explainer: str | xai.Explainer = "grad-cam",
        n: int = 10,
        sigma: float = 0.15,
        seed: int = 0,
        statistic: str = "mean",
    ) -> None:
        self.explainer = explainer
        self.n = check_integer("n", n, 1)
        self.sigma = check_number("sigma", sigma, minimum=0)
        self.seed = check_seed(seed)
        self.statistic = check_choice("statistic", statistic, STATISTICS)
        self._explainer = xai.create_explainer(explainer) if isinstance(explainer, str) else explainer
        self.volumes = self._explainer.volumes

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing for the image without noise, after checking that the explainer supports the model."""
        self._explainer.needs(adapter)
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count the forward passes of the explainer for each noisy image."""
        return 1 + self.n * self._explainer.forward_passes(adapter)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Explain n noisy images and compute the statistic of the maps."""
        mean = deviations = captured.images.new_zeros(())
        for count, images in enumerate(noisy_copies(captured.images, self.n, self.sigma, self.seed), 1):
            relevance = captured.explain_images(images, self._explainer)
            if self.statistic == "square":
                relevance = relevance.square()
            # Welford's recurrence, which is stable where the variance is small
            difference = relevance - mean
            mean = mean + difference / count
            deviations = deviations + difference * (relevance - mean)
        return deviations / self.n if self.statistic == "variance" else mean
