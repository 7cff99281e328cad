"""Occlusion, as captum does it."""

import math

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part, Perturbed, Scored
from xai_captum.options import positive
from xai_core.plugin import Baseline, OptionError

SHARE = 8
"""The side of the window as a share of the image's shorter side, where none is given."""


class Occlusion(Perturbed):
    """Occlusion: how much the score falls when a window shows its baseline, averaged over the windows on a pixel.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.

    Parameters
    ----------
    sliding_window_shapes
        The side of the window, over all channels, in pixels; default: an eighth of the image's shorter side.
    strides
        By how many pixels it moves, at most its side; default: half its side.
    baselines
        What the window shows: `zero`, `mean`, `blur`, `noise`, or a tensor, see `xai_core.plugin.baseline_images`.
    channels
        What is made of the number of each pixel, which is of all channels together: `sum` leaves its sign, `positive`
        what is for the target, and `abs`, `max` and `norm` its magnitude.
    """

    name = "captum-occlusion"

    def __init__(
        self,
        sliding_window_shapes: int | None = None,
        strides: int | None = None,
        baselines: Baseline = "zero",
        channels: str = "positive",
    ) -> None:
        super().__init__(channels)
        positive(sliding_window_shapes=sliding_window_shapes, strides=strides)
        if sliding_window_shapes and strides and strides > sliding_window_shapes:
            raise OptionError(f"strides must be at most the window's side, {sliding_window_shapes}; got {strides}")
        self.sliding_window_shapes = sliding_window_shapes
        self.strides = strides
        self.baselines = baselines

    def window(self, size: tuple[int, int]) -> tuple[int, int]:
        """The side and the stride of the window over an image of (H, W), which it does not leave."""
        side = min(self.sliding_window_shapes or max(1, min(size) // SHARE), min(size))
        return side, min(self.strides or max(1, side // 2), side)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each place of the window, one for the image, and the pass."""
        side, stride = self.window(adapter.probe.size)
        return 2 + math.prod(1 + math.ceil((length - side) / stride) for length in adapter.probe.size)

    def attribute(self, model: Scored, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "1 1 H W"]:
        """Move the window over an image; captum gives the same number for each channel."""
        from captum import attr

        images = part.images.detach()
        side, stride = self.window((images.shape[-2], images.shape[-1]))
        attribution: Tensor = attr.Occlusion(model).attribute(
            images,
            (images.shape[1], side, side),
            (images.shape[1], stride, stride),
            part.baselines,
            additional_forward_args=(part.of,),
            perturbations_per_eval=model.block,
        )
        return attribution[:, :1]
