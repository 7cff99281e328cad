"""Sets of baselines, over which a method averages."""

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.plugin import Baseline, OptionError, baseline_images


def baseline_set(baselines: Baseline, image: Float[Tensor, "1 C *size"], seed: int = 0) -> Float[Tensor, "S C *size"]:
    """Return the S baselines of an image.

    Parameters
    ----------
    baselines
        Names joined by plus signs, such as `zero+blur`, or a tensor [S,C,H,W]. The tensor can contain images of the
        dataset, preprocessed for the model. `xai_core.plugin.baseline_images` lists the names.
    image
        The image.
    seed
        Random seed of `noise`.

    Raises
    ------
    OptionError
        If a name is unknown, or the tensor does not fit the image.
    """
    if isinstance(baselines, str):
        return torch.cat([baseline_images(name, image, seed) for name in baselines.split("+")])
    if baselines.shape[1:] != image.shape[1:]:
        expected = ", ".join(map(str, image.shape[1:]))
        raise OptionError(f"a tensor of baselines must be of shape [S, {expected}], got {list(baselines.shape)}")
    return baselines.to(image)
