"""Random images that resemble an image."""

import torch
from jaxtyping import Float
from torch import Tensor


class NoiseImages:
    """Random images with the mean, the standard deviation, the type and the format of an image, which is not kept."""

    def __init__(self, image: Float[Tensor, "1 C *size"]) -> None:
        self._shape, self._like = image.shape[1:], image.new_empty(0)
        self._format = torch.contiguous_format if image.is_contiguous() else torch.channels_last
        self._spread, self._mean = (float(value) for value in torch.std_mean(image.float()))

    def first(self, count: int) -> Float[Tensor, "count C *size"]:
        """Return one or two noise images (`count`), which are the same at every call."""
        noise = torch.randn((2, *self._shape), generator=torch.Generator().manual_seed(0))[:count]
        return (self._mean + (self._spread or 1.0) * noise).to(self._like).contiguous(memory_format=self._format)
