"""captum's occlusion."""

import math

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import CaptumScorer, ImageBlock, PerturbationAttribution
from xai_captum.patches import sides_of
from xai_core.plugin import Baseline, OptionError, check_integer

DEFAULT_WINDOWS = 8
"""Number of windows of the default size that fit along the shorter side of the image."""


class Occlusion(PerturbationAttribution):
    """Occlusion by captum: the drop in the score when a window shows its baseline, averaged over windows.

    The value of a pixel is the average over the windows that cover it.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.

    Parameters
    ----------
    sliding_window_shapes
        Side of the window in pixels. The window covers all channels. Default: an eighth of the image's shorter side.
        For volumes, the depth of the window is at most the depth of the volume, and an eighth of it by default.
    strides
        Stride of the window in pixels, at most the side. Default: half of the side.
    baselines
        Replacement of the window: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor. See
        `xai_core.plugin.baseline_images`.
    channels
        How the attribution of a pixel, one number for all channels, is reduced. `sum` keeps its sign, `positive` keeps
        its positive part, and `abs`, `max` and `norm` keep its magnitude.
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
        side, stride = sliding_window_shapes, strides
        self.sliding_window_shapes = None if side is None else check_integer("sliding_window_shapes", side, 1)
        self.strides = None if stride is None else check_integer("strides", stride, 1)
        self.baselines = baselines
        if self.sliding_window_shapes and self.strides and self.strides > self.sliding_window_shapes:
            raise OptionError(f"strides must be at most the side of the window ({side}); got {stride}")

    def window(self, size: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the size and the strides of the window, in pixels, for images of size (H, W) or (D, H, W)."""
        shortest = min(size[-2:])
        sides = [min(side, shortest) for side in sides_of(size, self.sliding_window_shapes, DEFAULT_WINDOWS)]
        return tuple(sides), tuple(min(self.strides or max(1, side // 2), side) for side in sides)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each position of the window, one for the image, and one for the shared pass."""
        size = adapter.probe.size
        windows = zip(size, *self.window(size), strict=True)
        return 2 + math.prod(1 + math.ceil((length - side) / stride) for length, side, stride in windows)

    def attribute(
        self, model: CaptumScorer, block: ImageBlock, adapter: xai.ModelAdapter
    ) -> Float[Tensor, "1 1 *size"]:
        """Slide the window over the image. captum returns the same number for each channel."""
        from captum import attr

        images = block.images.detach()
        sides, strides = self.window(tuple(images.shape[2:]))
        attribution: Tensor = attr.Occlusion(model).attribute(
            images,
            (images.shape[1], *sides),
            (images.shape[1], *strides),
            block.baselines,
            additional_forward_args=(block.indices,),
            perturbations_per_eval=model.block,
        )
        return attribution[:, :1]
