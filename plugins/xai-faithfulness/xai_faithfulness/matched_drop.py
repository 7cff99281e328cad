"""Average drop of maps with equal values in different orders."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, check_number
from xai_faithfulness.masked_images import relative_drop


class MatchedDrop(xai.Metric):
    """Matched drop: the average drop of a map after its values are replaced by values that are the same for every map.

    A pixel with the fraction u of the pixels below it gets the value u^(1/area - 1). The mean of these values is
    `area`. Tied pixels get the mean of their values. The metric depends on the order of the pixels only. A larger map
    therefore has no advantage, unlike with `AverageDrop`. Lower is better. This metric is not from a paper.

    Parameters
    ----------
    area
        The mean value of each map after the replacement, in (0, 1). With 0.5, the value of a pixel is its rank.
    """

    name = "matched-drop"
    higher_is_better = False
    volumes = True

    def __init__(self, area: float = 0.5) -> None:
        self.area = check_number("area", area, above=0, below=1)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compare the probability for the image with the probability for the image times the new map."""
        values = matched(saliency.values, self.area)
        return xai.MetricResult(relative_drop(evaluation, replace(saliency, values=values), mute=0))


def matched(values: Float[Tensor, "B *size"], area: float) -> Float[Tensor, "B *size"]:
    """Return maps in the order of other maps, whose values have the mean `area`.

    Let the ranks of tied pixels be a to b, as fractions of the number of pixels. Their value is the mean of
    u^(1/area - 1) from a to b: area (b^(1/area) - a^(1/area)) / (b - a).
    """
    flat = values.flatten(1).contiguous()
    ascending, count = flat.sort(1).values, flat.shape[1]
    below, up_to = (torch.searchsorted(ascending, flat, right=right) for right in (False, True))
    start, width = below.to(flat.dtype) / count, (up_to - below).to(flat.dtype) / count
    ratio = width / start.where(below > 0, 1)
    # b^k - a^k, without cancellation
    difference = start ** (1 / area) * torch.expm1(torch.log1p(ratio) / area)
    total = difference.where(below > 0, width ** (1 / area))
    return (area * total / width).view_as(values)
